# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are shown of a resource: the INFO record and the four lines (scenarios.md C6 and D). Pure."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, since_boot


def info_record(node: str, known: EffectiveResource) -> str:
    """Five values: primary server, interface, address, netmask in hexadecimal (IPv6: prefix length), backup interface or ``none``."""
    return f"{node} {known.interface} {known.address.host} {known.address.netmask_hex} {known.backup_interface or 'none'}"


def four_lines(known: EffectiveResource, net: NetState) -> str:
    """What the lkipbu command's -s prints."""
    return (
        f"IP address: {known.address.host}\n"
        f"Netmask: {known.address.netmask}\n"
        f"Primary interface: {known.interface} ({link_state(known.interface, net)})\n"
        f"Backup interface: {known.backup_interface or 'none'}\n"
    )


def link_state(interface: str, net: NetState) -> str:
    """``up`` where packets can leave, else ``down``."""
    link = net.find(interface)
    return "up" if link is not None and link.up else "down"


def is_switched_off(interface: str, net: NetState) -> bool:
    """Whether it is there and administratively down, so that a takeover would switch it on."""
    link = net.find(interface)
    return link is not None and not link.admin_up


def in_service(known: EffectiveResource, net: NetState) -> bool:
    """What was recorded, else whether the address stands on a link of this host."""
    return known.in_service if known.in_service is not None else any(net.places(known.address))


def describe(node: str, known: EffectiveResource, net: NetState, boot: str) -> dict[str, object]:
    """One resource as ip_resource_info returns it, but for its health. ``boot``: the kernel's id of this boot."""
    return {
        "tag": known.tag,
        "address": str(known.address),
        "netmask": known.address.netmask,
        "primary_interface": known.interface,
        "primary_state": link_state(known.interface, net),
        "primary_switched_off": is_switched_off(known.interface, net),
        "places": [{"interface": link.name, "address": str(held.address)} for link, held in net.places(known.address)],
        "backup_interface": known.backup_interface,
        "backup_state": link_state(known.backup_interface, net) if known.backup_interface else None,
        "info": info_record(node, known),
        "text": four_lines(known, net),
        "in_service": in_service(known, net),
        "recorded": since_boot(known, boot),
    }
