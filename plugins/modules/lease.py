#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold or release the lease of a resource."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lease
short_description: Hold or release the lease that says which node may be active
version_added: 0.1.0
description:
  - The lease of a resource is a record in a store outside of the nodes. Only the node that holds it may have the resource in service.
  - Where the checker of this host watches the lease, the checker acquires, renews and releases it on behalf of this module.
  - Elsewhere no process stays behind. The lease is held for the time that RV(expires_in) tells, and after that the node must no longer serve.
  - Holding a lease that O(holder) has already renews it. That changes neither holder nor epoch and so is no change.
  - A lease that another node holds is taken only with O(wait), and only once that node has let its promised time pass without renewing it.
    Elapsed time is what counts, measured by this host alone. The time of day has no part in it.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._store
options:
  cluster:
    description: The name of the cluster, at most 40 of a-z, 0-9, C(-) and C(.).
    type: str
    required: true
  tag:
    description: The tag of the resource, at most 40 of a-z, 0-9, C(-) and C(.).
    type: str
    required: true
  holder:
    description: The name of the node that is to hold the lease, or to hold it no longer. Every node of a cluster has a name of its own.
    type: str
    required: true
  state:
    description:
      - V(held) acquires the lease or renews it. It fails when another node holds it.
      - V(released) lets it go, so that another node may have it at once. Everything that needs the lease must have stopped before.
        Nothing is done where O(holder) does not hold it. The checker removes the address first.
      - Without a checker it is released only on the machine that has renewed it last, and only with the address gone, see O(address);
        with O(handoff_to=-) from any, since then nobody takes it before a person has said who.
    type: str
    choices: [held, released]
    default: held
  handoff_to:
    description:
      - The one node that may have the lease at once after its release. Others have to wait until that node has had its time.
      - Without it, any node may.
      - V(-) is for no node. The checkers leave the lease alone until a person holds it with this module,
        or with the playbook C(holdfast.ha.switchover).
      - Only with O(state=released).
    type: str
  ttl:
    description:
      - For how many seconds the lease is promised to the holder. The holder's own deadline is a little shorter, by the margin and
        by what clocks may differ.
      - Less than about 8.2 s is refused, since a failed call would then cost the lease.
      - A checker goes by its own timing instead.
    type: float
    default: 10
  wait:
    description: For how many seconds to wait for a lease that is not free.
    type: float
    default: 0
  by_checker:
    description:
      - Only the checker of this host may do it. Where none watches the lease, one is waited for some seconds, as it may be starting; then it fails.
      - Set it where a checker is known to have the address up. Were it dead or starting just now, a release without it would let another node
        serve while the address is still here.
    type: bool
    default: false
  address:
    description:
      - The address of the resource, with or without a prefix length. Only for O(state=released) without a checker on this host. The lease is then
        released only if no interface of this host has the address.
      - By default that of the resource in C(/etc/holdfast/resources), and with O(handoff_to=-) none.
    type: str
notes:
  - Where the reflex of this host's checker is on, it puts the address up as soon as it holds a lease that was handed off to this node.
    All else is left to who has asked for the lease.
  - A lease that has no record yet is treated as held by somebody unknown, in case its record was deleted.
    So the first acquisition needs O(wait) too.
  - The epoch of a first record is the date in seconds, so that it is higher than that of any record which was there before.
seealso:
  - module: holdfast.ha.lease_info
  - module: holdfast.ha.lease_address
  - module: holdfast.ha.lease_store
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Hold the lease of the resource web for the next ten seconds
  holdfast.ha.lease:
    cluster: web-prod
    tag: web
    holder: "{{ inventory_hostname }}"
    wait: 30
    store: "{{ holdfast_store }}"

- name: Hand it to another node
  holdfast.ha.lease:
    cluster: web-prod
    tag: web
    holder: "{{ inventory_hostname }}"
    state: released
    handoff_to: node-b
    store:
      type: etcd
      endpoints:
        - https://10.0.0.5:2379
      ca_cert: /etc/holdfast/etcd-ca.pem
"""

RETURN = r"""
holder:
  description: The node that holds the lease; empty when none does. In check mode, the one that would.
  returned: when the record could be read
  type: str
  sample: node-a
epoch:
  description: It rises at each change of holder. Null while there is no record.
  returned: when the record could be read
  type: int
  sample: 1795373160
expires_in:
  description: For how many seconds from now the holder may serve. Null unless this run acquired or renewed the lease.
  returned: success
  type: float
  sample: 7.8
renewed_by:
  description: V(checker) where the checker of this host holds the lease and renews it, else null.
  returned: success
  type: str
  sample: checker
taken_from:
  description:
    - The node that held the lease until this run took it, and that had not released it. Whether it still serves is not known, so fence it if need be.
    - Also a node that was to be fenced before, if the resource was not in service since. Several are separated by commas.
    - Empty where it was released, where it had no record, and where it was held already.
  returned: success
  type: str
  sample: node-a
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease import LeaseTask, store_argument


def main() -> None:
    run_change(
        lambda host: LeaseTask(host.params, host.run),
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "holder": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "handoff_to": {"type": "str"},
            "ttl": {"type": "float", "default": 10},
            "wait": {"type": "float", "default": 0},
            "by_checker": {"type": "bool", "default": False},
            "address": {"type": "str"},
            **store_argument(),
        },
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
