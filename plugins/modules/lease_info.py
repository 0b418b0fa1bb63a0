#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show the lease of a resource."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lease_info
short_description: Show the lease that says which node may be active
version_added: 0.1.0
description:
  - Reads the record of a resource's lease as it is in the store now.
  - The record does not tell whether its holder is still alive. That shows in whether RV(record.nonce) goes on changing.
extends_documentation_fragment:
  - holdfast.ha._attributes.info
  - holdfast.ha._store
options:
  cluster:
    description: The name of the cluster.
    type: str
    required: true
  tag:
    description: The tag of the resource.
    type: str
    required: true
seealso:
  - module: holdfast.ha.lease
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: See who holds the lease of the resource web
  holdfast.ha.lease_info:
    cluster: web-prod
    tag: web
    store: "{{ holdfast_store }}"
  register: lease
"""

RETURN = r"""
record:
  description: The record; null when there is none.
  returned: success
  type: dict
  contains:
    holder:
      description: The node that holds the lease; empty once it is released.
      returned: when there is a record
      type: str
      sample: node-a
    epoch:
      description: It rises at each change of holder.
      returned: when there is a record
      type: int
      sample: 1795373160
    nonce:
      description: New with every write, so with every renewal.
      returned: when there is a record
      type: str
      sample: 0f3b5c1d2e4a6978.9a7c31b0d2e4.17
    handoff_to:
      description: The node for which a released lease is reserved; empty for any.
      returned: when there is a record
      type: str
      sample: ''
    ttl:
      description: For how many seconds the writer was promised the lease.
      returned: when there is a record
      type: float
      sample: 10
    unfenced:
      description: The nodes that held the lease and did not release it, until the resource is in service again. C(fence) applies to them.
      returned: when there is a record
      type: list
      elements: str
      sample: []
checker:
  description: What the checker of this host says of the lease; null where none runs or it does not watch this lease.
  returned: success
  type: dict
  contains:
    node:
      description: The name of this node.
      type: str
      sample: node-a
    held:
      description: Whether it holds the lease.
      type: bool
      sample: true
    epoch:
      description: With which epoch; null where it does not hold it.
      type: int
      sample: 1795373160
    expires_in:
      description: For how many seconds from now this node may serve unless the lease is renewed; null where it does not hold it.
      type: float
      sample: 7.2
    serving:
      description: Whether it keeps the address up.
      type: bool
      sample: true
    holder:
      description: The holder as it read it last; empty for nobody, null while it has not read it.
      type: str
      sample: node-a
    watching:
      description: Whether it runs and its last look at the lease succeeded.
      type: bool
      sample: true
    error:
      description: What troubles it; empty for nothing.
      type: str
      sample: ''
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease import lease_info, store_argument


def main() -> None:
    run_info(
        lambda host: lease_info(host.params),
        argument_spec={"cluster": {"type": "str", "required": True}, "tag": {"type": "str", "required": True}, **store_argument()},
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
