#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Define the backup interface of a resource."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_backup_interface
short_description: Define the backup interface of a resource on this host
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Adds or removes the interface to which the address of a resource moves when its primary interface fails.
  - Both interfaces have to be on the same physical network. A warning is given when the addresses on them say otherwise.
  - The result is kept in the state file of the resource, where it outweighs the definition until the definition's own value changes.
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._resource
options:
  tag:
    description: The name of the resource.
    type: str
    required: true
  interface:
    description: The backup interface.
    type: str
    required: true
  state:
    description:
      - V(present) fails when another backup interface is defined already, and when the interface does not exist or is the primary one.
      - V(absent) fails when another interface is the backup. Without any there is nothing to do.
    type: str
    choices: [present, absent]
    default: present
notes:
  - Where primary and backup interface are on one IPv4 network, set C(net.ipv4.conf.all.arp_ignore=1) and C(net.ipv4.conf.all.arp_announce=2).
    Otherwise Linux answers on each of them for the addresses of both, and packets for the address come in by either.
seealso:
  - module: holdfast.ha.ip_swap_interface
  - module: holdfast.ha.ip_resource_info
"""

EXAMPLES = r"""
- name: The address of web may move to eth1
  holdfast.ha.ip_backup_interface:
    tag: web
    interface: eth1

- name: It has no backup interface any more
  holdfast.ha.ip_backup_interface:
    tag: web
    interface: eth1
    state: absent
"""

RETURN = r"""
info:
  description:
    - The INFO record, five values separated by spaces.
    - They are primary server, interface, address, netmask in hexadecimal (for IPv6 the prefix length), backup interface or V(none).
  returned: success
  type: str
  sample: ServerA eth0 172.17.106.10 fffffc00 eth1
primary_interface:
  description: The interface that the address is on, or would be in service.
  returned: success
  type: str
  sample: eth0
backup_interface:
  description: The backup interface, or null.
  returned: success
  type: str
  sample: eth1
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_backup_interface import BackupTask
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._resource.options import RESOURCE_OPTIONS, parse_given, parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


def build(host: ModuleContext) -> BackupTask:
    """The change that the options describe."""
    tag, resource = parse_given(host.params)
    return BackupTask(
        str(tag),
        resource,
        given_link(host.params["interface"]),
        parse_node(host.params),
        present=host.params["state"] == "present",
        store=Store(),
        run=host.run,
        warn=host.warn,
    )


def main() -> None:
    """Be an Ansible module."""
    spec = {
        "tag": {"type": "str", "required": True},
        "interface": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        **RESOURCE_OPTIONS,
    }
    run_change(build, argument_spec=spec, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
