# SPDX-License-Identifier: GPL-3.0-or-later
"""The service that the lab protects: answers each ask with "NODE EPOCH" and the ask itself, from the address that was asked.

Run as a program inside a node: ``responder.py NODE EPOCH_FILE PORT``. UDP on both protocols, and TCP (the answer to an empty ask, then closed).
It prints ``ready`` once it listens. Standard library only, started with ``-I -S``, so that it is up in a few hundredths of a second.
"""

from __future__ import annotations

import selectors
import socket
import sys

PORT = 7000
_IP_PKTINFO = 8  # socket.IP_PKTINFO exists from Python 3.14 on
_ANSWERED = {(socket.IPPROTO_IP, _IP_PKTINFO): _IP_PKTINFO, (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): socket.IPV6_PKTINFO}


def udp_listener(family: int, port: int) -> socket.socket:
    """A datagram socket on every address that is told which address each datagram was sent to."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    made.bind(("", port))
    return made


def tcp_listener(port: int) -> socket.socket:
    """A stream socket on every address of both protocols."""
    made = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    made.setblocking(False)
    return made


def answer_datagram(listener: socket.socket, name: str, epoch: str) -> None:
    """Answer one datagram from the address that it came to; the kernel's choice would be the interface's first one."""
    data, ancillary, _flags, peer = listener.recvmsg(512, 128)
    reply_from = []
    for level, kind, value in ancillary:
        if (level, kind) in _ANSWERED:
            # struct in_pktinfo is index, local address, header destination; in6_pktinfo is address, index. Index 0: by the routing table.
            zeroed = bytes(4) + value[8:12] + bytes(4) if level == socket.IPPROTO_IP else value[:16] + bytes(4)
            reply_from.append((level, kind, zeroed))
    try:
        listener.sendmsg([f"{name} {epoch} ".encode() + data], reply_from, 0, peer)
    except OSError:
        pass  # the address went away between ask and answer, or no route leads back: the asker sees silence, as from any server


def epoch_in(path: str) -> str:
    """The number in the epoch file; 0 where there is none."""
    try:
        with open(path) as handle:
            return handle.read().strip() or "0"
    except OSError:
        return "0"


def main(name: str, epoch_file: str, port: int) -> None:
    """Serve until killed."""
    selector = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6):
        selector.register(udp_listener(family, port), selectors.EVENT_READ, "udp")
    selector.register(tcp_listener(port), selectors.EVENT_READ, "tcp")
    print("ready", flush=True)
    while True:
        for key, _events in selector.select():
            listener = key.fileobj
            assert isinstance(listener, socket.socket)
            try:
                if key.data == "udp":
                    answer_datagram(listener, name, epoch_in(epoch_file))
                else:
                    with listener.accept()[0] as caller:
                        caller.sendall(f"{name} {epoch_in(epoch_file)}\n".encode())
            except OSError:
                continue  # an asker that is gone, or an ICMP error that the kernel hands to the next call


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
