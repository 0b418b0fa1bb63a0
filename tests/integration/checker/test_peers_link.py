# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers' channel with real datagrams on loopback, and real keepers over a store that can fall silent."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.channel import LONGEST
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.link import Peers, Strangers, read_key
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.settings import PeerSettings
from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotConverged, Refused, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, new_state
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Identity, Intent, Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from lab.waiting import until

from .conftest import Kept

KEY, TAG = b"k" * 32, "web"
#: As `fast`, and asking more often.
TIMING = Timing(ttl=4.0, renew=0.3, call=0.3, margin=0.75, poll=0.1)
#: Where the lease is to be lost anyway.
SHORT = Timing(ttl=2.4, renew=0.2, call=0.1, margin=0.75, poll=0.1)
SAID = {"ready": True, "reason": "", "priority": 1, "held": False, "epoch": None, "paused": False}


class Register:
    """A store in memory. ``silent``: the names of the nodes that it does not answer."""

    def __init__(self) -> None:
        self.record, self.token = Record("", 1, "seed.1"), 1
        self.silent: set[str] = set()
        self.lock = threading.Lock()

    def of(self, node: str) -> Any:
        """What a node's keeper uses."""
        register = self

        class View:
            def read(self, key: str) -> Reading:
                register.answer(node)
                with register.lock:
                    return Reading(register.record, register.token)

            def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
                register.answer(node)
                with register.lock:
                    if expected != register.token:
                        return None
                    register.record, register.token = record, register.token + 1
                    return register.token

        return View()

    def answer(self, node: str) -> None:
        if node in self.silent:
            time.sleep(SHORT.call)
            raise ServiceError(f"{node} gets no answer", ambiguous=True)


class Member:
    """One node: its keeper in a thread, and its end of the channel. ``demoted``: why it lost the lease, and when."""

    def __init__(self, name: str, address: str, settings: PeerSettings, register: Register, **options: Any) -> None:
        self.name, self.log = name, Kept()
        timing, memory = options.pop("timing", TIMING), options.pop("memory", None)
        self.demoted: list[tuple[float, str]] = []
        self.nudged: list[str] = []
        self.keeper = Keeper(register.of(name), f"c/{TAG}", new_state(Identity(name, f"boot-{name}"), timing))
        self.keeper.tell(Intent.CLAIM if options.pop("claims", False) else Intent.WATCH)
        self._turn, self._end = threading.Event(), threading.Event()
        given = {"key": KEY, "cluster": "c", "nodes": sorted(settings.addresses), **options}
        known = Strangers() if memory is None else memory.strangers()
        self.peers = Peers(settings, given["key"], given["cluster"], name, given["nodes"], timing, self.log, on_nudge=self._nudge, strangers=known)
        self.peers.announce(TAG, SAID)
        self.peers.attach(TAG, self.keeper, self._turn.set)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.peers.start()

    def _nudge(self, tag: str) -> None:
        self.nudged.append(tag)
        self.keeper.look()
        self._turn.set()

    def _run(self) -> None:
        while not self._end.is_set():
            for action in self.keeper.turn():
                if isinstance(action, Demote):
                    self.demoted.append((time.monotonic(), action.reason))
            self._turn.wait(max(0.0, min(0.05, self.keeper.state.due - time.clock_gettime(time.CLOCK_BOOTTIME))))
            self._turn.clear()

    def view(self, node: str) -> dict[str, Any]:
        return next(one for one in self.peers.describe() if one["node"] == node)

    def sees(self, node: str) -> bool:
        return bool(self.view(node)["alive"])

    def stop(self) -> None:
        self._end.set()
        self._turn.set()
        self.peers.stop()
        self._thread.join(5)


class Group:
    """The members a and b, if not told otherwise, each on its loopback address."""

    def __init__(self) -> None:
        self.register = Register()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.addresses = {"a": "127.0.0.1", "b": "127.0.0.2"}
        self.members: dict[str, Member] = {}

    def add(self, name: str, **options: Any) -> Member:
        settings = PeerSettings(self.addresses, self.port, "", options.pop("failsafe", True))
        member = self.members[name] = Member(name, self.addresses[name], settings, self.register, **options)
        return member

    def pair(self, **options: Any) -> tuple[Member, Member]:
        """a holds, b watches, and they know each other."""
        a, b = self.add("a", claims=True, timing=options.get("timing", TIMING)), self.add("b", **options)
        until(lambda: a.keeper.state.held, 10, "a does not hold")
        return a, b

    def drop(self, name: str) -> None:
        self.members.pop(name).stop()


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    yield made
    for name in list(made.members):
        made.drop(name)


