# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are shown of a resource: the INFO record, the four lines, its health (scenarios.md C6 and D). Pure."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Health
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState, precedes_own
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


def address_health(known: EffectiveResource, net: NetState) -> tuple[Health, tuple[str, ...]]:
    """Whether the address stands where and as it should, and if not, why. A resource that is out of service should stand nowhere."""
    if known.in_service is False:
        left = tuple(f"it is out of service here, yet {held.address} is on {link.name}" for link, held in net.places(known.address))
        return (Health.FAILED, left) if left else (Health.HEALTHY, ())
    reasons = (*link_faults(known.interface, net), *address_faults(known.address, known.interface, net))
    return (Health.FAILED, reasons) if reasons else (Health.HEALTHY, ())


def link_faults(interface: str, net: NetState) -> tuple[str, ...]:
    link = net.find(interface)
    if link is None:
        return (f"there is no link {interface}",)
    if not link.up:
        return (f"{interface} {'has no carrier' if link.admin_up else 'is down'}",)
    return ()


def address_faults(address: Address, interface: str, net: NetState) -> tuple[str, ...]:
    faults = []
    for link, held in net.places(address):
        if link.name != interface:
            faults.append(f"{held.address} is on {link.name}")
        elif held.address != address:
            faults.append(f"its prefix length on {interface} is {held.address.prefixlen}")
        elif held.dadfailed:
            faults.append(f"another host has {address.host}")
        elif precedes_own(link, held):
            faults.append(f"it came to {interface} before the node's own address, which would go with it")
    if not any(link.name == interface for link, _held in net.places(address)):
        faults.insert(0, f"{address} is not on {interface}")
    return tuple(faults)


def describe(node: str, known: EffectiveResource, net: NetState, boot: str) -> dict[str, object]:
    """One resource as ip_resource_info returns it. ``boot``: the kernel's id of this boot."""
    health, reasons = address_health(known, net)
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
        "health": health.value,
        "reasons": list(reasons),
    }
