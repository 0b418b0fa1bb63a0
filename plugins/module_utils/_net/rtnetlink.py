# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses and the way of a reply straight from the kernel, within this process. Links have the same values as from `observe.observe_links`.

Source: rtnetlink(7), include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, LinkAddress, parse_link_name
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import flag_of

try:
    import netaddr
except ImportError:
    pass  # _model knows, and whoever starts a program says so

_DONE, _ERROR = 3, 2
NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DEL_RULE = 32, 33
_REQUEST, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x300, 0x10
#: So often links that keep changing are listed; one listing takes less than a millisecond.
_ATTEMPTS = 20
_HEADER, _LINK, _ADDR, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=BBBBI"), struct.Struct("=HH")
_ROUTE, _RTA_DST, _RTA_SRC, _RTA_OIF = struct.Struct("=BBBBBBBBI"), 1, 2, 4
#: Addresses that no host has (RFC 5737, RFC 3849), so that the default route leads to them.
_FAR = {4: "192.0.2.1", 6: "2001:db8::1"}
_UP, _LOOPBACK, _NOARP, _LOWER_UP = 0x1, 0x8, 0x80, 0x10000
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _INFO_KIND, _IFLA_ALT_IFNAME = 1, 3, 10, 18, 1, 53
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_METRIC = 1, 2, 3, 4, 6, 8, 9
_SECONDARY, _DADFAILED, _TENTATIVE, _PERMANENT, _NOPREFIXROUTE = 0x1, 0x8, 0x40, 0x80, 0x200
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host"}
_FOREVER = 2**32 - 1
#: Seconds; the kernel answers at once.
_PATIENCE = 2.0
_BUFFER = 1 << 18
_TYPE_MASK = 0x3FFF
#: IFNAMSIZ - 1. A longer name can only be an alternative one.
_LONGEST_NAME = 15


@dataclass(frozen=True)
class AddressMessage:
    """One address on one link, as a message tells it. ``index`` is the link's."""

    index: int
    held: LinkAddress


def links(settings: Path = Path("/proc/sys/net")) -> tuple[Link, ...]:
    """Every link with its addresses. Raises `CommandFailed`."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(_PATIENCE)
            found = [_parse_link(body) for body in _dump(netlink, GET_LINK)]
            held = [parse_address(body) for body in _dump(netlink, GET_ADDRESS)]
    except OSError as error:
        raise CommandFailed(f"the kernel does not tell its links: {error.strerror or error}") from None
    names = {raw.index: raw.name for raw in found}
    switches = f"{settings}/ipv4/conf"  # no Path for each: joining them costs more than reading the files
    everywhere = flag_of(f"{switches}/all/promote_secondaries")
    return tuple(
        Link(
            name=raw.name,
            index=raw.index,
            mac=raw.mac,
            admin_up=bool(raw.flags & _UP),
            carrier=bool(raw.flags & _LOWER_UP),
            kind=raw.kind,
            master=names.get(raw.master),
            loopback=bool(raw.flags & _LOOPBACK),
            arp=not raw.flags & (_LOOPBACK | _NOARP),
            promote_secondaries=everywhere or flag_of(f"{switches}/{raw.name}/promote_secondaries"),
            addresses=tuple(message.held for message in held if message is not None and message.index == raw.index),
        )
        for raw in found
    )


def real_name(name: str) -> str | None:
    """The kernel's name for the link that has this name or alternative name (`altname` in `ip link`); ``None`` where no link has it."""
    kind = _IFLA_IFNAME if len(name) <= _LONGEST_NAME else _IFLA_ALT_IFNAME
    text = name.encode() + b"\0"
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), kind) + text + bytes(-len(text) % 4)
    answer = _ask(GET_LINK, body, NEW_LINK)
    return None if answer is None else _parse_link(answer).name


def given_link(text: str, path: str = "interface") -> str:
    """The kernel's name for the link that an option names; the text itself where there is no such link. Raises `BadInput` naming ``path``."""
    name = parse_link_name(text, path)
    return real_name(name) or name


def link_of_replies(address: Address, to: str | None = None) -> int | None:
    """The index of the link by which this host sends replies from the address to a host, by default to one that is not near.

    The kernel is asked for its decision, so that it does not matter how many routes and rules there are. ``None``: it has no way, or does not tell.
    """
    family, far = (socket.AF_INET if address.version == 4 else socket.AF_INET6), to or _FAR[address.version]
    body = _ROUTE.pack(family, len(address.ip.packed) * 8, len(address.ip.packed) * 8, 0, 0, 0, 0, 0, 0)
    for kind, value in ((_RTA_DST, socket.inet_pton(family, far)), (_RTA_SRC, address.ip.packed)):
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    answer = _ask(GET_ROUTE, body, NEW_ROUTE)
    link = None if answer is None else _attributes(answer[_ROUTE.size :]).get(_RTA_OIF)
    return None if link is None else int(struct.unpack("=I", link)[0])


