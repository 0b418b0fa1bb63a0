#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what the checker of this host says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checker_info
short_description: Show what the checker of this host says of its resources
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Asks the checker of this host, over its socket, for what C(holdfast status --json) prints.
  - Nothing is looked at for this. The checker answers from what it has seen at its last check.
  - It takes the rights of root.
requirements:
  - netaddr (Python library)
extends_documentation_fragment:
  - holdfast.ha._attributes.info
options:
  tag:
    description: Only this resource. By default all that the checker watches.
    type: str
  in_service_within:
    description:
      - For how many seconds to wait until the checker has brought the resource O(tag) into service here, and nothing is under way any more.
        For a lease that was released to this node by O(holdfast.ha.lease#module:handoff_to).
      - It ends before that where an attempt has failed, and after 15 s where this node does not hold the lease.
      - See RV(status) for what has become of it. That it is not in service is no failure of this module.
    type: float
    default: 0
seealso:
  - module: holdfast.ha.checker_maintenance
  - module: holdfast.ha.ip_resource_info
"""

EXAMPLES = r"""
- name: Ask the checker
  holdfast.ha.checker_info:
  register: checker

- name: Stop here unless all is well
  ansible.builtin.assert:
    that:
      - checker.running
      - checker.status.resources | rejectattr('health', 'eq', 'healthy') | length == 0
"""

RETURN = r"""
running:
  description: Whether a checker runs on this host.
  returned: success
  type: bool
  sample: true
status:
  description: What it says; null where none runs.
  returned: success
  type: dict
  contains:
    cluster:
      description: The name of the cluster.
      type: str
      sample: web-prod
    node:
      description: The name of this node.
      type: str
      sample: node-a
    version:
      description: The version of the checker.
      type: str
      sample: 0.1.0
    configuration:
      description:
        - When the checker loaded its configuration, and why it kept that one at its last reload. The reason is empty if no reload was refused.
        - Times are seconds since the boot of the node.
      type: dict
      sample: {loaded_at: 4711.25, refused: {at: 0.0, reason: ''}}
    store_error:
      description: Why the store of the leases cannot be reached; empty or null where it can.
      type: str
      sample: ''
    store_warning:
      description: That etcd has little room left, and what to do; empty where it has, and with another store.
      type: str
      sample: ''
    peers:
      description: The other nodes, as the peers channel knows them. Empty without one.
      type: list
      elements: dict
      sample: [{node: node-b, address: 10.0.2.11, alive: true, age: 0.4, resources: {web: {ready: true, reason: '', priority: 2, held: false}}}]
    resources:
      description: The resources, sorted by tag.
      type: list
      elements: dict
      contains:
        tag:
          description: The name of the resource.
          type: str
          sample: web
        held:
          description: Whether this node holds its lease.
          type: bool
          sample: true
        holder:
          description: The node that holds the lease as it was read last; empty for nobody, null while it has not been read.
          type: str
          sample: node-a
        epoch:
          description: It rises at each change of holder.
          type: int
          sample: 1795373160
        expires_in:
          description: For how many seconds from now this node may serve unless the lease is renewed; null where it does not hold it.
          type: float
          sample: 7.2
        ttl:
          description: Seconds that the lease lasts from each renewal, as its holder wrote it; null while the lease has not been read.
          type: float
          sample: 10.0
        role:
          description: V(active) or V(standby).
          type: str
          sample: active
        phase:
          description: What the checker is about, such as V(watching), V(recovering), V(backing off), V(held down) or V(paused).
          type: str
          sample: watching
        paused:
          description: Whether nothing is repaired.
          type: bool
          sample: false
        health:
          description: V(healthy), V(failed) or V(unknown).
          type: str
          sample: failed
        reasons:
          description: Why, for people.
          type: list
          elements: str
          sample: [eth0 has no carrier]
        advice:
          description: What to do, in one line; empty for nothing.
          type: str
          sample: ''
        address:
          description: The address with its prefix length.
          type: str
          sample: 10.1.0.10/32
        interface:
          description: The interface that the address is on, or would be in service.
          type: str
          sample: eth0
        backup_interface:
          description: The backup interface, or null.
          type: str
          sample: eth1
        ec2:
          description:
            - What belongs to the address on EC2, as it was seen last. Null off EC2.
            - Has C(checked_ago) in seconds, C(error), C(routes_right), C(routes_total), C(source_dest_check), C(elastic_ip)
              and C(elastic_ip_right).
          type: dict
          sample: {checked_ago: 4.2, error: '', routes_right: 3, routes_total: 3, source_dest_check: false, elastic_ip: null, elastic_ip_right: null}
        dependents:
          description: What depends on the address, and the state of each.
          type: list
          elements: dict
          sample: [{name: app, kind: service, state: active}]
        ready:
          description: Whether this node could take the resource over.
          type: bool
          sample: true
        ready_reason:
          description: Why it could not.
          type: str
          sample: ''
        takes_over:
          description: Whether it would do so at once, were the lease handed to it. The reflex is on, and a recovery run stands ready.
          type: bool
          sample: true
        in_service:
          description: Whether it is recorded to be in service on this node; null where that is not known.
          type: bool
          sample: true
        serving:
          description: Whether the checker keeps its address up.
          type: bool
          sample: true
        last_recovery:
          description: When the last recovery was, how long it took and how it ended; null for none since the checker started.
          type: dict
          sample: {ago: 185.0, seconds: 1.2, ok: true, what: routes, message: ''}
        next_attempt_in:
          description: Seconds until the next attempt, or null.
          type: float
          sample: 12.4
        ordered:
          description: The faults that the recovery which is under way, or waits for its turn, was told of; null where none is.
          type: list
          elements: str
          sample: [routes]
        flapping:
          description: Whether the resource fails so often that it is held down.
          type: bool
          sample: false
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._modules.checker import checker_info


def main() -> None:
    """Be an Ansible module."""
    run_info(
        lambda host: checker_info(host.params),
        argument_spec={"tag": {"type": "str"}, "in_service_within": {"type": "float", "default": 0}},
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
