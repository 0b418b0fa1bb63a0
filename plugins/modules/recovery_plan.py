#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan the next steps of a local recovery."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_plan
short_description: Plan the next steps of a local recovery
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - This module is internal to the role P(holdfast.ha.local_recovery#role). Its options and return values may change in any release.
  - It decides which steps follow from what other modules returned. It fails with one line if no step follows.
  - It always runs on the controller and connects to no node.
extends_documentation_fragment:
  - holdfast.ha._attributes.info
options:
  stage:
    description:
      - The decision to make.
      - V(resources) selects the resources. V(node) selects the node that repairs one.
      - V(repair), V(point) and V(move) plan the first steps of a repair, of a repair on EC2 alone, and of a move to the backup interface.
      - V(address), V(ec2) and V(result) plan what follows from O(answers), where V(address) expects the failure of a step for the address,
        V(ec2) the answers of the steps on EC2, and V(result) an O(observed) after the last step.
      - V(report) fails if a resource was not recovered.
      - V(reads) plans what else to read for the playbook C(holdfast.ha.status), and V(status) makes its entries.
    type: str
    required: true
    choices: [resources, node, repair, point, move, address, ec2, result, report, reads, status]
  tags:
    description: The tags of the resources to recover; none for all.
    type: list
    elements: str
    default: []
  known_tags:
    description: The tags of all resources, in the order of the inventory.
    type: list
    elements: str
    default: []
  resource:
    description: The definition of the resource on this host, without options of AWS. Empty if the inventory does not define it.
    type: dict
    default: {}
  observed:
    description: The resource as M(holdfast.ha.ip_resource_info) returned it on this host; with V(reads) and V(status) all that it returned.
    type: dict
    default: {}
  interfaces:
    description: What M(holdfast.ha.ec2_local_eni_info) returned on this host.
    type: dict
    default: {}
  faults:
    description: The faults to repair.
    type: list
    elements: str
    choices: [address, source_dest_check, routes, elastic_ip]
    default: [address, source_dest_check, routes, elastic_ip]
  cluster:
    description: The name of the cluster.
    type: str
    default: ''
  leased:
    description: Whether a lease decides which node has the address.
    type: bool
    default: false
  check:
    description: Whether the recovery runs in check mode.
    type: bool
    default: false
  host:
    description: The name of this host in the inventory.
    type: str
    default: ''
  hosts:
    description: All hosts of the run, including those that could not be reached.
    type: list
    elements: str
    default: []
  seen:
    description: What M(holdfast.ha.ip_resource_info) returned, by host, of the hosts that answered.
    type: dict
    default: {}
  after:
    description: The plan that was carried out.
    type: dict
    default: {}
  answers:
    description: What its tasks returned.
    type: list
    elements: dict
    default: []
  failed:
    description: Why resources were not recovered, by tag.
    type: dict
    default: {}
  incomplete:
    description: Faults that no run can repair, by tag.
    type: dict
    default: {}
  units:
    description: The systemd units whose states were read.
    type: list
    elements: str
    default: []
  states:
    description: The states of O(units), in the same order. They count only if there is one for each.
    type: list
    elements: str
    default: []
seealso:
  - module: holdfast.ha.ip_resource_info
  - module: holdfast.ha.ec2_resource
"""

EXAMPLES = r"""
- name: Plan the repair of the resource
  holdfast.ha.recovery_plan:
    stage: repair
    resource: "{{ resource }}"
    observed: "{{ info.resources[0] }}"
    interfaces: "{{ network_interfaces }}"
  register: plan

- name: Configure the address on its interface
  holdfast.ha.ip_address:
    address: "{{ plan.steps.ip_address.address }}"
    interface: "{{ plan.steps.ip_address.interface }}"
  when: "'ip_address' in plan.steps"
"""

RETURN = r"""
indexes:
  description: The places of the selected resources in O(known_tags).
  returned: with O(stage=resources)
  type: list
  elements: int
  sample: [0]
here:
  description: Whether this host repairs the resource.
  returned: with O(stage=node)
  type: bool
in_service:
  description: Whether the resource is in service on this host.
  returned: with O(stage=node)
  type: bool
notice:
  description: A line for the person who reads the output of the run; empty if there is none.
  returned: with O(stage=node) and with plans
  type: str
  sample: "node-b holds web: there is nothing to repair here"
interface:
  description: The interface of the address once the steps have run.
  returned: with plans
  type: str
  sample: eth0
steps:
  description: The options of modules, by the name of the module without its collection, in the order in which the modules run.
  returned: with plans and O(stage=reads)
  type: dict
  sample: {"ip_address": {"address": "10.1.0.10/32", "interface": "eth0"}}
refused:
  description: The failures on EC2 so far, each with C(msg) and C(errors).
  returned: with plans
  type: list
  elements: dict
  sample: []
lacking:
  description: Faults that no run can repair, one line each.
  returned: with plans
  type: list
  elements: str
  sample: []
again:
  description: Whether the plan repairs what broke during the recovery.
  returned: with plans
  type: bool
only_ec2:
  description: The errors by tag, if the recovery failed because of EC2 alone.
  returned: with O(stage=ec2), on failure
  type: dict
  sample: {}
proceed:
  description: Whether the playbook C(holdfast.ha.recover) has more to do.
  returned: with O(stage=report), on failure
  type: bool
units:
  description: The systemd units whose states to read.
  returned: with O(stage=reads)
  type: list
  elements: str
  sample: []
entries:
  description: Entries for the filter P(holdfast.ha.status_table#filter).
  returned: with O(stage=status)
  type: list
  elements: dict
  sample: []
"""

from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import repair

_FAULTS = [str(fault) for fault in repair.FAULTS]


def read(host: ModuleContext) -> dict[str, Any]:
    """The decision that the stage names."""
    given = host.params
    stage, cluster = given["stage"], given["cluster"] if given["leased"] else None
    if stage == "resources":
        return {"indexes": repair.select(given["tags"], given["known_tags"])}
    if stage == "node":
        choice = repair.choose(given["resource"].get("tag", ""), given["host"], len(given["hosts"]) == 1, given["seen"], cluster)
        return {"here": choice.here, "in_service": choice.in_service, "notice": choice.notice}
    if stage == "report":
        repair.report(given["failed"], given["incomplete"], cluster)
        return {}
    if stage in ("reads", "status"):
        return _of_status(stage, given)
    now = repair.Situation(given["resource"], given["observed"], given["interfaces"], cluster, given["check"])
    return _plan(stage, now, given).as_dict()


def _of_status(stage: str, given: Any) -> dict[str, Any]:
    observed = given["observed"].get("resources") or []
    if stage == "status":
        states = dict(zip(given["units"], given["states"])) if len(given["units"]) == len(given["states"]) else {}
        return {"entries": [repair.status_entry(repair.Situation(given["resource"], one), given["answers"][0], states) for one in observed]}
    steps, units = repair.reads(repair.Situation(given["resource"], observed[0] if observed else {}))
    return {"steps": steps, "units": units}


def _plan(stage: str, now: repair.Situation, given: Any) -> repair.Plan:
    if stage == "repair":
        return repair.repair(now, given["faults"])
    if stage == "point":
        return repair.point(now, given["faults"])
    if stage == "move":
        return repair.move(now)
    before = repair.plan_of(given["after"])
    if stage == "address":
        return repair.after_address(now, before, given["answers"][0])
    return repair.after_ec2(now, before, given["answers"]) if stage == "ec2" else repair.verified(now, before)


def main() -> None:
    """Be an Ansible module."""
    texts, words = {"type": "list", "elements": "str", "default": []}, {"type": "str", "default": ""}
    mapping, flag = {"type": "dict", "default": {}}, {"type": "bool", "default": False}
    stages = ["resources", "node", "repair", "point", "move", "address", "ec2", "result", "report", "reads", "status"]
    spec: dict[str, Any] = {
        "stage": {"type": "str", "required": True, "choices": stages},
        "tags": texts,
        "known_tags": texts,
        "resource": mapping,
        "observed": mapping,
        "interfaces": mapping,
        "faults": {"type": "list", "elements": "str", "choices": _FAULTS, "default": _FAULTS},
        "cluster": words,
        "leased": flag,
        "check": flag,
        "host": words,
        "hosts": texts,
        "seen": mapping,
        "after": mapping,
        "answers": {"type": "list", "elements": "dict", "default": []},
        "failed": mapping,
        "incomplete": mapping,
        "units": texts,
        "states": texts,
    }
    run_info(read, argument_spec=spec)


if __name__ == "__main__":
    main()