def _ask(question: int, body: bytes, wanted: int) -> bytes | None:
    """The body of the kernel's answer of the wanted type to one question; ``None`` where it gives none."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(_PATIENCE)
            netlink.send(_HEADER.pack(_HEADER.size + len(body), question, _REQUEST, 1, 0) + body)
            return dict(messages(netlink.recv(_BUFFER))).get(wanted)
    except OSError:
        return None


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, what follows the header) of each message in what the kernel sent."""
    for kind, _flags, body in _messages(data):
        yield kind, body


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            return
        yield kind, flags, data[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


def parse_address(body: bytes) -> AddressMessage | None:
    """What a message about an address tells; ``None`` for one of another family."""
    family, prefixlen, low_flags, scope, index = _ADDR.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    fields = _attributes(body[_ADDR.size :])
    version = 4 if family == socket.AF_INET else 6
    packed = fields.get(_IFA_LOCAL) or fields.get(_IFA_ADDRESS)
    if packed is None:
        return None
    flags = struct.unpack("=I", fields[_IFA_FLAGS])[0] if _IFA_FLAGS in fields else low_flags
    preferred, valid = struct.unpack_from("=II", fields[_IFA_CACHEINFO]) if _IFA_CACHEINFO in fields else (_FOREVER, _FOREVER)
    broadcast, metric = fields.get(_IFA_BROADCAST), fields.get(_IFA_METRIC)
    held = LinkAddress(
        address=Address(netaddr.IPAddress(int.from_bytes(packed, "big"), version), prefixlen),
        valid_lft=None if valid == _FOREVER else valid,
        preferred_lft=None if preferred == _FOREVER else preferred,
        secondary=version == 4 and bool(flags & _SECONDARY),
        tentative=bool(flags & _TENTATIVE),
        dadfailed=bool(flags & _DADFAILED),
        dynamic=not flags & _PERMANENT,
        noprefixroute=bool(flags & _NOPREFIXROUTE),
        scope=_SCOPES.get(scope, str(scope)),
        label=_text(fields.get(_IFA_LABEL)),
        broadcast=None if broadcast is None else socket.inet_ntop(socket.AF_INET, broadcast),
        metric=struct.unpack("=I", metric)[0] if metric else None,
    )
    return AddressMessage(index, held)


def link_index(body: bytes) -> int:
    """Which link a message about a link is about."""
    return int(_LINK.unpack_from(body)[2])


@dataclass(frozen=True)
class _RawLink:
    index: int
    name: str
    mac: str
    flags: int
    kind: str
    master: int


def _parse_link(body: bytes) -> _RawLink:
    _family, _kind, index, flags, _change = _LINK.unpack_from(body)
    fields = _attributes(body[_LINK.size :])
    about = _attributes(fields.get(_IFLA_LINKINFO, b""))
    master = fields.get(_IFLA_MASTER)
    return _RawLink(
        index,
        _text(fields.get(_IFLA_IFNAME)) or "",
        fields.get(_IFLA_ADDRESS, b"").hex(":"),
        flags,
        _text(about.get(_INFO_KIND)) or "",
        struct.unpack("=I", master)[0] if master else 0,
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    """By their types. Most of a look's time is spent here, between an address's going and its return."""
    found: dict[int, bytes] = {}
    place, last, unpack = 0, len(data) - _ATTRIBUTE.size, _ATTRIBUTE.unpack_from
    while place <= last:
        length, kind = unpack(data, place)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[place + _ATTRIBUTE.size : place + length]
        place += (length + 3) & ~3
    return found


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.rstrip(b"\0").decode("utf-8", "replace")


def _dump(netlink: socket.socket, kind: int) -> list[bytes]:
    """The messages that answer one question, asked anew where something changed meanwhile: the kernel may have left out what was there all along."""
    for _attempt in range(_ATTEMPTS):
        found, whole = _dump_once(netlink, kind)
        if whole:
            return found
    raise OSError(errno.EINTR, "they changed each time that they were listed")


def _dump_once(netlink: socket.socket, kind: int) -> tuple[list[bytes], bool]:
    """And whether nothing changed meanwhile."""
    netlink.send(_HEADER.pack(_HEADER.size + 4, kind, _REQUEST | _DUMP, kind, 0) + b"\0\0\0\0")
    found: list[bytes] = []
    whole = True
    while True:
        for answer, flags, body in _messages(netlink.recv(_BUFFER)):
            whole = whole and not flags & _DUMP_INTERRUPTED
            if answer == _DONE:
                return found, whole
            if answer == _ERROR:
                code = -struct.unpack_from("=i", body)[0]
                raise OSError(code, os.strerror(code))
            found.append(body)
