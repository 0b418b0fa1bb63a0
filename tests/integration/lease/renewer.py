# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for the dead-man tests: many processes, each of which keeps an address alive by the rule. Run inside a namespace.

Usage: renewer.py LINK COUNT SHARED STALL PROFILE. Process number i has the address 10.99.0.i. It writes its deadline into SHARED, as a double at
8 * i, before each refresh. With STALL the process stops itself once inside a refresh, after its clock was read and before the kernel
has the new lifetime. Prints the process ids, one a line.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
import sys
import time

from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Identity, Intent, Reading, Serve, State
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES, Timing

_RTM_NEWADDR, _REQUEST_ACK_REPLACE_CREATE = 20, 0x1 | 0x4 | 0x100 | 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6


def set_lifetime(link: str, address: str, seconds: int) -> None:
    """`ip address replace ADDRESS/32 dev LINK valid_lft SECONDS preferred_lft SECONDS`, without a child process."""
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex(link))
    for kind, data in ((_IFA_LOCAL, packed), (_IFA_ADDRESS, packed), (_IFA_CACHEINFO, struct.pack("=IIII", seconds, seconds, 0, 0))):
        body += struct.pack("=HH", 4 + len(data), kind) + data
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWADDR, _REQUEST_ACK_REPLACE_CREATE, 1, 0) + body)
        error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


class Memory:
    """A store for one process alone."""

    def __init__(self) -> None:
        self.record, self.token = Record("", 1, "seed"), 1

    def read(self, key: str) -> Reading:
        return Reading(self.record, self.token)

    def write(self, key: str, expected: object, record: Record) -> int:
        assert expected == self.token
        self.record, self.token = record, self.token + 1
        return self.token


def serve(link: str, number: int, shared: mmap.mmap, stall: bool, timing: Timing) -> None:
    """Hold and refresh until told to stop serving."""
    keeper = Keeper(Memory(), "c/t", State(Identity(f"n{number}", "boot"), "s", timing))
    keeper.tell(Intent.CLAIM)
    refreshes = 0

    def refresh(seconds: int) -> None:
        if stall and refreshes == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        set_lifetime(link, f"10.99.0.{number}", seconds)

    while True:
        for action in keeper.turn():
            if isinstance(action, Demote):
                return
            if isinstance(action, Serve):
                struct.pack_into("=d", shared, 8 * number, action.deadline)
                refreshes += 1
                try:
                    extend(action.deadline, timing, refresh)
                except LeaseOver:
                    return
        time.sleep(max(0.0, keeper.state.due - boottime()))


def main() -> None:
    link, count, path, stall = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "stall"
    timing = PROFILES[sys.argv[5]]
    with open(path, "r+b") as handle:
        shared = mmap.mmap(handle.fileno(), 0)
    for number in range(1, count + 1):
        pid = os.fork()
        if pid == 0:
            try:
                serve(link, number, shared, stall, timing)
            finally:
                os._exit(0)
        print(pid, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
