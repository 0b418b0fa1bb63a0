# SPDX-License-Identifier: GPL-3.0-or-later
"""The authenticated channel among the checkers of a cluster, over UDP: who is alive and ready, nudges, and the failsafe (DESIGN.md section 6).

Each node asks each other one once a poll or more often, and each answer says how the node's resources stand. A holder that has lost the store
asks besides to be acknowledged; what that is worth is decided by `_lease.rule` alone. One thread does all of it and never waits for a store, so an
acknowledgement takes no longer than the network.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.channel import (
    LONGEST,
    Acknowledgements,
    Channel,
    Message,
    RejectedDatagram,
    answers,
    fingerprint,
    questions,
    valid_resource,
)
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.settings import SHORTEST_KEY, PeerSettings
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import is_tag, shown
from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

#: Lets a socket be bound to an address that is not there yet, as when the network comes up after us (ip(7)).
_IP_FREEBIND = 15
_OTHERS, _LARGEST_KEY = 0o077, 4096
#: So many questions to a peer are remembered, and so many datagrams are taken before others are sent.
_REMEMBERED, _AT_ONCE = 64, 64
#: Of so many resources a peer's word is remembered, the newest.
_MOST_TAGS = 1000
#: A peer is silent when it has left so many polls unanswered.
_MISSED = 3
_MOST_STRANGERS = 20


def read_key(path: str) -> bytes:
    """The key that the nodes share. Raises `Refused` for a file that others may read, `BadInput` for a key that is too short."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            about, key = os.fstat(file.fileno()), file.read(_LARGEST_KEY).strip()
    except OSError as error:
        why = "it is a symbolic link" if Path(path).is_symlink() else error.strerror
        raise Refused(f"cannot read the peers' key in {path}: {why}; write it there, the same on every node, with mode 0600", path=path) from None
    if not stat.S_ISREG(about.st_mode) or about.st_mode & _OTHERS or about.st_uid not in (0, os.geteuid()):
        raise Refused(
            f"{path} has to be a file that belongs to root and that nobody else may read; see its owner, and set its mode to 0600", path=path
        )
    if len(key) < SHORTEST_KEY:
        raise BadInput(f"{path}: the key has {len(key)} bytes and needs at least {SHORTEST_KEY}; make one with `openssl rand -hex 32`", path=path)
    return key


def listen_socket(address: str, port: int) -> socket.socket:
    """Where the other checkers are heard. Raises `NotConverged` where the port cannot be had."""
    line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        line.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        line.setblocking(False)
        line.bind((address, port))
    except OSError as error:
        line.close()
        raise NotConverged(f"cannot listen for the other checkers on {address}, UDP port {port}: {error.strerror}; see who has it") from None
    return line


class Strangers:
    """The nodes that have the peers' key and are not among those of this checker. They stay known until they are, or until a person forgets them.

    :param known: Those that were kept.
    :param keep: Given all of them whenever that changes. It must not raise.
    :param remedy: What a person does about one.
    """

    def __init__(
        self,
        known: Iterable[str] = (),
        keep: Callable[[Collection[str]], None] = lambda known: None,
        remedy: str = "Add it to the nodes, or stop its checker and restart this one",
    ) -> None:
        self.known, self._keep, self.remedy = set(known), keep, remedy

    def add(self, name: str) -> bool:
        """Whether that one is new. Of more than a few it is enough to know that there are some."""
        if name in self.known or len(self.known) >= _MOST_STRANGERS:
            return False
        self.known.add(name)
        self._keep(self.known)
        return True

    def forget(self, nodes: Collection[str]) -> None:
        """These are nodes of the cluster now."""
        if self.known.intersection(nodes):
            self.known.difference_update(nodes)
            self._keep(self.known)


@dataclass
class _Peer:
    """One other node. ``asked``: for each question when it was sent, and which epochs were to be acknowledged."""

    address: str
    answered_at: float | None = None
    reported: bool | None = None
    asked: dict[int, tuple[float, Mapping[str, int]]] = field(default_factory=dict)
    resources: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Lease:
    keeper: Keeper
    wake: Callable[[], None]


