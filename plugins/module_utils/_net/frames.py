# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw sockets: asking a link who has an address (RFC 5227, RFC 4862) and telling it that we have (RFC 5227, RFC 4861 section 7.2.6)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link
from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable
from ansible_collections.holdfast.ha.plugins.module_utils._net.echo import checksum

_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_BROADCAST = b"\xff" * 6
_NOWHERE = b"\0" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST = 1
_SOLICITATION, _ADVERTISEMENT = 135, 136
#: Type and code of a neighbour's message (8 bytes with the flags), then the address that it is about; options follow.
_NEIGHBOUR = struct.Struct("!BBHI16s")
_SOURCE_LINK, _TARGET_LINK = 1, 2
#: Of linux/icmpv6.h: the option is a bit for each type that is not wanted.
ICMP6_FILTER = 1
#: Three questions within the 0.3 seconds that a check may take; a host on the same link answers within a few milliseconds.
_ASKED, _WAIT = 3, 0.1
#: Seconds between two announcements: a switch that drops one under load may take the next.
_SPACING = 0.005
#: Flags of a neighbour advertisement: router, override.
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000


def find_claimant(address: Address, link: Link, own_macs: Iterable[str], now: Callable[[], float] = time.monotonic) -> str | None:
    """The MAC address of another host on ``link`` that has this address; ``None`` after 0.3 s of silence.

    A question without a sender's address is no claim, since switches and routers that track devices ask so for every address that they know. RFC 5227
    and RFC 4862 take it for another host that is about to use the address. Of those, the lease admits one.

    :param own_macs: Frames with these as their sender are our own.
    """
    mine, ip = {_mac(mac) for mac in own_macs}, address.ip.packed
    with _question(address, link) as raw, _answers(address, link, raw) as heard:
        try:
            for _turn in range(_ASKED):
                raw.send(arp_frame(_mac(link.mac), b"\0" * 4, ip) if address.version == 4 else solicitation_frame(_mac(link.mac), ip))
                deadline = now() + _WAIT
                while readable([heard], deadline - now()):
                    claimant = claims(heard.recv(2048), ip) if address.version == 4 else _neighbour_claims(heard, ip)
                    if claimant is not None and claimant not in mine:
                        return claimant.hex(":")
        except OSError as error:  # the link may have gone down this moment
            raise CommandFailed(f"cannot ask {link.name} who has {address.host}: {error.strerror}", interface=link.name) from None
    return None


def claims(frame: bytes, ip: bytes) -> bytes | None:
    """The sender's MAC address if this Ethernet frame says that its sender has ``ip``."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != struct.pack("!H", _ETH_P_ARP):
        return None
    _hardware, protocol, _hlen, _plen, _operation, sender, sender_ip, _target, _target_ip = _ARP.unpack_from(frame, 14)
    return bytes(sender) if protocol == 0x0800 and sender_ip == ip else None


def neighbour_claims(message: bytes, source: bytes, hops: int, ip: bytes) -> bytes | None:
    """The sender's MAC address if this ICMPv6 message says that its sender has ``ip``: an advertisement of it, or a solicitation that comes from it.

    :param hops: The hop limit; below 255 it has passed a router, and is to be ignored (RFC 4861 section 7.1).
    """
    if len(message) < _NEIGHBOUR.size or hops != 255:
        return None
    kind, _code, _sum, _flags, target = _NEIGHBOUR.unpack_from(message)
    if kind == _ADVERTISEMENT and target == ip:
        return _link_option(message, _TARGET_LINK)
    if kind == _SOLICITATION and source == ip:
        return _link_option(message, _SOURCE_LINK)
    return None


def _link_option(message: bytes, wanted: int) -> bytes:
    """The MAC address in an option of a neighbour's message; zeros where it has none."""
    place = _NEIGHBOUR.size
    while place + 8 <= len(message) and message[place + 1]:
        if message[place] == wanted:
            return message[place + 2 : place + 8]
        place += 8 * message[place + 1]
    return _NOWHERE


def _neighbour_claims(heard: socket.socket, ip: bytes) -> bytes | None:
    message, ancillary, _flags, sender = heard.recvmsg(2048, 64)
    hops = next((struct.unpack("=i", data)[0] for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)), 0)
    return neighbour_claims(message, socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0]), hops, ip)


