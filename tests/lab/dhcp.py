# SPDX-License-Identifier: GPL-3.0-or-later
"""A DHCP server for single links (RFC 2131): each has one client, and one address for it.

It reads and writes frames, since the router's rules drop what comes from 0.0.0.0, as a VPC does that gives addresses to its own interfaces alone.
"""

from __future__ import annotations

import ipaddress
import os
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from lab.netns import Inside

_IP, _UDP, _SERVER, _CLIENT = 0x0800, 17, 67, 68
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK = 1, 2, 3, 5, 6
_COOKIE = b"\x63\x82\x53\x63"
#: Where a message has its transaction with flags, the client's address, and its MAC address; and where the options begin.
_TRANSACTION, _OWN, _MAC, _OPTIONS = slice(4, 12), slice(12, 16), slice(28, 34), 240


@dataclass(frozen=True)
class Place:
    """What the client of a link gets: its address (CIDR), and the router, who is the server too."""

    address: str
    router: str


class DhcpServer:
    """Use it as a context manager.

    :param places: By the name of the link in ``inside``.
    :param seconds: How long a lease lasts. Clients renew it after half of that.

    ``given``: how often each link got its address, ``begun``: how often it was asked for anew. ``refuse``: links whose next request is refused, so
    that the client begins anew.
    """

    def __init__(self, inside: Inside, places: Mapping[str, Place], seconds: int) -> None:
        self._places, self._seconds = dict(places), seconds
        self.given: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.refuse: set[str] = set()
        self._selector = selectors.DefaultSelector()
        for link in places:
            line = inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IP))
            line.bind((link, _IP))
            self._selector.register(line, selectors.EVENT_READ, link)
        self._port = inside.socket(socket.AF_INET, socket.SOCK_DGRAM)  # or the kernel answers that nobody listens
        self._port.bind(("", _SERVER))
        self._ear, self._mouth = os.pipe()
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="dhcp")

    def __enter__(self) -> DhcpServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._mouth)
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._port.close()
        os.close(self._ear)

    def _serve(self) -> None:
        while True:
            for key, _events in self._selector.select():
                if not isinstance(key.fileobj, socket.socket):
                    return
                try:
                    self._answer(key.fileobj, str(key.data), key.fileobj.recv(2048))
                except OSError:
                    continue  # the link is down

    def _answer(self, line: socket.socket, link: str, packet: bytes) -> None:
        head = (packet[0] & 15) * 4
        if packet[9] != _UDP or struct.unpack_from("!H", packet, head + 2)[0] != _SERVER:
            return
        message = packet[head + 8 :]
        asked = _options(message).get(53, b"\0")[0]
        kind = {_DISCOVER: _OFFER, _REQUEST: _NAK if link in self.refuse else _ACK}.get(asked)
        if kind is None:
            return
        place, server = ipaddress.ip_interface(self._places[link].address), socket.inet_aton(self._places[link].router)
        options = {53: bytes([kind]), 54: server}
        if kind != _NAK:
            options |= {51: struct.pack("!I", self._seconds), 1: place.netmask.packed, 3: server}
        body = b"\2\1\6\0" + message[_TRANSACTION] + (bytes(8) if kind == _NAK else message[_OWN] + place.ip.packed) + bytes(8)
        body += message[28:44] + bytes(192) + _COOKIE + b"".join(bytes([name, len(value)]) + value for name, value in options.items()) + b"\xff"
        to = message[_OWN] if any(message[_OWN]) else b"\xff" * 4
        line.sendto(_packet(server, to, body), (link, _IP, 0, 1, message[_MAC]))
        if kind == _NAK:
            self.refuse.discard(link)
        self.given[link] += kind == _ACK
        self.begun[link] += kind == _OFFER


def _options(message: bytes) -> dict[int, bytes]:
    found, at = {}, _OPTIONS
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        found[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    return found


def _packet(source: bytes, to: bytes, body: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(body), 0, 0, 64, _UDP, 0, source, to)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", checksum) + head[12:] + struct.pack("!HHHH", _SERVER, _CLIENT, 8 + len(body), 0) + body