def test_of_a_peers_words_only_tags_are_kept_and_so_many(group: Group) -> None:
    a, b = group.add("a"), group.add("b")
    for name in ("x\x1b[2J", "WEB", "", "w" * 41):
        b.peers.announce(name, SAID)
    until(lambda: TAG in a.view("b")["resources"], 10, "a hears nothing")
    for number in range(1500):
        b.peers.announce(f"r{number:04}", SAID)
    until(lambda: len(a.view("b")["resources"]) >= 500, 10, "a hears of no further resource")
    kept = a.view("b")["resources"]
    assert len(kept) <= 1000
    assert not {"x\x1b[2J", "WEB", "", "w" * 41} & set(kept)


def test_they_see_each_other_and_what_each_says(group: Group) -> None:
    a, b = group.add("a"), group.add("b")
    until(lambda: a.sees("b") and b.sees("a"), 5, "they do not see each other")
    until(lambda: a.view("b")["resources"].get(TAG) == SAID, 5, "a does not know of b's resource")
    b.peers.announce(TAG, {**SAID, "ready": False, "reason": "link eth0 is down"})
    until(lambda: a.view("b")["resources"][TAG]["reason"] == "link eth0 is down", 5, "nothing new")
    group.drop("b")
    until(lambda: not a.sees("b"), 5, "b is gone, and a believes it alive")
    assert a.view("b")["resources"] == {}
    told = [("peer alive", "b"), ("peer silent", "b")]
    until(lambda: [(one["event"], one["peer"]) for one in a.log.events] == told, 5, f"it does not tell so: {a.log.events}")
    group.add("b")
    until(lambda: a.sees("b"), 5, "b is back, and a does not believe it")


def test_a_nudge_is_not_a_poll(group: Group) -> None:
    a, b = group.add("a"), group.add("b")
    until(lambda: a.sees("b") and b.sees("a"), 5, "they do not see each other")
    a.peers.nudge("b", TAG)
    a.peers.nudge("b", "unknown")
    a.peers.nudge("nobody", TAG)
    until(lambda: b.nudged, 5, "no nudge came")
    assert b.nudged == [TAG]


def test_the_holder_stays_while_its_peer_acknowledges_and_not_longer(group: Group) -> None:
    a, b = group.pair()
    b.keeper.tell(Intent.CLAIM)  # it would take the lease as soon as it might
    until(lambda: a.sees("b"), 5, "they do not see each other")
    for silent in ({"a"}, {"a", "b"}):
        group.register.silent |= silent
        end = time.monotonic() + 1.3 * TIMING.ttl
        while time.monotonic() < end:
            assert (a.demoted, b.keeper.state.held) == ([], None)
            time.sleep(0.02)
    assert [(one["tag"], one["on"]) for one in a.log.of("failsafe")] == [(TAG, True)]
    group.register.silent.clear()
    until(lambda: len(a.log.of("failsafe")) == 2, 5, "the end was not told")
    assert a.log.of("failsafe")[1]["reason"] == "the store answers again"
    assert group.register.record.holder == "a"
    group.register.silent |= {"a"}
    until(lambda: len(a.log.of("failsafe")) == 3, 5, "no failsafe")
    a.peers.stop()  # as if the network between them were cut
    cut = time.monotonic()
    until(lambda: a.demoted and b.keeper.state.held, 4 * TIMING.ttl, "b never took over")
    assert a.demoted[0][0] - cut <= TIMING.hold + 1


@pytest.mark.parametrize(
    ("options", "dropped"),
    [
        ({"key": b"x" * 32}, "forged"),
        ({"cluster": "d"}, "foreign"),
        ({"failsafe": False}, ""),
        ({"nodes": ["a", "b", "c"]}, ""),
    ],
    ids=["another key", "another cluster", "not wanted", "another list of nodes"],
)
def test_no_failsafe_with(group: Group, options: dict[str, Any], dropped: str) -> None:
    a, _b = group.pair(timing=SHORT, **options)
    if dropped:
        until(lambda: a.view("b")["dropped"] > 3 and a.peers.dropped().get(dropped), 5, "nothing came")
        assert not a.sees("b")
    else:
        until(lambda: a.sees("b"), 5, "they do not see each other")
    group.register.silent |= {"a"}
    silenced = time.monotonic()
    until(lambda: a.demoted, 3 * SHORT.ttl, "a goes on without anybody's word")
    assert a.demoted[0][0] - silenced <= SHORT.hold + 1
    assert not a.log.of("failsafe")


