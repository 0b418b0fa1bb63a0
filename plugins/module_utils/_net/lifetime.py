# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an address a lifetime by a message to the kernel, within this process: nothing that could act late is left behind if it stops.

Source: rtnetlink(7), include/uapi/linux/if_addr.h, rtnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import MAIN_TABLE, OUR_PROTOCOL, network_metric, network_route, preferred_lft

_RTM_NEWADDR, _RTM_NEWROUTE = 20, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_METRIC = 1, 2, 3, 4, 6, 8, 9
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_RTA_DST, _RTA_OIF, _RTA_PRIORITY, _RTA_EXPIRES, _SCOPE_GLOBAL, _UNICAST = 1, 4, 6, 23, 0, 1
#: Seconds; the kernel answers at once.
_PATIENCE = 1.0


def set_lifetime(
    address: Address, interface: str, seconds: int, *, noprefixroute: bool = False, metric: int | None = None, label: str | None = None
) -> None:
    """Let the address live on ``interface`` for so many seconds from now; it is added where it is not there.

    :param noprefixroute: IPv4: without a route to its network.
    :param metric: IPv4: of that route; by default one that is worse than the node's own.
    :param label: IPv4: its label if it is added.
    :raises CommandFailed: The kernel refuses, or there is no such link.
    """
    try:
        index = socket.if_nametoindex(interface)
        wanted = [message(address, index, seconds, noprefixroute=noprefixroute, metric=metric, label=label)]
        if network_route(address, interface) is not None:
            wanted.append(route_message(address, index, seconds))
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(_PATIENCE)
            code = 0
            for each in wanted:
                netlink.send(each)
                code = code or -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    except OSError as error:
        code = error.errno or errno.EIO
    if code:
        raise CommandFailed(f"cannot give {address} on {interface} a lifetime: {os.strerror(code)}", interface=interface, rc=code)


def message(address: Address, index: int, seconds: int, *, noprefixroute: bool = False, metric: int | None = None, label: str | None = None) -> bytes:
    """What the kernel is sent: RTM_NEWADDR for the link with that index."""
    family, packed = (socket.AF_INET, address.ip.packed) if address.version == 4 else (socket.AF_INET6, address.ip.packed)
    flags = _NOPREFIXROUTE if noprefixroute or address.version == 6 else 0
    flags |= _NODAD if address.version == 6 else 0
    lifetimes = struct.pack("=IIII", preferred_lft(address, seconds), seconds, 0, 0)
    fields = [(_IFA_LOCAL, packed), (_IFA_ADDRESS, packed), (_IFA_CACHEINFO, lifetimes), (_IFA_FLAGS, struct.pack("=I", flags))]
    if address.version == 4:
        fields.append((_IFA_METRIC, struct.pack("=I", network_metric(address) if metric is None else metric)))
        if address.prefixlen < 31:
            fields.append((_IFA_BROADCAST, address.network.broadcast.packed))
    if label is not None:
        fields.append((_IFA_LABEL, label.encode() + b"\0"))
    return _packed(_RTM_NEWADDR, struct.pack("=BBBBI", family, address.prefixlen, flags & 0xFF, 0, index), fields)


def route_message(address: Address, index: int, seconds: int) -> bytes:
    """RTM_NEWROUTE for `network_route`."""
    about = struct.pack("=BBBBBBBBI", socket.AF_INET6, address.prefixlen, 0, 0, MAIN_TABLE, int(OUR_PROTOCOL), _SCOPE_GLOBAL, _UNICAST, 0)
    numbers = ((_RTA_OIF, index), (_RTA_PRIORITY, network_metric(address)), (_RTA_EXPIRES, seconds))
    fields = [(_RTA_DST, address.network.network.packed), *((kind, struct.pack("=I", number)) for kind, number in numbers)]
    return _packed(_RTM_NEWROUTE, about, fields)


def _packed(kind: int, body: bytes, fields: list[tuple[int, bytes]]) -> bytes:
    body += b"".join(struct.pack("=HH", 4 + len(data), field) + data + bytes(-len(data) % 4) for field, data in fields)
    return struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | _REPLACE | _CREATE, 1, 0) + body
