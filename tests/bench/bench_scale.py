# SPDX-License-Identifier: GPL-3.0-or-later
"""What many resources cost: start, idling, and how long until the last of them is served by the other node.

    tests/holdfast-bench bench_scale [--resources 1,20,100,250] [--seconds N] [--profile standard]

Two nodes on a plain network, their checkers left to themselves, and leases in a real etcd. A resource is an address without a probe and without a
trigger. For each number of resources, one after another, on a network of its own:

- start: from the start of the checker of node-a, with all leases free, to the last address on it.
- idle: share of a core, memory (PSS) and threads of the active node and the standby, and the calls that etcd has counted from both.
- reload: from SIGHUP of the active checker to its event ``reloaded``. Addresses that were away meanwhile, for however short, are counted.
- node dead: the active checker is killed, and its node has no carrier any more. From then to the first and the last address on the other node.
- orderly end: SIGTERM to the checker that is then active. From then to the first and the last address on the other node.

Times are those of the kernels' own messages about addresses. ``twice`` counts the addresses that were on both nodes at the same time. A number of
resources that is not in service within two minutes is not started. The same for keepalived, with one instance that has so many addresses, in the same
run, where it is installed or can be.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import DEL_ADDRESS, NEW_ADDRESS, messages, parse_address
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import LabEtcd
from bench.bench_idle import cpu_seconds, memory
from bench.contestants import Keepalived, keepalived_there, new_lan
from bench.figures import load
from harness.pair import CLUSTER, Pair
from lab.checker import Checker
from lab.forwarding import router_address
from lab.lan import CIDR, Lan

PATIENCE = 120.0
#: Seconds that it is left alone before it counts as idle.
_REST = 5.0
_KEY_FILE = "/etc/holdfast/peer.key"
_GROUP_IPV4_ADDRESSES = 0x10
_HEAD = (
    ("n", 4), ("by", 11), ("start", 12), ("of a core", 15), ("PSS, MB", 13), ("threads", 9), ("calls/min", 9), ("reload", 13),
    ("dead: first", 11), ("last", 12), ("twice", 5), ("end: first", 10), ("last", 12), ("twice", 5),
)  # fmt: skip


def addresses(count: int) -> list[str]:
    """Without a prefix, so that there is no broadcast to probe."""
    return [f"10.9.{1 + number // 250}.{1 + number % 250}/32" for number in range(count)]


class Kernels:
    """Which of the addresses each node has, by the messages of its kernel. Use it as a context manager."""

    def __init__(self, lan: Lan, wanted: Sequence[str]) -> None:
        self._wanted = {one.partition("/")[0] for one in wanted}
        self._news = threading.Condition()
        #: By node: each address with the time at which it came. ``gone``: how often an address went.
        self._held: dict[str, dict[str, float]] = {node.name: {} for node in lan.nodes}
        self._gone = dict.fromkeys(self._held, 0)
        self._twice: set[str] = set()
        self._over = False
        self._threads = []
        for node in lan.nodes:
            netlink = node.namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            netlink.settimeout(0.2)
            netlink.bind((0, _GROUP_IPV4_ADDRESSES))
            self._threads.append(threading.Thread(target=self._read, args=(node.name, netlink)))

    def __enter__(self) -> Kernels:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()

    def all_on(self, name: str, since: float, seconds: float = PATIENCE) -> tuple[float | None, float | None, int]:
        """Wait until that node has all addresses. Returns the seconds from ``since`` to the first and the last, and how many it has.

        The first is ``None`` where there is none, and the last where not all have come.
        """
        with self._news:
            self._news.wait_for(lambda: len(self._held[name]) == len(self._wanted), seconds)
            times = sorted(self._held[name].values())
            whole = len(times) == len(self._wanted)
            return (times[0] - since if times else None), (times[-1] - since if whole else None), len(times)

    def holder(self) -> str:
        """The node that has all addresses; empty where none does."""
        with self._news:
            return next((name for name, held in self._held.items() if len(held) == len(self._wanted)), "")

    def gone(self, name: str) -> int:
        """How often one of the addresses has gone from that node."""
        with self._news:
            return self._gone[name]

    def twice(self) -> int:
        """How many addresses have been on both nodes at the same time since the last call."""
        with self._news:
            found, self._twice = len(self._twice), set()
            return found

    def forget(self, name: str) -> None:
        """That node has none of them any more."""
        with self._news:
            self._held[name].clear()

    def _read(self, name: str, netlink: socket.socket) -> None:
        with netlink:
            while not self._over:
                try:
                    data = netlink.recv(1 << 16)
                except TimeoutError:
                    continue
                now = time.monotonic()
                with self._news:
                    for kind, body in messages(data):
                        message = parse_address(body) if kind in (NEW_ADDRESS, DEL_ADDRESS) else None
                        if message is not None and message.held.address.host in self._wanted:
                            self._note(name, message.held.address.host, now, come=kind == NEW_ADDRESS)
                    self._news.notify_all()

    def _note(self, name: str, host: str, now: float, *, come: bool) -> None:
        if come:
            self._held[name].setdefault(host, now)
            if all(host in held for held in self._held.values()):
                self._twice.add(host)
        elif self._held[name].pop(host, None) is not None:
            self._gone[name] += 1


class Group(ABC):
    """Two nodes with so many addresses. All of it is on ``node-a`` after `launch`, and moves on with `kill` and `end`."""

    def __init__(self, by: str, lan: Lan) -> None:
        self.by, self.lan = by, lan

    @abstractmethod
    def launch(self, name: str) -> None:
        """Start its program on a node."""

    @abstractmethod
    def pids(self, name: str) -> list[int]:
        """Its processes on a node."""

    @abstractmethod
    def until_ready(self, name: str) -> bool:
        """Wait until that node could take over everything, at most `PATIENCE` seconds; whether it could."""

    @abstractmethod
    def reload(self, name: str) -> float | None:
        """Have it read its configuration anew. The seconds that took, where the program tells."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """The machine is gone."""

    @abstractmethod
    def end(self, name: str) -> None:
        """The program is told to end in good order. Does not wait for that."""

    def calls(self) -> int | None:
        """To the store so far, where there is one."""
        return None


class Checkers(Group):
    """The checkers of this project."""

    def __init__(self, lan: Lan, profile: str, count: int, etcd: LabEtcd) -> None:
        super().__init__("checkers", lan)
        pair = Pair(lan, profile, etcd.store, store=etcd.settings, checks={"grace": 0, "hold_down": 0})
        resources = [{**pair.resource, "tag": f"web{number}", "address": one} for number, one in enumerate(addresses(count))]
        for one in resources:
            etcd.store.write(f"{CLUSTER}/{one['tag']}", etcd.store.read(f"{CLUSTER}/{one['tag']}").token, Record("", 1, f"seed.{one['tag']}"))
        for node in lan.nodes:
            node.run("install", "-m", "0600", "/dev/stdin", _KEY_FILE, input="k" * 64)
        self._etcd = etcd
        self.checkers = {node.name: Checker(node, pair.settings, resources) for node in lan.nodes}

    def launch(self, name: str) -> None:
        self.checkers[name].start()

    def pids(self, name: str) -> list[int]:
        return [self.checkers[name].pid]

    def until_ready(self, name: str) -> bool:
        return _within(lambda: all(one["ready"] for one in self.checkers[name].ask("status")["resources"]))

    def reload(self, name: str) -> float | None:
        checker = self.checkers[name]
        begin, before = time.monotonic(), len(checker.seen("reloaded"))
        checker.send(signal.SIGHUP)
        return time.monotonic() - begin if _within(lambda: len(checker.seen("reloaded")) > before) else None

    def kill(self, name: str) -> None:
        self.checkers[name].kill()
        self.lan.cut(name)

    def end(self, name: str) -> None:
        self.checkers[name].send(signal.SIGTERM)

    def calls(self) -> int | None:
        return self._etcd.calls()

    def stop(self) -> None:
        """End what runs, at once."""
        for checker in self.checkers.values():
            checker.kill()


class Rival(Group):
    """keepalived, as fast as it is by its usual advert."""

    def __init__(self, lan: Lan, count: int) -> None:
        super().__init__("keepalived", lan)
        self._pair = Keepalived(lan, 1.0, (254, 253), addresses(count))

    def launch(self, name: str) -> None:
        self._pair.launch(name)

    def pids(self, name: str) -> list[int]:
        return self._pair.pids(name)

    def until_ready(self, name: str) -> bool:
        time.sleep(_REST)  # it tells nobody that it has heard of the other
        return True

    def reload(self, name: str) -> float | None:
        os.kill(self._pair.pids(name)[0], signal.SIGHUP)
        time.sleep(_REST)  # it does not tell when it has done so
        return None

    def kill(self, name: str) -> None:
        self._pair.kill(name)

    def end(self, name: str) -> None:
        self._pair.leave(name)

    def stop(self) -> None:
        """End what runs, at once."""
        self._pair.__exit__()


@dataclass
class Row:
    """The cells of one line, as far as they are known."""

    cells: dict[int, str] = field(default_factory=dict)

    def show(self) -> None:
        """Print it."""
        print("  ".join(f"{self.cells.get(number, ''):>{width}}" for number, (_name, width) in enumerate(_HEAD)).rstrip(), flush=True)


def _within(question: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it came true in time. A node that is too busy to answer has not said yes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError, ValueError, KeyError):
            if question():
                return True
        time.sleep(0.02)
    return False


def _seconds(value: float | None, held: int, count: int) -> str:
    return f"{value:.2f} s" if value is not None else f"{held} of {count}"


def _threads(pids: Sequence[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)


def idle(group: Group, seconds: float, row: Row) -> None:
    """Share of a core, memory, threads and calls, while nothing happens."""
    both = [group.pids(node.name) for node in group.lan.nodes]
    begin, before, calls = time.monotonic(), [cpu_seconds(pids) for pids in both], group.calls()
    time.sleep(seconds)  # what is measured is that nothing happens
    lasted, after = time.monotonic() - begin, group.calls()
    row.cells[3] = " / ".join(f"{(cpu_seconds(pids) - used) / lasted:.1%}" for pids, used in zip(both, before))
    row.cells[4] = " / ".join(f"{memory(pids, 'Pss') / 1e6:.0f}" for pids in both)
    row.cells[5] = " / ".join(str(_threads(pids)) for pids in both)
    row.cells[6] = f"{(after - calls) / lasted * 60:.0f}" if calls is not None and after is not None else "-"


def measure(group: Group, count: int, seconds: float) -> Row:
    """One line."""
    row = Row({0: str(count), 1: group.by})
    with Kernels(group.lan, addresses(count)) as kernels:
        begin = time.monotonic()
        try:
            group.launch("node-a")
        except (TimeoutError, RuntimeError) as error:
            row.cells[2] = f"not started: {error}"
            return row
        _first, last, held = kernels.all_on("node-a", begin, begin + PATIENCE - time.monotonic())
        if last is None:
            row.cells[2] = f"not started: {held} of {count} addresses after {PATIENCE:g} s"
            return row
        row.cells[2] = _seconds(last, held, count)
        try:
            _go_on(group, kernels, count, seconds, row)
        except (TimeoutError, RuntimeError) as error:
            row.cells[len(_HEAD) - 1] = f"broken off: {error}"
    return row


def _go_on(group: Group, kernels: Kernels, count: int, seconds: float, row: Row) -> None:
    """What follows once all are in service on node-a."""
    group.launch("node-b")
    if not group.until_ready("node-b"):
        row.cells[3] = "standby not ready"
        return
    time.sleep(_REST)
    idle(group, seconds, row)
    gone = kernels.gone("node-a")
    took = group.reload("node-a")
    row.cells[7] = f"{'-' if took is None else f'{took:.2f} s'}, {kernels.gone('node-a') - gone} away"
    if not group.until_ready("node-b"):
        row.cells[8] = "standby not ready"
        return
    time.sleep(_REST)
    kernels.twice()
    begin = time.monotonic()
    group.kill("node-a")
    first, last, held = kernels.all_on("node-b", begin)
    row.cells[8], row.cells[9], row.cells[10] = _seconds(first, held, count), _seconds(last, held, count), str(kernels.twice())
    if last is None:
        return
    node = group.lan.machines["node-a"]
    node.run("ip", "-4", "addr", "flush", "dev", "eth0")
    kernels.forget("node-a")
    group.lan.mend("node-a")
    node.configure()
    group.launch("node-a")
    if not group.until_ready("node-a"):
        row.cells[11] = "standby not ready"
        return
    time.sleep(_REST)
    active = kernels.holder()  # keepalived has gone back to the first node
    if not active:
        row.cells[11] = "no node has all"
        return
    kernels.twice()
    begin = time.monotonic()
    ending = threading.Thread(target=group.end, args=(active,))
    ending.start()
    first, last, held = kernels.all_on("node-b" if active == "node-a" else "node-a", begin)
    row.cells[11], row.cells[12], row.cells[13] = _seconds(first, held, count), _seconds(last, held, count), str(kernels.twice())
    ending.join(PATIENCE)


def ours(count: int, profile: str, seconds: float) -> Row:
    """The line of the checkers, on a network of its own."""
    with ExitStack() as stack:
        lan = new_lan(stack, f"s{count}")
        folder = stack.enter_context(TemporaryDirectory())
        etcd = stack.enter_context(LabEtcd(lan.switch, Path(folder), router_address(CIDR)))
        group = Checkers(lan, profile, count, etcd)
        stack.callback(group.stop)
        return measure(group, count, seconds)


def theirs(count: int, seconds: float) -> Row:
    """The line of keepalived, on a network of its own."""
    with ExitStack() as stack:
        group = Rival(new_lan(stack, f"r{count}"), count)
        stack.callback(group.stop)
        return measure(group, count, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what many resources cost.")
    parser.add_argument("--resources", default="1,20,100,250", help="numbers of resources (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="for how long idling is measured (default: %(default)s)")
    parser.add_argument("--profile", default="standard", help="timing profile (default: %(default)s)")
    given = parser.parse_args()
    rival = keepalived_there()
    print(f"\nmany resources, timing {given.profile}; figures of the active node / the standby ({load()})")
    Row({number: name for number, (name, _width) in enumerate(_HEAD)}).show()
    for count in map(int, given.resources.split(",")):
        ours(count, given.profile, given.seconds).show()
        if rival:
            theirs(count, given.seconds).show()
    if not rival:
        print("keepalived is not installed")
    print(f"({load()} at the end)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