def test_a_node_without_an_address_counts(group: Group) -> None:
    a, b = (group.add(name, claims=name == "a", nodes=["a", "b", "c"], timing=SHORT) for name in "ab")
    until(lambda: a.keeper.state.held and a.sees("b") and b.sees("a"), 5, "they do not see each other")
    group.register.silent |= {"a"}
    until(lambda: a.demoted, 3 * TIMING.ttl, "a goes on without c's word")


def test_a_stranger_with_the_key_ends_the_failsafe(group: Group) -> None:
    a, _b = group.pair(timing=SHORT)
    group.addresses = {**group.addresses, "z": "127.0.0.3"}
    group.add("z")
    until(lambda: a.peers.dropped().get("stranger"), 5, "a has not heard of z")
    until(lambda: a.peers.dropped()["stranger"] > 2, 5, "z says no more")
    (told,) = a.log.of("trouble")
    assert "the node 'z' at 127.0.0.3 has the peers' key" in told["reason"]
    group.register.silent |= {"a"}
    until(lambda: a.demoted, 3 * TIMING.ttl, "a goes on although z may hold the lease")


def test_who_knows_a_stranger_acknowledges_nobody_also_after_a_restart(group: Group, tmp_path: Path) -> None:
    """The holder itself cannot hear z, which takes the lease. Once b has been told of z, all is as before."""
    memory = PersistentState(tmp_path / "states", lambda event, **facts: None)
    a, b = group.pair(timing=SHORT, memory=memory)
    group.addresses = {"a": "127.0.0.99", "b": "127.0.0.2", "z": "127.0.0.3"}
    group.add("z")
    until(lambda: b.peers.dropped().get("stranger"), 5, "b has not heard of z")
    group.drop("z")
    group.drop("b")
    assert not a.peers.dropped().get("stranger")
    group.addresses = {"a": "127.0.0.1", "b": "127.0.0.2"}
    b = group.add("b", timing=SHORT, memory=memory)
    until(lambda: a.sees("b") and b.sees("a"), 5, "they do not see each other")
    group.register.silent |= {"a"}
    silenced = time.monotonic()
    until(lambda: a.demoted, 3 * SHORT.ttl, "b gives its word although z may hold the lease")
    assert a.demoted[0][0] - silenced <= SHORT.hold + 1
    assert not a.log.of("failsafe")
    assert memory.strangers().known == {"z"}
    group.drop("b")
    group.addresses = {"a": "127.0.0.1", "b": "127.0.0.2", "z": "127.0.0.3"}
    group.add("b", memory=memory)
    assert memory.strangers().known == set(), "z is a node like the others now"


def test_rubbish_is_counted_and_harms_nobody(group: Group) -> None:
    a, b = group.add("a"), group.add("b")
    until(lambda: a.sees("b") and b.sees("a"), 5, "they do not see each other")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.9", 0))
        for rubbish in (b"", b"x", os.urandom(100), os.urandom(LONGEST), b"y" * (LONGEST + 1), b"z" * 60000):
            line.sendto(rubbish, ("127.0.0.1", group.port))
    until(lambda: sum(a.peers.dropped().get(why, 0) for why in ("forged", "malformed", "oversized")) == 6, 5, "not all were counted")
    assert a.peers.dropped()["oversized"] == 2
    age = a.view("b")["age"]
    until(lambda: a.view("b")["age"] < age, 5, "a hears no more of b")


def test_who_has_the_port(group: Group) -> None:
    group.add("a")
    with pytest.raises(NotConverged, match=r"cannot listen for the other checkers on 127\.0\.0\.1, UDP port"):
        group.add("a")


def test_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "peer.key"
    refused: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: None, Refused, "No such file"),
        (lambda: path.write_bytes(b"short"), Refused, "nobody else may read"),
        (lambda: path.chmod(0o600), BadInput, "the key has 5 bytes and needs at least 32"),
    ]
    for change, kind, message in refused:
        change()
        with pytest.raises(kind, match=message) as caught:
            read_key(str(path))
        assert "short" not in str(caught.value)
    path.write_bytes(b"0" * 64 + b"\n")
    assert read_key(str(path)) == b"0" * 64
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Refused, match="it is a symbolic link"):
        read_key(str(tmp_path / "link"))
