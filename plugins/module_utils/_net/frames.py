# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw sockets: asking a link who has an address (RFC 5227) and telling it that we have (RFC 5227, RFC 4861 section 7.2.6)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._model import Address, Link
from ansible_collections.holdfast.ha.plugins.module_utils._poll import readable

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_NOWHERE = b"\0" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST = 1
#: Three questions within the 0.3 seconds that a check may take; a host on the same link answers within a few milliseconds.
_ASKED, _WAIT = 3, 0.1
#: Seconds between two announcements: a switch that drops one under load may take the next.
_SPACING = 0.005
#: Flags of a neighbour advertisement: router, override.
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000


def find_claimant(address: Address, link: Link, own_macs: Iterable[str], now: Callable[[], float] = time.monotonic) -> str | None:
    """The MAC address of another host on ``link`` that has this IPv4 address or is about to take it; ``None`` after 0.3 s of silence.

    :param own_macs: Frames with these as their sender are our own.
    """
    mine = {_mac(mac) for mac in own_macs}
    with _arp_socket(link) as raw:
        try:
            for _turn in range(_ASKED):
                raw.send(arp_frame(_mac(link.mac), b"\0" * 4, address.ip.packed))
                deadline = now() + _WAIT
                while readable([raw], deadline - now()):
                    claimant = claims(raw.recv(2048), address.ip.packed)
                    if claimant is not None and claimant not in mine:
                        return claimant.hex(":")
        except OSError as error:  # the link may have gone down this moment
            raise CommandFailed(f"cannot ask {link.name} who has {address.host}: {error.strerror}", interface=link.name) from None
    return None


def claims(frame: bytes, ip: bytes) -> bytes | None:
    """The sender's MAC address if this Ethernet frame says that its sender has ``ip`` or is probing for it (RFC 5227 section 2.1.1)."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != struct.pack("!H", _ETH_P_ARP):
        return None
    _hardware, protocol, _hlen, _plen, operation, sender, sender_ip, _target, target_ip = _ARP.unpack_from(frame, 14)
    probing = operation == _REQUEST and sender_ip == b"\0" * 4 and target_ip == ip
    return bytes(sender) if protocol == 0x0800 and (sender_ip == ip or probing) else None


def arp_frame(mac: bytes, sender_ip: bytes, target_ip: bytes) -> bytes:
    """A broadcast ARP request: a probe with sender 0.0.0.0, an announcement with the address on both sides (RFC 5227 section 1.1)."""
    arp = _ARP.pack(1, 0x0800, 6, 4, _REQUEST, mac, sender_ip, _NOWHERE, target_ip)
    return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + arp


def advertisement(address: bytes, mac: bytes, *, router: bool) -> bytes:
    """An unsolicited neighbour advertisement that overrides what the neighbours believe; the kernel fills in the checksum."""
    flags = _OVERRIDE | (_ROUTER if router else 0)
    return struct.pack("!BBHI16sBB6s", 136, 0, 0, flags, address, 2, 1, mac)


def announce(address: Address, link: Link, count: int, pause: Callable[[float], None] = time.sleep) -> None:
    """Send ``count`` gratuitous ARP requests or unsolicited neighbour advertisements for an address of this host."""
    with _arp_socket(link) if address.version == 4 else _icmp_socket(address, link) as raw:
        for turn in range(count):
            if turn:
                pause(_SPACING)
            try:
                if address.version == 4:
                    raw.send(arp_frame(_mac(link.mac), address.ip.packed, address.ip.packed))
                else:
                    packet = advertisement(address.ip.packed, _mac(link.mac), router=_forwards(link.name))
                    raw.sendto(packet, ("ff02::1", 0, 0, link.index))
            except OSError as error:  # the link may have gone down this moment
                raise CommandFailed(f"cannot announce {address.host} on {link.name}: {error.strerror}", interface=link.name) from None


def _arp_socket(link: Link) -> socket.socket:
    raw = _raw(socket.AF_PACKET, socket.htons(_ETH_P_ARP))
    try:
        raw.bind((link.name, _ETH_P_ARP))
    except OSError as error:
        raw.close()
        raise CommandFailed(f"cannot send ARP on {link.name}: {error.strerror}", interface=link.name) from None
    return raw


def _icmp_socket(address: Address, link: Link) -> socket.socket:
    raw = _raw(socket.AF_INET6, socket.IPPROTO_ICMPV6)
    try:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # receivers drop anything less (RFC 4861 section 7.1.2)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        raw.bind((address.host, 0, 0, link.index))
    except OSError as error:
        raw.close()
        raise CommandFailed(f"cannot announce {address.host} on {link.name}: {error.strerror}", interface=link.name) from None
    return raw


def _raw(family: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_RAW, protocol)
    except PermissionError:
        raise CommandFailed("raw sockets are not permitted; run this as root (become: true)") from None


def _forwards(interface: str) -> bool:
    """A router must not drop out of its neighbours' lists because of us (RFC 4861 section 7.2.5)."""
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{interface}/forwarding").read_text().strip() == "1"
    except OSError:
        return False


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if len(text) == 17 else _NOWHERE
