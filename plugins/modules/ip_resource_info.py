#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show the resources of this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_resource_info
short_description: Show the resources of this host
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Returns what is known of the resources on this host, which interface is primary, which is backup, and whether the address is healthy.
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes.info
  - holdfast.ha._resource
options:
  tag:
    description: The name of the resource to show, which has to be known. By default all that are known here.
    type: str
seealso:
  - module: holdfast.ha.ip_backup_interface
  - module: holdfast.ha.ip_swap_interface
"""

EXAMPLES = r"""
- name: Look at web
  holdfast.ha.ip_resource_info:
    tag: web
  register: shown

- name: Print it as the lkipbu command does
  ansible.builtin.debug:
    msg: "{{ shown.resources[0].text }}"
"""

RETURN = r"""
resources:
  description: The resources, sorted by tag.
  returned: success
  type: list
  elements: dict
  contains:
    tag:
      description: The name of the resource.
      type: str
      sample: web
    address:
      description: The address with its prefix length.
      type: str
      sample: 172.17.106.10/22
    netmask:
      description: The netmask in dotted notation, for IPv6 the prefix length.
      type: str
      sample: 255.255.252.0
    primary_interface:
      description: The interface that the address is on, or would be in service.
      type: str
      sample: eth0
    primary_state:
      description: V(up) if that interface is switched on and has a carrier, else V(down).
      type: str
      sample: up
    primary_switched_off:
      description: Whether that interface is administratively down. A takeover switches it on.
      type: bool
      sample: false
    places:
      description: Where the address is on this host, whether it should be there or not, each with its C(interface) and the C(address) as it is there.
      type: list
      elements: dict
      sample: [{"interface": "eth0", "address": "172.17.106.10/22"}]
    backup_interface:
      description: The backup interface, or null.
      type: str
      sample: eth1
    backup_state:
      description: As RV(resources[].primary_state), of the backup interface; null where there is none.
      type: str
      sample: up
    info:
      description:
        - The INFO record, five values separated by spaces.
        - They are primary server, interface, address, netmask in hexadecimal (for IPv6 the prefix length), backup interface or V(none).
      type: str
      sample: ServerA eth0 172.17.106.10 fffffc00 eth1
    text:
      description: Four lines for people.
      type: str
      sample: "IP address: 172.17.106.10\nNetmask: 255.255.252.0\nPrimary interface: eth0 (up)\nBackup interface: eth1\n"
    in_service:
      description: Whether the resource is in service here. Where nobody has said so, whether its address stands on an interface.
      type: bool
      sample: true
    recorded:
      description: As RV(resources[].in_service), but null where nobody has said so, and false where it was said before the host was restarted.
      type: bool
      sample: true
    lease:
      description:
        - What the checker of this host says of the resource's lease, in the words of RV(holdfast.ha.lease_info#module:checker), with the name
          of its C(cluster). Null where no checker runs here, or where it does not watch this resource.
      type: dict
      sample: {"cluster": "web-prod", "node": "node-a", "held": true, "serving": true}
    health:
      description: V(healthy), or V(failed) if the address, its interface or its source route is not as it should be.
      type: str
      sample: healthy
    reasons:
      description: Why the health is V(failed). Also that a rule of another program sends replies elsewhere, if the address is healthy otherwise.
      type: list
      elements: str
      sample: [eth0 has no carrier]
"""

from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.resource import lease_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, Health
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import address_health
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe, observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.replies import cause, leave_by
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import describe
from ansible_collections.holdfast.ha.plugins.module_utils._resource.options import RESOURCE_OPTIONS, parse_given, parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


def read(host: ModuleContext) -> dict[str, Any]:
    """The resource asked for, or all."""
    tag, resource = parse_given(host.params)
    node, store = parse_node(host.params), Store()
    net = NetState(observe_links(host.run))
    tags = store.tags() if tag is None else (tag,)
    return {"resources": [{**_shown(node, store.effective(each, resource), net, store.boot(), host), "lease": lease_of(each)} for each in tags]}


def _shown(node: str, known: EffectiveResource, net: NetState, boot: str, host: ModuleContext) -> dict[str, object]:
    """With its replies, if it is in service here and healthy otherwise."""
    health, reasons = address_health(known, net)
    shown, link = {**describe(node, known, net, boot), "health": health.value, "reasons": list(reasons)}, net.find(known.interface)
    if health is not Health.HEALTHY or link is None or not any(net.places(known.address)) or leave_by(known.address, link, net):
        return shown
    gateway = known.resource.gateway if known.resource else None
    astray = cause(Desired(known.address, known.interface, gateway=gateway), observe(host.run, known.address))
    if astray is None:
        return shown
    return {**shown, "health": (Health.FAILED if astray.repairable else Health.HEALTHY).value, "reasons": [astray.reason]}


def main() -> None:
    """Be an Ansible module."""
    run_info(read, argument_spec={"tag": {"type": "str"}, **RESOURCE_OPTIONS}, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
