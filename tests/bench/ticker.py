# SPDX-License-Identifier: GPL-3.0-or-later
"""A client finer than `lab.asker`: asks the service every half a millisecond, and prints nothing but its outages. Run as a program: see `main`.

Standard library only, started with ``-I -S``. It runs ahead of everything else on the machine, since a client stands on another one, and a client
that is kept waiting would see outages that are its own.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time


def main(address: str, port: int, interval: float) -> None:
    """Ask until standard input is closed.

    The first answer is told as ``{"seconds": 0, "lost": 0, ...}``; then each outage with its first answer: ``{"seconds": from the last answered ask
    to this one, "lost": n, "node": who answers, "asked": t}`` with t of CLOCK_MONOTONIC. An answer to an ask that others overtook counts as lost.
    After a line on standard input the next answered ask is told too: as the first one, where none was lost before it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass  # not where that is forbidden; the worst figures are then a little worse
    asks = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    asks.setblocking(False)
    asked: dict[int, float] = {}
    last_seq, last_asked, sequence, due = -1, 0.0, 0, time.monotonic()
    told_from: int | None = 0
    while True:
        now = time.monotonic()
        if now >= due:
            asked[sequence] = now
            try:
                asks.sendto(b"%d" % sequence, (address, port))
            except OSError:
                pass  # no route, or an ICMP error: this ask has no answer
            sequence, due = sequence + 1, max(due + interval, now)
            continue
        readable = select.select([asks, sys.stdin], [], [], due - now)[0]
        if sys.stdin in readable:
            if not os.read(sys.stdin.fileno(), 64):
                return
            told_from = sequence
        for node, seq in _answers(asks) if asks in readable else ():
            if seq <= last_seq or seq not in asked:
                continue
            lost = seq - last_seq - 1
            if lost or (told_from is not None and seq >= told_from):
                seconds = asked[seq] - last_asked if lost and last_seq >= 0 else 0.0
                told_from = None if told_from is not None and seq >= told_from else told_from
                print(json.dumps({"seconds": seconds, "lost": lost, "node": node, "asked": asked[seq]}), flush=True)
            last_seq, last_asked = seq, asked[seq]
            asked = {number: when for number, when in asked.items() if number > seq}


def _answers(asks: socket.socket) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    while True:
        try:
            words = asks.recv(512).decode("ascii", "replace").split()
        except OSError:
            return found
        if len(words) == 3 and words[2].isdigit():
            found.append((words[0], int(words[2])))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
