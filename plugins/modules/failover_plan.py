#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide what a failover does next."""

from __future__ import annotations

DOCUMENTATION = r"""
module: failover_plan
short_description: Decide what a failover does next
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Takes what the nodes of a run reported, and returns one decision of the failover, such as the active node, the standby and the steps of this host.
    If the failover is refused, the task fails with the reason in one line.
  - The role P(holdfast.ha.failover#role) uses it. Its options change with the role, so use the role.
  - It runs on the controller, and neither connects to a node nor changes anything.
extends_documentation_fragment:
  - holdfast.ha._attributes.info
options:
  decide:
    description:
      - V(reachable) is whether a node takes part. V(questions) is what else to ask it. V(report) is what is known about it.
      - V(plan) is the active node, the standby and the steps of this host.
      - V(standby_prepared), V(standby_reached) and V(released) are whether the run can go on with the standby.
      - V(join) is whether the standby's checker brings the resource into service, and V(joined) whether it did.
      - V(activate) is the steps once the lease is held.
      - V(address_failed), V(ec2_failed) and V(not_freed) are what to do after such a failure.
      - V(held) and V(in_store) are whether the lease is still held, V(without_links) whether the node only lost its links.
      - V(result) is whether the resource is as it should be. V(new_holder) is who acquired the lease.
      - V(kept), V(not_acquired) and V(rolled_back) fail with what a person is told.
    type: str
    required: true
    choices:
      - reachable
      - questions
      - report
      - plan
      - standby_prepared
      - standby_reached
      - released
      - join
      - joined
      - activate
      - address_failed
      - ec2_failed
      - not_freed
      - held
      - in_store
      - without_links
      - result
      - new_holder
      - kept
      - not_acquired
      - rolled_back
  facts:
    description: The variables of the role and the results of its tasks so far.
    type: dict
    required: true
  results:
    description: Further results, for this decision alone.
    type: dict
    default: {}
seealso:
  - module: holdfast.ha.ip_resource_info
"""

EXAMPLES = r"""
- name: Choose the active node and the standby
  holdfast.ha.failover_plan:
    decide: plan
    facts: "{{ __failover_facts }}"
  register: chosen
"""

RETURN = r"""
plan:
  description: The decision. What is in it depends on O(decide).
  returned: success
  type: dict
  sample: {holder: node-a, steps: [prepare, transfer, activate, record]}
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.run import run_info
from ansible_collections.holdfast.ha.plugins.module_utils._modules.failover_plan import DECISIONS, decide


def main() -> None:
    run_info(
        lambda host: {"plan": decide(host.params["decide"], {**host.params["facts"], **host.params["results"]})},
        argument_spec={
            "decide": {"type": "str", "required": True, "choices": list(DECISIONS)},
            "facts": {"type": "dict", "required": True},
            "results": {"type": "dict", "default": {}},
        },
    )


if __name__ == "__main__":
    main()
