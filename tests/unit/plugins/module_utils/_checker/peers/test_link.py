# SPDX-License-Identifier: GPL-3.0-or-later
"""By whose word a holder without a store stays: the channels of some checkers, whose datagrams the test carries, on a clock that the test moves."""

from __future__ import annotations

import socket
from collections.abc import Hashable
from typing import Any, cast

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.link import Peers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.settings import PeerSettings
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, new_state
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Identity, Intent, Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

KEY, TAG, PORT = b"k" * 32, "web", 7447
ADDRESSES = {"a": "10.0.1.10", "b": "10.0.2.10", "z": "10.0.3.10"}
TIMING = Timing()


class Register:
    """A store of one record. ``silent``: it answers nobody."""

    def __init__(self) -> None:
        self.record, self.token, self.silent = Record("", 7, "seed.1"), 1, False

    def read(self, key: str) -> Reading:
        self._answer()
        return Reading(self.record, self.token)

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        self._answer()
        if expected != self.token:
            return None
        self.record, self.token = record, self.token + 1
        return self.token

    def _answer(self) -> None:
        if self.silent:
            raise ServiceError("no answer", ambiguous=True)


class Line:
    """Stands for a socket: what was sent by it, and what has come."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.come: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, datagram: bytes, to: tuple[str, int]) -> None:
        self.sent.append((to[0], datagram))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.come:
            raise BlockingIOError
        return self.come.pop(0)


class Group:
    """Checkers of a cluster, or nearly."""

    def __init__(self) -> None:
        self.now = 100.0
        self.register = Register()
        self.lines: dict[str, Line] = {}
        self.peers: dict[str, Peers] = {}
        self.keepers: dict[str, Keeper] = {}
        self.events: list[tuple[str, str]] = []

    def add(self, name: str, knows: str, *, nodes: str = "ab", failsafe: bool = True) -> None:
        """``knows``: whose address it has."""
        settings = PeerSettings({one: ADDRESSES[one] for one in knows}, PORT, "", failsafe)

        def log(event: str, **facts: Any) -> None:
            self.events.append((name, event))

        keeper = Keeper(self.register, f"c/{TAG}", new_state(Identity(name, f"boot-{name}"), TIMING), lambda: self.now)
        made = Peers(settings, KEY, "c", name, list(nodes), TIMING, log, clock=lambda: self.now)
        made.attach(TAG, keeper, lambda: None)
        self.lines[name], self.peers[name], self.keepers[name] = Line(), made, keeper
        made._socket = cast(socket.socket, self.lines[name])

    def round(self) -> None:
        """Each asks, and all datagrams arrive."""
        for one in self.peers.values():
            one._ask()
        while any(line.sent for line in self.lines.values()):
            for name, line in self.lines.items():
                under_way, line.sent = line.sent, []
                for address, datagram in under_way:
                    self._deliver(ADDRESSES[name], address, datagram)

    def _deliver(self, source: str, address: str, datagram: bytes) -> None:
        for name, line in self.lines.items():
            if ADDRESSES[name] == address:
                line.come.append((datagram, (source, PORT)))
                self.peers[name]._take(cast(socket.socket, line))

    def outlives_its_lease(self) -> bool:
        """Whether a, which takes the lease, still holds it half a lease after the store's last answer could have counted."""
        a = self.keepers["a"]
        a.tell(Intent.CLAIM)
        for _number in range(4):
            a.turn()
            self.round()
        assert a.state.held is not None
        last = a.state.held.deadline
        self.register.silent = True
        while self.now < last + TIMING.ttl / 2:
            self.now += 0.5
            a.turn()
            self.round()
        return a.state.held is not None


@pytest.fixture
def group() -> Group:
    return Group()


def test_by_the_word_of_all_others(group: Group) -> None:
    group.add("a", "ab")
    group.add("b", "ab")
    assert group.outlives_its_lease()
    assert ("a", "failsafe") in group.events


@pytest.mark.parametrize("heard_by", ["a", "b"])
def test_not_once_either_has_heard_a_stranger(group: Group, heard_by: str) -> None:
    """The stranger may take the lease, and nobody asks it."""
    group.add("a", "ab")
    group.add("b", "ab")
    group.add("z", f"{heard_by}z", nodes=f"{heard_by}z")
    assert not group.outlives_its_lease()
    assert (heard_by, "trouble") in group.events
    assert ("a", "failsafe") not in group.events


def test_not_by_the_word_of_a_node_that_knows_of_another_one(group: Group) -> None:
    """It can tell nothing for c, of which the holder does not know."""
    group.add("a", "ab")
    group.add("b", "ab", nodes="abc")
    assert not group.outlives_its_lease()


@pytest.mark.parametrize("off_at", ["a", "b"])
def test_not_where_it_is_not_wanted(group: Group, off_at: str) -> None:
    for name in "ab":
        group.add(name, "ab", failsafe=name != off_at)
    assert not group.outlives_its_lease()


def test_not_while_one_is_silent(group: Group) -> None:
    group.add("a", "ab", nodes="abc")
    group.add("b", "ab", nodes="abc")
    assert not group.outlives_its_lease()