def solicitation_frame(mac: bytes, ip: bytes) -> bytes:
    """A neighbour solicitation from no address, as for duplicate address detection (RFC 4862 section 5.4.2): who has ``ip`` tells all nodes."""
    group = bytes.fromhex("ff0200000000000000000001ff") + ip[13:]
    message = _NEIGHBOUR.pack(_SOLICITATION, 0, 0, 0, ip)
    message = _NEIGHBOUR.pack(_SOLICITATION, 0, checksum(bytes(16) + group + struct.pack("!II", len(message), 58) + message), 0, ip)
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + bytes(16) + group
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", _ETH_P_IPV6) + header + message


def arp_frame(mac: bytes, sender_ip: bytes, target_ip: bytes) -> bytes:
    """A broadcast ARP request: a probe with sender 0.0.0.0, an announcement with the address on both sides (RFC 5227 section 1.1)."""
    arp = _ARP.pack(1, 0x0800, 6, 4, _REQUEST, mac, sender_ip, _NOWHERE, target_ip)
    return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + arp


def advertisement(address: bytes, mac: bytes, *, router: bool) -> bytes:
    """An unsolicited neighbour advertisement that overrides what the neighbours believe; the kernel fills in the checksum."""
    flags = _OVERRIDE | (_ROUTER if router else 0)
    return _NEIGHBOUR.pack(_ADVERTISEMENT, 0, 0, flags, address) + struct.pack("!BB6s", _TARGET_LINK, 1, mac)


def announce(
    address: Address,
    link: Link,
    count: int,
    pause: Callable[[float], None] = time.sleep,
    within: Callable[[Callable[[], None]], object] = lambda send: send(),
) -> None:
    """Send ``count`` gratuitous ARP requests or unsolicited neighbour advertisements for an address of this host.

    :param within: Is given what sends one, and calls it or raises. To open the socket may take longer than to send, and is done before.
    """
    with _packet_socket(link, _ETH_P_ARP) if address.version == 4 else _icmp_socket(address, link) as raw:
        for turn in range(count):
            if turn:
                pause(_SPACING)
            within(lambda: _send_announcement(raw, address, link))


def _send_announcement(raw: socket.socket, address: Address, link: Link) -> None:
    try:
        if address.version == 4:
            raw.send(arp_frame(_mac(link.mac), address.ip.packed, address.ip.packed))
        else:
            packet = advertisement(address.ip.packed, _mac(link.mac), router=_forwards(link.name))
            raw.sendto(packet, ("ff02::1", 0, 0, link.index))
    except OSError as error:  # the link may have gone down this moment
        raise CommandFailed(f"cannot announce {address.host} on {link.name}: {error.strerror}", interface=link.name) from None


def _question(address: Address, link: Link) -> socket.socket:
    """Sends frames. Nothing of IPv6 is received by it: there may be much."""
    return _packet_socket(link, _ETH_P_ARP) if address.version == 4 else _packet_socket(link, 0)


def _answers(address: Address, link: Link, question: socket.socket) -> socket.socket:
    """Receives what is said of the address on the link."""
    if address.version == 4:
        return question
    raw = raw_socket(socket.AF_INET6, socket.IPPROTO_ICMPV6)
    try:
        raw.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, all_but(_SOLICITATION, _ADVERTISEMENT))
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode() + b"\0")
    except OSError as error:
        raw.close()
        raise CommandFailed(f"cannot ask {link.name} who has {address.host}: {error.strerror}", interface=link.name) from None
    return raw


def all_but(*kinds: int) -> bytes:
    """The value of `ICMP6_FILTER` by which a socket receives only these types."""
    words = [0xFFFFFFFF] * 8
    for kind in kinds:
        words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("=8I", *words)


def _packet_socket(link: Link, protocol: int) -> socket.socket:
    raw = raw_socket(socket.AF_PACKET, socket.htons(protocol))
    try:
        raw.bind((link.name, protocol))
    except OSError as error:
        raw.close()
        raise CommandFailed(f"cannot send on {link.name}: {error.strerror}", interface=link.name) from None
    return raw


def _icmp_socket(address: Address, link: Link) -> socket.socket:
    raw = raw_socket(socket.AF_INET6, socket.IPPROTO_ICMPV6)
    try:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # receivers drop anything less (RFC 4861 section 7.1.2)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        raw.bind((address.host, 0, 0, link.index))
    except OSError as error:
        raw.close()
        raise CommandFailed(f"cannot announce {address.host} on {link.name}: {error.strerror}", interface=link.name) from None
    return raw


def raw_socket(family: int, protocol: int) -> socket.socket:
    """Raises `CommandFailed` without the right to one."""
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
