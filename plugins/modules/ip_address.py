#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make an address stand on an interface of this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_address
short_description: Make an address stand on an interface of this host
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Adds an IPv4 or IPv6 address to an interface, with exactly the wanted prefix length and lifetime, or removes it.
  - The same address on another interface of this host is moved, it is removed there before it is added here.
    The same address with another prefix length on the interface is replaced.
  - Other addresses, routes and rules are left as they are. What the kernel would take along (secondary addresses of a removed
    primary one, routes of a link that is bounced or loses its last address) is kept or put back. Routes of routing daemons are
    not put back, as the daemons do so themselves.
  - The host's own connections do not use the address. The route to its network has a metric of 7200000 or more, so that the host's own
    route to that network wins. An IPv6 address is deprecated from the start, so that only programs that bind it use it as their source.
    If an IPv4 address is the primary one and the host's own address in the same network is its secondary, it is removed and added
    again, so that the host keeps its own address when this one expires.
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes
options:
  address:
    description: The address with its prefix length, in CIDR notation.
    type: str
    required: true
  interface:
    description: The interface on which it stands, or from which it is removed. An alternative name (C(altname) in C(ip link)) is a name too.
    type: str
    required: true
  state:
    description:
      - V(present) has the address there.
      - V(absent) removes it, whatever its prefix length, and its source route. If it stands on another interface, nothing is done.
    type: str
    choices: [present, absent]
    default: present
  valid_lft:
    description:
      - V(forever), or in how many seconds the kernel removes the address by itself. The preferred lifetime is set to the same for IPv4,
        and to 0 for IPv6.
      - A lifetime is set anew, which counts as a change, when more than that or less than nine tenths of it is left.
    type: str
    default: forever
  check_unique:
    description:
      - Refuse an address that is new to this host if another host on the link has it.
      - The module asks the link three times, by ARP or by neighbour solicitation, which takes 0.3 seconds. It refuses the address if a host answers,
        or sends from the address. A host that only asks for the address does not count.
      - An address that moves from one interface of this host to another is not checked.
    type: bool
    default: true
  bring_up:
    description:
      - Set the interface up if it is down, and if it is up without carrier bounce it once (set it down and up).
        Its IPv6 addresses and its routes, which the kernel drops on the way, are put back.
      - If V(false), an interface that is not up is an error.
    type: bool
    default: true
  announce:
    description: How many gratuitous ARP requests or unsolicited neighbour advertisements to send after the address was added.
    type: int
    default: 3
  source_route:
    description:
      - With V(auto), an address gets a rule and a routing table of its own if a default route with the lowest metric, or the route to
        the address's network, leaves by another link. So replies leave by its own link. Both are removed when they are not needed, or
        with the address.
      - They carry the protocol number 72, by which they are told from others. The table is one of 7200 to 8199.
      - With V(none) there is none.
    type: str
    choices: [auto, none]
    default: auto
  label:
    description:
      - Text after the colon in the label of an IPv4 address, V(vip) for C(eth0:vip). The whole label has at most 15 characters.
      - Set when the address is added. The label of an address that is on the interface already is not changed.
      - By default, an address that is moved from another interface keeps this part of its label.
    type: str
  gateway:
    description:
      - The gateway of the source route.
      - By default that of a default route on the same link, in any table, also if it is one of several next hops.
        If none is known, there is a warning and no source route.
    type: str
seealso:
  - module: holdfast.ha.ip_probe
  - module: holdfast.ha.ip_swap_interface
"""

EXAMPLES = r"""
- name: The service's address is on eth0
  holdfast.ha.ip_address:
    address: 10.1.0.10/32
    interface: eth0

- name: It vanishes by itself unless it is renewed within ten seconds
  holdfast.ha.ip_address:
    address: 10.1.0.10/32
    interface: eth0
    valid_lft: 10

- name: It is on the second interface, and replies leave by that one's router
  holdfast.ha.ip_address:
    address: fd00:0:0:2::10/128
    interface: eth1
    gateway: fe80::1

- name: It is gone
  holdfast.ha.ip_address:
    address: 10.1.0.10/32
    interface: eth0
    state: absent
"""

RETURN = r"""
address:
  description: The address with its prefix length, in canonical notation.
  returned: success
  type: str
  sample: 10.1.0.10/32
interface:
  description: The interface that was given, by the kernel's name.
  returned: success
  type: str
  sample: eth0
before:
  description: The address as it was.
  returned: success
  type: dict
  contains: &place
    interface:
      description: The interface on which the address stands, or null. The wanted one if it is on several.
      type: str
      sample: eth0
    address:
      description: The address with the prefix length that it has there, or null.
      type: str
      sample: 10.1.0.10/32
    prefixlen:
      description: That prefix length.
      type: int
      sample: 32
    valid_lft:
      description: V(forever), or in how many seconds the kernel removes it.
      type: raw
      sample: forever
    dadfailed:
      description: Whether IPv6's duplicate address detection found another holder.
      type: bool
      sample: false
    link_up:
      description: Whether the interface is switched on.
      type: bool
      sample: true
    carrier:
      description: Whether the interface has a carrier.
      type: bool
      sample: true
    source_route:
      description: The rule and table of the address, or null.
      type: dict
      contains:
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
          sample: 10.0.2.1
after:
  description: The address as it is now, or would be in check mode.
  returned: success
  type: dict
  contains: *place
announced:
  description: How many announcements were sent.
  returned: success
  type: int
  sample: 3
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_address import AddressTask
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.options import ADDRESS_OPTIONS, parse_desired


def build(host: ModuleContext) -> AddressTask:
    """The change that the options describe."""
    return AddressTask(parse_desired(host.params), Kernel(host.run), host.warn)


def main() -> None:
    """Be an Ansible module."""
    run_change(build, argument_spec=ADDRESS_OPTIONS, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
