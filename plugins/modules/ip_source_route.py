#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let replies from an address leave by the interface that has it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_source_route
short_description: Let replies from an address leave by the interface that has it
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Gives an address of this host a rule and a routing table of its own, where the default route leaves by another interface.
  - Without them replies from the address leave by the default route's interface, where a network that checks sources drops them.
  - The address itself is left alone, whoever configured it. M(holdfast.ha.ip_address) does the same for the addresses that it manages.
  - Rules, tables and routes of others are never touched.
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes
options:
  address:
    description: The address, with or without prefix length.
    type: str
    required: true
  interface:
    description: The interface that has the address.
    type: str
    required: true
  gateway:
    description: The gateway on that interface. By default that of a default route that the interface already has.
    type: str
  state:
    description:
      - V(present) adds what is needed, and removes it where the interface has the default route, so that it is not needed.
      - V(absent) removes it in any case.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: holdfast.ha.ip_address
"""

EXAMPLES = r"""
- name: The Elastic IP in front of the second network interface is answered from there
  holdfast.ha.ip_source_route:
    address: 10.0.1.12
    interface: eth1
    gateway: 10.0.1.1
"""

RETURN = r"""
before:
  description: The rule and table as they were, or null.
  returned: success
  type: dict
  contains: &route
    table:
      description: The number of the routing table.
      type: int
      sample: 7245
    interface:
      description: The interface by which replies leave, or null while the table has no default route.
      type: str
      sample: eth1
    gateway:
      description: The gateway by which replies leave, or null.
      type: str
      sample: 10.0.1.1
after:
  description: The rule and table as they are now, or would be in check mode; null where none is needed.
  returned: success
  type: dict
  contains: *route
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, Address, parse_gateway
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_source_route import SourceRouteTask
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired


def build(host: ModuleContext) -> SourceRouteTask:
    """The change that the options describe."""
    address = Address.parse_loosely(host.params["address"])
    desired = Desired(
        address,
        given_link(host.params["interface"]),
        present=host.params["state"] == "present",
        gateway=parse_gateway(host.params["gateway"], address),
    )
    return SourceRouteTask(desired, Kernel(host.run), host.warn)


def main() -> None:
    """Be an Ansible module."""
    spec = {
        "address": {"type": "str", "required": True},
        "interface": {"type": "str", "required": True},
        "gateway": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run_change(build, argument_spec=spec, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
