# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the kernels of several network namespaces again and again whether an address is there. Run as a program by `lab.oracle`.

Usage: ``sampler.py INTERVAL ADDRESS NAME=FD...``, each FD being an inherited netlink socket that was made in the namespace of NAME. It prints
``{"node": name, "begin": t}`` when the address is seen there, with ``"end": t`` when it is gone again, and once standard input is closed the
same for what is still there, then ``{"samples": n, "widest": seconds}``. Standard library only and started with ``-I -S``.

What is printed is certain: ``begin`` is taken after the first look that saw the address and ``end`` before the last one. So two nodes whose times
overlap had it at once, however late this process was. Times are CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time

_GETADDR, _NEWADDR, _DONE, _ERROR = 22, 20, 3, 2
_REQUEST_DUMP, _INTERRUPTED = 0x301, 0x10
_HEADER, _ABOUT = struct.Struct("=IHHII"), struct.Struct("=BBBBI")
#: IFA_LOCAL and IFA_ADDRESS: IPv6 has only the second.
_IS_ADDRESS: dict[int, int] = {socket.AF_INET: 2, socket.AF_INET6: 1}


def has(netlink: socket.socket, family: int, address: bytes) -> bool:
    """Whether a link of the socket's namespace has the address, tentative or not."""
    while True:
        netlink.send(_HEADER.pack(_HEADER.size + _ABOUT.size, _GETADDR, _REQUEST_DUMP, 0, 0) + _ABOUT.pack(family, 0, 0, 0, 0))
        found = done = interrupted = False
        while not done:
            data = netlink.recv(65536)
            at = 0
            while at < len(data):
                length, kind, flags, _seq, _pid = _HEADER.unpack_from(data, at)
                interrupted = interrupted or bool(flags & _INTERRUPTED)
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", data, at + _HEADER.size)[0], "netlink")
                done = done or kind == _DONE
                if kind == _NEWADDR:
                    found = found or _names(data[at + _HEADER.size + _ABOUT.size : at + length], _IS_ADDRESS[family], address)
                at += (length + 3) & ~3
        if not interrupted:
            return found


def _names(attributes: bytes, wanted: int, address: bytes) -> bool:
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if kind == wanted:
            return attributes[at + 4 : at + length] == address
        at += (length + 3) & ~3
    return False


def main(interval: float, text: str, nodes: dict[str, socket.socket]) -> None:
    """Look every ``interval`` seconds until standard input is closed."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    address = socket.inet_pton(family, text)
    stays: dict[str, list[float]] = {}  # for each node that has it: begin and end, as far as they are certain
    samples, widest, last, due = 0, 0.0, time.monotonic(), time.monotonic()
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # it takes little, and is not to be late where a test keeps the machine busy
    print(json.dumps({"looking": True}), flush=True)
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        for name, netlink in nodes.items():
            asked = time.monotonic()
            if has(netlink, family, address):
                if name not in stays:
                    stays[name] = [time.monotonic(), asked]
                    print(json.dumps({"node": name, "begin": stays[name][0]}), flush=True)
                stays[name][1] = asked
            elif name in stays:
                _tell(name, stays.pop(name))
        now = time.monotonic()
        samples, widest, last, due = samples + 1, max(widest, now - last), now, max(due + interval, now)
    for name, stay in stays.items():
        _tell(name, stay)
    print(json.dumps({"samples": samples, "widest": widest}), flush=True)


def _tell(name: str, stay: list[float]) -> None:
    print(json.dumps({"node": name, "begin": stay[0], "end": max(stay)}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], {word.partition("=")[0]: socket.socket(fileno=int(word.partition("=")[2])) for word in sys.argv[3:]})