class Peers:
    """The channel of this node.

    :param key: What `read_key` gave.
    :param nodes: All nodes of the cluster; one without an address never answers, so with one there is no failsafe.
    :param log: Takes the name of an event and its facts.
    :param on_nudge: Called with a tag when a peer says that its lease has changed, from a thread of the channel: it must not wait.
    :param clock: CLOCK_BOOTTIME, in seconds.
    :param strangers: What is known of nodes that have the key and are not among ``nodes``; by default nothing. While there is one, this node neither
        acknowledges nor asks: the stranger may take the lease, and is not asked.
    """

    def __init__(
        self,
        settings: PeerSettings,
        key: bytes,
        cluster: str,
        node: str,
        nodes: Iterable[str],
        timing: Timing,
        log: Callable[..., None],
        on_nudge: Callable[[str], None] = lambda tag: None,
        clock: Callable[[], float] = boottime,
        strangers: Strangers | None = None,
    ) -> None:
        self._settings, self._node, self._timing, self._log, self._on_nudge, self._clock = settings, node, timing, log, on_nudge, clock
        everybody = {*nodes, *settings.addresses, node}
        self._fingerprint = fingerprint(everybody)
        self._peers = {name: _Peer(address) for name, address in sorted(settings.addresses.items()) if name != node}
        self._acknowledgements = Acknowledgements(frozenset(everybody - {node}))
        self._channel = Channel(cluster, node, self._peers, key, lambda: secrets.token_hex(8))
        self._leases: dict[str, _Lease] = {}
        self._announced: dict[str, dict[str, Any]] = {}
        self._failsafe: dict[str, int] = {}
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._strangers = Strangers() if strangers is None else strangers
        self._strangers.forget(everybody)
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._bell, self._rope = socket.socketpair()
        self._began = clock()

    # ---- for the other threads of the checker

    def attach(self, tag: str, keeper: Keeper, wake: Callable[[], None]) -> None:
        """Let the failsafe work for a lease. ``wake``: has the thread of ``keeper`` take a turn soon; it must not wait."""
        with self._lock:
            self._leases[tag] = _Lease(keeper, wake)

    def detach(self, tag: str) -> None:
        """The lease is no longer watched here: it is neither announced nor acknowledged."""
        with self._lock:
            self._leases.pop(tag, None)
            self._announced.pop(tag, None)
            self._failsafe.pop(tag, None)

    def announce(self, tag: str, resource: Mapping[str, Any]) -> None:
        """What to tell of a resource: ready, reason, priority, held, epoch, paused."""
        with self._lock:
            self._announced[tag] = {"epoch": None, "priority": None, **resource}

    def start(self) -> None:
        """Listen and ask. Raises `NotConverged` where the port cannot be had."""
        line = listen_socket(*self._settings.own(self._node))
        self._socket, self._began = line, self._clock()
        self._thread = threading.Thread(target=self._run, args=(line,), name="peers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Neither ask nor answer any more. Safe to repeat."""
        self._stop.set()
        try:
            self._rope.send(b"!")
        except OSError:
            pass  # stopped before
        if self._thread is not None:
            self._thread.join(5)
        for line in (self._socket, self._bell, self._rope):
            if line is not None:
                line.close()

    def nudge(self, node: str, tag: str) -> None:
        """Tell a peer that the lease has changed, so that it need not wait for its next poll."""
        with self._lock:
            if node in self._peers:
                self._send(node, {"nudge": [tag]})

    def describe(self) -> list[dict[str, Any]]:
        """Each other node: node, address, alive, age (seconds since a question was sent that it has answered), resources, dropped."""
        with self._lock:
            now = self._clock()
            return [
                {
                    "node": name,
                    "address": peer.address,
                    "alive": self._is_alive(peer, now),
                    "age": None if peer.answered_at is None else round(now - peer.answered_at, 2),
                    "resources": {tag: dict(one) for tag, (at, one) in sorted(peer.resources.items()) if now - at <= self._limit},
                    "dropped": sum(count for (who, _why), count in self._dropped.items() if who == name),
                }
                for name, peer in self._peers.items()
            ]

    def dropped(self) -> dict[str, int]:
        """How many datagrams were not believed, by the reason."""
        with self._lock:
            total: Counter[str] = Counter()
            for (_who, why), count in self._dropped.items():
                total[why] += count
            return dict(total)

    # ---- the thread

    @property
    def _limit(self) -> float:
        return _MISSED * self._timing.poll + self._timing.call

    def _is_alive(self, peer: _Peer, now: float) -> bool:
        return peer.answered_at is not None and now - peer.answered_at <= self._limit

    def _run(self, line: socket.socket) -> None:
        next_round = self._clock()
        while not self._stop.is_set():
            now = self._clock()
            if now >= next_round:
                with self._lock:
                    self._ask()
                    self._report(now)
                next_round = now + min(self._timing.poll, self._timing.renew)
            if line in readable([line, self._bell], next_round - self._clock()):
                self._take(line)

    def _take(self, line: socket.socket) -> None:
        for _number in range(_AT_ONCE):
            try:
                datagram, sender = line.recvfrom(LONGEST + 1)
            except OSError:
                return  # none is left
            with self._lock:
                try:
                    message = self._channel.open(datagram)
                except RejectedDatagram as dropped:
                    self._drop(dropped, sender[0])
                    continue
                nudged = self._hear(message)
            for tag in nudged:
                self._on_nudge(tag)

    def _drop(self, dropped: RejectedDatagram, address: str) -> None:
        """Count it. Neither its content nor a stranger's name is repeated anywhere unless it was made with the key."""
        who = dropped.sender or next((name for name, peer in self._peers.items() if peer.address == address), "")
        self._dropped[who, dropped.reason] += 1
        if dropped.answer is not None:
            self._put(dropped.sender, dropped.answer)
        if dropped.reason == "stranger" and self._strangers.add(dropped.sender):
            self._log(
                "trouble",
                reason=f"the node {shown(dropped.sender)} at {address} has the peers' key and is not among the nodes of this checker, so there is no "
                f"failsafe. {self._strangers.remedy}",
            )

    def _hear(self, message: Message) -> list[str]:
        """Answer, or take note. Returns the tags that a peer nudges about."""
        body = message.body
        if "ask" in body:
            self._answer(message)
        elif "answer" in body:
            self._learn(message)
        elif isinstance(body.get("nudge"), list):
            return [tag for tag in body["nudge"] if isinstance(tag, str) and tag in self._leases]
        return []

    def _answer(self, message: Message) -> None:
        hold, acknowledged = message.body.get("hold"), {}
        if isinstance(hold, dict) and self._settings.failsafe and not self._strangers.known and message.body.get("nodes") == self._fingerprint:
            for tag, wanted in hold.items():
                lease = self._leases.get(tag)
                if lease is None or not isinstance(wanted, list) or len(wanted) != 2:
                    continue  # it may be taken here by somebody whom this checker does not know of
                epoch, ttl = wanted
                if _number(epoch) and _number(ttl) and lease.keeper.acknowledge(message.sender, int(epoch), float(ttl)):
                    acknowledged[tag] = int(epoch)
        resources = self._announced if message.body["ask"] else {}
        for body in answers(message.counter, resources, acknowledged, self._channel.room(message.sender)):
            self._send(message.sender, body)

    def _learn(self, message: Message) -> None:
        peer, body = self._peers[message.sender], message.body
        to = body.get("answer")
        asked = peer.asked.get(to) if isinstance(to, int) else None
        if asked is None:
            self._dropped[message.sender, "late"] += 1
            return
        asked_at, epochs = asked
        peer.answered_at = asked_at if peer.answered_at is None else max(asked_at, peer.answered_at)
        for tag, raw in _items(body.get("resources")):
            resource = valid_resource(raw) if is_tag(tag) else None
            if resource is not None and (tag not in peer.resources or peer.resources[tag][0] <= asked_at):
                peer.resources.pop(tag, None)
                peer.resources[tag] = (asked_at, resource)
        while len(peer.resources) > _MOST_TAGS:
            del peer.resources[next(iter(peer.resources))]
        for tag, epoch in _items(body.get("hold")):
            if tag in self._leases and epochs.get(tag) == epoch:
                self._count(tag, epoch, message.sender, asked_at)
        self._report(self._clock())

    def _count(self, tag: str, epoch: int, sender: str, asked_at: float) -> None:
        since = self._acknowledgements.add(tag, epoch, sender, asked_at)
        lease = self._leases[tag]
        if since is None or not lease.keeper.acknowledged(epoch, since):
            return
        lease.wake()
        if self._failsafe.get(tag) != epoch:
            self._failsafe[tag] = epoch
            self._log(
                "failsafe",
                tag=tag,
                epoch=epoch,
                on=True,
                reason="the store cannot be reached, and all other nodes acknowledge this one as the holder",
            )

    def _ask(self) -> None:
        """One round of questions to all."""
        holds: dict[str, tuple[int, float]] = {}
        for tag, lease in self._leases.items():
            epoch, last = lease.keeper.asking, self._failsafe.get(tag)
            if last is not None and epoch != last:
                self._settle(tag, last, lease.keeper)
            if epoch is not None and self._settings.failsafe and not self._strangers.known:
                holds[tag] = (epoch, lease.keeper.state.timing.ttl)
        for name, peer in self._peers.items():
            for body in questions(holds, self._fingerprint, self._channel.room(name)):
                asked_at = self._clock()  # before it is sent
                number = self._send(name, body)
                peer.asked[number] = (asked_at, {tag: hold[0] for tag, hold in body.get("hold", {}).items()})
            while len(peer.asked) > max(_REMEMBERED, 8 * len(holds)):
                del peer.asked[next(iter(peer.asked))]

    def _settle(self, tag: str, epoch: int, keeper: Keeper) -> None:
        """The failsafe is over."""
        del self._failsafe[tag]
        self._acknowledgements.forget(tag, epoch)
        held = keeper.state.held is not None
        self._log("failsafe", tag=tag, epoch=epoch, on=False, reason="the store answers again" if held else "the lease is no longer held here")

    def _report(self, now: float) -> None:
        """Tell who came to life and who fell silent, once."""
        for name, peer in self._peers.items():
            alive = self._is_alive(peer, now)
            if alive != peer.reported and (alive or now - self._began > self._limit):
                peer.reported = alive
                self._log("peer alive" if alive else "peer silent", peer=name)

    def _send(self, to: str, body: Mapping[str, Any]) -> int:
        counter, datagram = self._channel.seal(to, body)
        self._put(to, datagram)
        return counter

    def _put(self, to: str, datagram: bytes) -> None:
        try:
            if self._socket is not None:
                self._socket.sendto(datagram, (self._peers[to].address, self._settings.port))
        except OSError:
            pass  # as if it were lost on the way; the next round comes


def _items(raw: object) -> list[tuple[str, Any]]:
    return [(tag, value) for tag, value in raw.items() if isinstance(tag, str)] if isinstance(raw, dict) else []


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**53
