# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the service again and again, and prints one JSON line for each answer. Run as a program inside a client: see `main`.

Standard library only and started with ``-I -S``: it is up at once. Times are CLOCK_MONOTONIC seconds, comparable over processes.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

#: Seconds for the answer to the last ask.
LAST_WAIT = 0.05


def main(address: str, port: int, interval: float, seconds: float) -> None:
    """Ask ``address`` every ``interval`` seconds, for at most ``seconds``.

    An answer is printed as ``{"seq": n, "asked": t, "answered": t, "node": name, "epoch": n}``; at the end, when standard input is closed
    or the time is over, ``{"asked_in_all": n}``. Each ask carries its number, so an answer that comes late is never taken for another's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    asks = socket.socket(family, socket.SOCK_DGRAM)
    asks.setblocking(False)
    begin = time.monotonic()
    asked: dict[int, float] = {}
    sequence, due = 0, begin
    while due < begin + seconds:
        now = time.monotonic()
        if now >= due:
            asked[sequence] = now
            asked.pop(sequence - 1000, None)  # an answer that late counts as none
            try:
                asks.sendto(b"%d" % sequence, (address, port))
            except OSError:
                pass  # no route, or an ICMP error: this ask has no answer
            sequence += 1
            due = max(due + interval, now)
            continue
        readable, _writable, _failed = select.select([asks, sys.stdin], [], [], due - now)
        if sys.stdin in readable:
            break
        if asks in readable:
            _print_answer(asks, asked)
    end = time.monotonic() + LAST_WAIT
    while sequence - 1 in asked and select.select([asks], [], [], max(0.0, end - time.monotonic()))[0]:
        _print_answer(asks, asked)
    print(json.dumps({"asked_in_all": sequence}), flush=True)


def _print_answer(asks: socket.socket, asked: dict[int, float]) -> None:
    try:
        words = asks.recv(512).decode("ascii", "replace").split()
    except OSError:
        return
    if len(words) == 3 and words[1].isdigit() and words[2].isdigit() and int(words[2]) in asked:
        sequence = int(words[2])
        line = {"seq": sequence, "asked": asked.pop(sequence), "answered": time.monotonic(), "node": words[0], "epoch": int(words[1])}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
