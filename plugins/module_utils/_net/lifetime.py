# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an address a lifetime by one message to the kernel, within this process: nothing that could act late is left behind if it stops.

Source: rtnetlink(7), include/uapi/linux/if_addr.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from ansible_collections.holdfast.ha.plugins.module_utils._errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._model import Address

_RTM_NEWADDR = 20
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 3, 4, 6, 8
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
#: Seconds; the kernel answers at once.
_PATIENCE = 1.0


def set_lifetime(address: Address, interface: str, seconds: int, *, noprefixroute: bool = False, label: str | None = None) -> None:
    """Let the address live on ``interface`` for so many seconds from now; it is added where it is not there.

    :raises CommandFailed: The kernel refuses, or there is no such link.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(_PATIENCE)
            netlink.send(message(address, socket.if_nametoindex(interface), seconds, noprefixroute=noprefixroute, label=label))
            code = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    except OSError as error:
        code = error.errno or errno.EIO
    if code:
        raise CommandFailed(f"cannot give {address} on {interface} a lifetime: {os.strerror(code)}", interface=interface, rc=code)


def message(address: Address, index: int, seconds: int, *, noprefixroute: bool = False, label: str | None = None) -> bytes:
    """What the kernel is sent: RTM_NEWADDR for the link with that index."""
    family, packed = (socket.AF_INET, address.ip.packed) if address.version == 4 else (socket.AF_INET6, address.ip.packed)
    flags = (_NOPREFIXROUTE if noprefixroute else 0) | (_NODAD if address.version == 6 else 0)
    fields = [(_IFA_LOCAL, packed), (_IFA_ADDRESS, packed), (_IFA_CACHEINFO, struct.pack("=IIII", seconds, seconds, 0, 0))]
    fields.append((_IFA_FLAGS, struct.pack("=I", flags)))
    if address.version == 4 and address.prefixlen < 31:
        fields.append((_IFA_BROADCAST, address.network.broadcast.packed))
    if label is not None:
        fields.append((_IFA_LABEL, label.encode() + b"\0"))
    body = struct.pack("=BBBBI", family, address.prefixlen, flags & 0xFF, 0, index)
    body += b"".join(struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4) for kind, data in fields)
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWADDR, _REQUEST | _ACK | _REPLACE | _CREATE, 1, 0) + body
