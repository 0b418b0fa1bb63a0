#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record a resource on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_resource
short_description: Record a resource on this host, and whether it is in service here
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Keeps the state file of a resource, C(/var/lib/holdfast/TAG.json), which is what the other modules know a resource by.
  - No address is added or removed, see M(holdfast.ha.ip_address) for that.
requirements:
  - netaddr (Python library)
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._resource
options:
  tag:
    description: The name of the resource.
    type: str
    required: true
  in_service:
    description: Whether the resource is in service on this host. By default what is recorded stays as it is.
    type: bool
  dependents_may_run:
    description:
      - Whether dependents of the resource may run on this host. By default what is recorded stays as it is.
      - Set it before the first dependent starts and once more after the start. Set V(false) only after all of them have stopped.
      - While it is recorded on a host that does not hold the resource, the checker stops the dependents until it observes that none runs.
    type: bool
  dependents_stopping:
    description:
      - Record that dependents are being stopped on purpose. Until O(dependents_may_run=true) is recorded again, the checker starts none of them.
      - It has an effect only if it is recorded that dependents may run.
    type: bool
    default: false
    version_added: 0.1.0
  fenced:
    description:
      - The network interfaces of the old active node whose source/destination check this host switched on before it put the resource in service.
      - While this host holds the lease of that epoch, its checker verifies at each check of EC2 that the source/destination check is on.
      - By default what is recorded stays as it is. O(in_service=false) removes it.
    type: dict
    version_added: 0.1.0
    suboptions:
      epoch:
        description: The epoch of the lease that this host holds.
        type: int
        required: true
      interfaces:
        description: The ids of the network interfaces.
        type: list
        elements: str
        required: true
      nodes:
        description: The name of the old active node. Several names if it is one of these.
        type: list
        elements: str
        default: []
  state:
    description: With V(absent) the state file is removed, and with it what was learned of primary and backup interface.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: holdfast.ha.ip_resource_info
"""

EXAMPLES = r"""
- name: The resource web is in service here
  holdfast.ha.ip_resource:
    tag: web
    resource:
      tag: web
      address: 10.1.0.10/32
      interface: eth0
    in_service: true

- name: This host has nothing to do with it any more
  holdfast.ha.ip_resource:
    tag: web
    state: absent
"""

RETURN = r"""
info:
  description:
    - The INFO record, five values separated by spaces; null when the resource is not known any more.
    - They are primary server, interface, address, netmask in hexadecimal (for IPv6 the prefix length), backup interface or V(none).
  returned: success
  type: str
  sample: ServerA eth0 172.17.106.10 fffffc00 eth1
in_service:
  description: What is recorded; null where nobody has said so.
  returned: success
  type: bool
  sample: true
dependents_may_run:
  description: Whether it is recorded that dependents may run on this host.
  returned: success
  type: bool
  sample: true
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_resource import RegistrationTask
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import parse_fenced
from ansible_collections.holdfast.ha.plugins.module_utils._resource.options import RESOURCE_OPTIONS, parse_given, parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


def build(host: ModuleContext) -> RegistrationTask:
    """The change that the options describe."""
    tag, resource = parse_given(host.params)
    present, node = host.params["state"] == "present", parse_node(host.params)
    in_service, may_run = host.params["in_service"], host.params["dependents_may_run"]
    stopping, raw = host.params["dependents_stopping"], host.params["fenced"]
    fenced = None if raw is None else parse_fenced(raw)
    return RegistrationTask(
        str(tag), resource, node, present=present, in_service=in_service, may_run=may_run, stopping=stopping, fenced=fenced, store=Store()
    )


def main() -> None:
    """Be an Ansible module."""
    spec = {
        "tag": {"type": "str", "required": True},
        "in_service": {"type": "bool"},
        "dependents_may_run": {"type": "bool"},
        "dependents_stopping": {"type": "bool", "default": False},
        "fenced": {
            "type": "dict",
            "options": {
                "epoch": {"type": "int", "required": True},
                "interfaces": {"type": "list", "elements": "str", "required": True},
                "nodes": {"type": "list", "elements": "str", "default": []},
            },
        },
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        **RESOURCE_OPTIONS,
    }
    run_change(build, argument_spec=spec, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
