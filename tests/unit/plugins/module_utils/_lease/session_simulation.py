# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with sessions in virtual time: the production rule, while clocks, processes, network and store all misbehave.

The adversary is that of `simulation`: a process is a generator that may be stopped for up to 30 s wherever that matters, the kernel runs on, and an
address outlives its lifetime by all of the margin. What is new here:

* A node has several resources. One list of writes may succeed in part. Each write may take effect late, also after its process has ended.
* A read of all keys is not one snapshot: each key is read at one of two instants.
* Some schedules are sharp: nothing is lost, but every node polls often, so that a takeover comes as early as the rule permits.
* A node hands a resource over to a live session, and acquires it again if it likes.
* People delete and restore records of sessions and of resources.

Deliberately wrong implementations are made here, by replacing parts of a node, never in the production code.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Intent, Notice, Outcome, Read, RecordChanged, Tick, valid_lft
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session import step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_values import (
    Acknowledged,
    AnyRecord,
    Event,
    IntentChanged,
    Promise,
    PromiseAsked,
    Put,
    ReadEnded,
    Resource,
    Serve,
    Session,
    Setup,
    State,
    Step,
    Stop,
    Tenure,
    Write,
    WriteEnded,
    resource_key,
    session_key,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import KERNEL_DELAY, Timing
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.simulation import EpochFell, Faults, TwoHolders

_LONGEST_PAUSE, _NEVER = 30.0, float("inf")
NO_FAULTS = Faults()
Process = Generator[float, None, None]


class NotServed(AssertionError):
    """Nothing was wrong with the store or the other nodes, and still a resource was served by nobody for too long."""


@dataclass
class Hooks:
    """What a wrong implementation replaces. The defaults are right.

    :param step: The rule, given the node too.
    :param needed: Of so many other nodes so many have to promise.
    :param heard: A node counts those that it has heard among the nodes that it knows.
    :param stops_first: The address is removed before a hand-over.
    :param kernel_expiry: The address is given a lifetime.
    :param guard: The kernel kills a process that overstays the refresh window.
    """

    step: Callable[[Node, State, Event], Step] = lambda node, state, event: step(state, event)
    timing: Callable[[Timing], Timing] = lambda timing: timing
    asks: Callable[[State], int | None] = lambda state: state.asking
    needed: Callable[[int], int] = lambda others: others
    heard: bool = True
    stops_first: bool = True
    kernel_expiry: bool = True
    guard: bool = True


@dataclass
class Tally:
    """What happened over many schedules: a test that never took over would prove nothing.

    ``takeovers``: changes of holder without a release; ``ended``: sessions; ``void``: claims that took effect after their session was ended;
    ``handed``: hand-overs to a live session; ``partial``: lists of writes of which some failed; ``torn``: reads that were no snapshot of the records;
    ``prolonged`` and ``rescued``: deadlines by promises, and services by them; ``rewritten``: records that a node wrote again to be sure;
    ``put_back``: deleted or restored records that their holder wrote again; ``resumed``: restarts of processes that continued their session.
    """

    schedules: int = 0
    takeovers: int = 0
    ended: int = 0
    void: int = 0
    handed: int = 0
    released: int = 0
    partial: int = 0
    torn: int = 0
    unknown: int = 0
    kills: int = 0
    reboots: int = 0
    resumed: int = 0
    rewritten: int = 0
    put_back: int = 0
    expiries: int = 0
    served: float = 0.0
    prolonged: int = 0
    rescued: int = 0
    refused: int = 0
    withheld: int = 0
    deleted: int = 0
    restored: int = 0
    longest_gap: float = 0.0


@dataclass
class SimStore:
    """A linearizable register for each key. ``down``: true times between which it answers nobody."""

    tally: Tally
    down: tuple[float, float] = (0.0, 0.0)
    records: dict[str, tuple[AnyRecord, int]] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    history: list[tuple[str, AnyRecord]] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    token: int = 0

    def put(self, put: Put) -> int | None:
        old, token = self.records.get(put.key, (None, None))
        if token != put.expected:
            return None
        record, highest = put.record, self.highest.get(put.key, 0)
        if isinstance(record, Resource):
            self._count(put, record, old if isinstance(old, Resource) else None, highest)
        else:
            self.tally.ended += not record.alive
        self.tally.put_back += put.key in self.changed and record.rank >= highest
        self.changed.discard(put.key)
        self.highest[put.key] = max(highest, record.rank)
        self.history.append((put.key, record))
        self.token += 1
        self.records[put.key] = (record, self.token)
        return self.token

    def _count(self, put: Put, record: Resource, old: Resource | None, highest: int) -> None:
        if record.holder and (old is None or old.holder != record.holder):
            if record.epoch <= highest:
                raise EpochFell(f"{record} after epoch {highest}")
            self.tally.takeovers += old is not None and old.holder != "" and not record.nonce.startswith(old.origin)
            self.tally.handed += old is not None and old.holder != "" and record.nonce.startswith(old.origin)
        self.tally.released += not record.holder
        self.tally.rewritten += old is not None and (old.holder, old.serial, old.epoch) == (record.holder, record.serial, record.epoch)
        session = self.records.get(session_key(record.holder), (None, None))[0]
        self.tally.void += session is not None and session.rank > record.serial


@dataclass
class Node:
    """A machine: its clock, its kernel's view of the addresses, its process."""

    name: str
    rate: float
    offset: float
    wall_error: float
    state: State
    cut: tuple[float, float]
    tight: bool  # the adversary leaves nothing of the margin, nor to rounding
    heard: bool = False
    until: dict[str, float] = field(default_factory=dict)  # of each address, true time
    since: dict[str, float] = field(default_factory=dict)
    process: Process | None = None
    life: int = 0
    boot: int = 0
    woken: int = 0
    awake_from: float = 0.0
    asking: bool = False
    answers: dict[str, tuple[int, float]] = field(default_factory=dict)  # of each peer: the serial, and when it was asked
    inbox: list[Serve] = field(default_factory=list)
    held: frozenset[tuple[str, int]] = frozenset()  # what the last process held

    def clock(self, true: float) -> float:
        return self.offset + self.rate * true


class World:
    """One schedule."""

    def __init__(self, seed: int, hooks: Hooks, tally: Tally, faults: Faults = NO_FAULTS, quiet: bool = False) -> None:
        self.rng = rng = random.Random(seed)
        self.faults, self.hooks, self.tally, self.quiet = faults, hooks, tally, quiet
        self.timing = hooks.timing(TIMINGS[seed % len(TIMINGS)])
        longest = max(timing.ttl for timing in TIMINGS) if faults.mixed else self.timing.ttl
        self.horizon = (5.0 if faults == NO_FAULTS else 6.5) * (longest + (_LONGEST_PAUSE / 10 if not quiet else 3))
        self.now, self.count = 0.0, 0
        self.queue: list[tuple[float, int, Node | None, int, Callable[[], None]]] = []
        self.trouble = rng.choice((0.0, 0.01, 0.04))
        self.loss = rng.choice((0.0, 0.05, 0.3))
        self.doom = rng.choice((0.0, 0.02, 0.05))  # the chance that a service is the last for long
        self.lateness = rng.choice((0.0, 0.0, 0.1, 0.3))  # the share of writes that take effect when nobody waits for them any more
        self.tearing = rng.choice((0.0, 0.5, 1.0))
        self.idle = not quiet and rng.random() < 0.4
        self.sharp = faults == NO_FAULTS and not quiet and rng.random() < 0.2
        if quiet or self.sharp:
            self.trouble = self.loss = self.doom = self.lateness = self.tearing = 0.0
        if self.sharp:
            self.timing = hooks.timing(SHARP[seed % 2])
            self.doom, self.horizon = 0.2, 3 * self.timing.ttl
        self.store = SimStore(tally, self._window(0.3))
        self.deleted: set[str] = set()
        self.tags = [f"r{number}" for number in range(rng.choice((2, 3)))]
        count = 3 if faults.stranger else rng.choice((3, 3, 3, 4))
        self.nodes = [self._node(f"n{number}", faults.stranger and number == count - 1) for number in range(count)]
        self.served_until = dict.fromkeys(self.tags, 0.0)
        if rng.random() < 0.7 or quiet or self.sharp:  # start without the wait for records that may have been deleted
            for tag in self.tags:
                self.store.put(Put(resource_key(tag), None, Resource("", "", 0, 1, "seed")))
            for node in self.nodes[: count if self.sharp else rng.choice((count, count, 1))]:
                key = session_key(node.state.setup.name)
                if key not in self.store.records:
                    self.store.put(Put(key, None, Session(node.state.setup.name, "seed", 1, "seed", alive=False)))
        self.parted = {frozenset((one.name, other.name)): self._window(0.2) for one in self.nodes for other in self.nodes if one.name < other.name}
        if rng.random() < 0.3 and not quiet and not self.sharp:
            self._besiege(rng.choice(self.nodes))
        if quiet:
            dies, victim = rng.uniform(1, 2) * self.timing.ttl, rng.choice(self.nodes)
            self._later(dies, lambda: self._die(victim))
        wanted = ((faults.deleted, self._delete), (faults.restored, self._restore))
        self.pending = [
            (rng.uniform(0.1, 0.8) * self.horizon if rng.random() < 0.7 else 0.0, partial(fault, rng.choice(("session/", "resource/", ""))))
            for given, fault in wanted
            if given
            for _time in range(rng.choice((1, 2, 3)))
        ]

    # ---- people

    def _delete(self, kind: str) -> bool:
        """Whether the moment has come, as `Faults` defines it. Then it is done, for one record or for all."""
        keys = [key for key in self.store.records if key.startswith(kind)]
        refused = [key for key in keys if any(key in node.state.seen and node.state.seen[key].token is Outcome.CONFLICT for node in self.nodes)]
        keys = keys if self.rng.random() < 0.3 else [self.rng.choice(refused or keys)] if keys else []
        if not keys or not all(self._has_seen(node, key) or self._knows_of_a_gap(node, key) for node in self.nodes for key in keys):
            return False
        for key in keys:
            del self.store.records[key]
            self.store.highest[key] = 0
            self.store.changed.add(key)
        self.deleted.update(keys)
        self.tally.deleted += 1
        return True

    def _restore(self, kind: str) -> bool:
        """All records, or one, as they were at some earlier time. A record that has not changed its rank since stays."""
        then = dict(self.store.history[: self.rng.randrange(len(self.store.history) + 1)])
        old = {key: record for key, record in then.items() if key in self.store.records and record.rank < self.store.highest[key]}
        if old and kind:
            key = self.rng.choice([key for key in sorted(old) if key.startswith(kind)] or sorted(old))
            old = {key: old[key]}
        if not old or not all(self._has_seen(node, key) for node in self.nodes for key in old):
            return False
        for key, record in old.items():
            self.store.token += 1
            self.store.records[key] = (record, self.store.token)
            self.store.highest[key] = record.rank
            self.store.changed.add(key)
        self.tally.restored += 1
        return True

    def _has_seen(self, node: Node, key: str) -> bool:
        """A session that is written again keeps its serial, so its record has to be seen too."""
        seen = node.state.seen.get(key)
        return node.state.highest.get(key, 0) == self.store.highest[key] and seen is not None and seen.record is not None

    def _knows_of_a_gap(self, node: Node, key: str) -> bool:
        state = node.state
        under_way = state.call is not None and any(put.key == key for put in state.call.puts)
        refused = key in state.seen and state.seen[key].token is Outcome.CONFLICT
        return not under_way and (refused or state.gap(node.clock(self.now)))

    def _die(self, node: Node) -> None:
        node.life += 1
        node.process = None

    # ---- the set-up

    def _window(self, chance: float) -> tuple[float, float]:
        if self.quiet or self.sharp or self.rng.random() >= chance:
            return (0.0, 0.0)
        start = self.rng.uniform(0, self.horizon)
        return (start, start + self.rng.choice((1.0, 4.0, 15.0)) * self.rng.random())

    def _besiege(self, node: Node) -> None:
        """One node is without the store for long, and part of that time without its peers."""
        rng, ttl = self.rng, self.timing.ttl
        start = rng.uniform(0, 2 * ttl)
        node.cut = (start, start + ttl * rng.uniform(0.5, 3))
        for pair in self.parted:
            if node.name in pair:
                start = rng.uniform(*node.cut)
                self.parted[pair] = (start, start + ttl * rng.uniform(0, 1.5))

    def _node(self, name: str, stranger: bool) -> Node:
        rng, rho = self.rng, 0.02
        rate = 1 + rng.choice((-rho, rho, rho, -rho if self.sharp else rng.uniform(-rho, rho)))
        timing = rng.choice(TIMINGS) if self.faults.mixed else self.timing
        state = State(Setup(name, "", "", timing))
        node = Node(name, rate, rng.uniform(0, 1e6), rng.uniform(-5, 5), state, self._window(0.3), rng.random() < 0.5)
        node.heard = name != "n0" or rng.random() < 0.5
        self._start(node, rng.uniform(0, 3))
        return node

    def _known(self, node: Node) -> list[Node]:
        """The nodes of the cluster, as far as that node has been told."""
        return self.nodes[:-1] if self.faults.stranger and node is not self.nodes[-1] else self.nodes

    def _start(self, node: Node, at: float) -> None:
        """A process begins. It knows what the last one kept on disk."""
        node.life += 1
        node.awake_from, node.asking = at, False
        node.answers, node.inbox = {}, []
        named = "n0" if self.faults.namesake and node.name == "n2" else node.name
        setup = Setup(named, f"b{node.boot}{node.name}", f"p{node.life}", node.state.setup.timing, first=1_000_000 + int(self.now))
        node.state = State(setup, highest=node.state.highest, tenures=dict.fromkeys(self.tags, Tenure(Intent.CLAIM)))
        node.process = self._program(node)
        self._wake(node, at)
        for tag in self.tags if self.idle else ():  # it does not want every resource at once
            if self.rng.random() < 0.5:
                node.state = replace(node.state, tenures={**node.state.tenures, tag: Tenure(Intent.WATCH)})
                self._wants(node, tag, at - self.now + self.rng.uniform(0, 2) * self.timing.ttl)

    def _wake(self, node: Node, at: float) -> None:
        self.count += 1
        node.woken = self.count
        heapq.heappush(self.queue, (at, self.count, node, node.life, _nothing))

    def _later(self, at: float, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (at, self.count, None, 0, call))

    def run(self) -> None:
        for node in self.nodes:  # all are known by now
            known = [other.state.setup.name for other in (self.nodes if node.heard and self.hooks.heard else self._known(node))]
            node.state = replace(node.state, nodes=frozenset(known))
        while self.queue:
            self.now, _order, node, life, call = heapq.heappop(self.queue)
            if self.now > self.horizon:
                break
            if self.pending:
                self.pending = [(at, fault) for at, fault in self.pending if self.now < at or not fault()]
            if node is None:
                call()
                continue
            if life != node.life or node.process is None or _order != node.woken:
                continue
            try:
                self._wake(node, max(self.now, next(node.process)))
            except StopIteration:  # killed: the service manager starts it again
                self._killed(node)
        self.tally.schedules += 1
        if self.quiet:
            self._check_liveness()

    def _killed(self, node: Node) -> None:
        self.tally.kills += 1
        nodes = node.state.nodes
        node.held = frozenset((tag, tenure.epoch) for tag, tenure in node.state.tenures.items() if tenure.epoch is not None)
        if self.rng.random() < 0.3:  # the machine was: its clock begins anew, and nothing of before runs
            self.tally.reboots += 1
            for tag in list(node.until):
                self._remove(node, tag)
            node.boot += 1
            node.held = frozenset()
            node.offset = self.rng.uniform(0, 1e6)
        self._start(node, self.now + self.rng.uniform(0.2, 3))
        node.state = replace(node.state, nodes=nodes)

    # ---- a node's process

    def _pause(self) -> float:
        """How long the process stands still here: mostly not at all, and then by orders of magnitude."""
        if self.trouble == 0.0 or self.rng.random() >= self.trouble:
            return 0.0
        return float(min(_LONGEST_PAUSE, 0.1 * 10 ** self.rng.uniform(0, 2.5)))

    def _program(self, node: Node) -> Process:
        rng = self.rng
        while True:
            due = (node.state.due - node.offset) / node.rate
            yield max(self.now, due) + rng.random() * 0.02
            if pause := self._pause():
                yield self.now + pause
                if rng.random() < 0.15:
                    return
            held = [tag for tag, tenure in node.state.tenures.items() if tenure.epoch is not None]
            if held and rng.random() < (0.04 if self.loss else 0.01):
                yield from self._release(node, rng.choice(held))
            actions = self._emit(node, Tick(node.clock(self.now)))
            if node.inbox:
                actions, node.inbox = (*node.inbox, *actions), []
            while actions:
                followed: tuple[Any, ...] = ()
                for action in actions:
                    if pause := self._pause():
                        yield self.now + pause
                    if isinstance(action, Read):
                        followed += yield from self._read(node)
                    elif isinstance(action, Write):
                        followed += yield from self._write(node, action)
                        handed = any(isinstance(put.record, Resource) and put.record.holder != node.state.setup.name for put in action.puts)
                        if node.state.look and rng.random() < self.trouble * (15 if handed else 5):
                            return
                    elif isinstance(action, Serve):
                        if (yield from self._serve(node, action)):
                            return
                        if self.doom and rng.random() < self.doom:
                            yield self.now + _LONGEST_PAUSE
                    elif isinstance(action, Stop):
                        self._stopped(node, action.tags)
                actions = followed

    def _emit(self, node: Node, event: Event) -> tuple[Any, ...]:
        node.state, actions = self.hooks.step(node, node.state, event)
        return tuple(action for action in actions if not isinstance(action, Notice)) if actions else actions

    def _stopped(self, node: Node, tags: tuple[str, ...]) -> None:
        for tag in tags:
            self._remove(node, tag)
            self._wants(node, tag, self.rng.uniform(0, 2))

    def _wants(self, node: Node, tag: str, after: float) -> None:
        life = node.life

        def claim() -> None:
            if node.life == life and node.process is not None:
                self._emit(node, IntentChanged(node.clock(self.now), tag, Intent.CLAIM))

        self._later(self.now + after, claim)

    def _release(self, node: Node, tag: str) -> Process:
        """A planned switchover: remove the address, then let go of the resource. The successor is told, unless that is lost."""
        if self.hooks.stops_first:
            self._remove(node, tag)
            if pause := self._pause():
                yield self.now + pause
        others = [other.state.setup.name for other in self.nodes]
        to = self.rng.choice(["", NOBODY, *others, *others])
        self._emit(node, IntentChanged(node.clock(self.now), tag, Intent.RELEASE, to))
        self._wants(node, tag, self.rng.uniform(0, 4) if self.rng.random() < 0.7 else self.rng.uniform(0, 0.2))
        for other in self.nodes:
            if other is not node and self.rng.random() < 0.5:
                self._later(self.now + self.rng.random(), partial(self._nudge, other))

    def _nudge(self, node: Node) -> None:
        if node.process is not None and self.now >= node.awake_from:
            self._emit(node, RecordChanged(node.clock(self.now)))

    # ---- calls to the store: one attempt, with a time-out of C on the node's clock

    def _read(self, node: Node) -> Generator[float, None, tuple[Any, ...]]:
        rng = self.rng
        gives_up = self.now + node.state.setup.timing.call / node.rate
        lost = self._unreachable(node, self.now) or (self.loss and rng.random() < self.loss)
        if lost:
            yield gives_up if rng.random() < 0.7 else self.now + 0.001
            return self._failed_read(node)
        yield self.now + self._delay()
        records = self.store.records
        reading: Mapping[str, tuple[AnyRecord | None, Hashable]] = dict(records)
        if self.tearing and rng.random() < self.tearing:
            early = {key for key in (*map(resource_key, self.tags), *(session_key(one.name) for one in self.nodes)) if rng.random() < 0.5}
            yield self.now + rng.random() * node.state.setup.timing.call * 0.7
            late = {key: pair for key, pair in self.store.records.items() if key not in early}
            torn = {**{key: pair for key, pair in reading.items() if key in early}, **late}
            self.tally.torn += torn not in (reading, self.store.records)
            reading = torn
        back = self.now + self._delay()
        if pause := self._pause():
            back = max(back, self.now + pause)  # the reply is in the socket's buffer until the process continues
        elif self._unreachable(node, self.now) or back > gives_up:
            yield max(self.now, gives_up)
            return self._failed_read(node)
        yield back
        return self._emit(node, ReadEnded(node.clock(self.now), reading))

    def _failed_read(self, node: Node) -> tuple[Any, ...]:
        actions = self._emit(node, ReadEnded(node.clock(self.now), None))
        self._begin_asking(node)
        return actions

    def _write(self, node: Node, action: Write) -> Generator[float, None, tuple[Any, ...]]:
        """Every write of the list has its own fate. Mostly all have the same, as in a transaction."""
        rng, puts = self.rng, list(action.puts)
        gives_up = self.now + node.state.setup.timing.call / node.rate
        together = rng.random() < 0.5
        fates, at = [], self.now
        for put in puts:
            if not fates or not together:
                fate = "good"
                if rng.random() < self.lateness:
                    fate = "late"
                elif rng.random() < self.loss:
                    fate = rng.choice(("unsent", "gone", "unanswered"))
                at = self.now + self._delay()
            fates.append([at, fate, put, (Outcome.UNKNOWN, None)])
        for one in sorted(fates, key=lambda one: one[0]):
            at, fate, put, _result = one
            if fate == "late":
                self._later(self.now + rng.random() * _LONGEST_PAUSE, partial(self._put_late, node, put))
            elif fate == "unsent":
                one[3] = (Outcome.NOT_SENT, None)
            elif fate != "gone":
                yield max(self.now, at)
                if not self._unreachable(node, self.now):
                    token = self.store.put(put)
                    one[3] = (Outcome.CONFLICT if token is None else Outcome.WRITTEN, token) if fate == "good" else one[3]
        back = self.now + self._delay()
        if pause := self._pause():
            back = max(back, self.now + pause)
        elif back > gives_up or self._unreachable(node, self.now):
            for one in fates:
                one[3] = one[3] if one[3][0] is Outcome.NOT_SENT else (Outcome.UNKNOWN, None)
            back = max(self.now, gives_up)
        elif any(one[3][0] is Outcome.UNKNOWN for one in fates):
            back = gives_up
        yield back
        results = tuple(one[3] for one in fates)
        self.tally.partial += len({outcome for outcome, _token in results}) > 1
        self.tally.unknown += any(outcome is Outcome.UNKNOWN for outcome, _token in results)
        actions = self._emit(node, WriteEnded(node.clock(self.now), results))
        self._begin_asking(node)
        return actions

    def _put_late(self, node: Node, put: Put) -> None:
        if not self._unreachable(node, self.now) and not (put.key in self.deleted and put.expected is None):
            self.store.put(put)

    def _delay(self) -> float:
        rng = self.rng
        return rng.random() * 0.01 if self.sharp or rng.random() < 0.7 else rng.random() * self.timing.call * (0.2 if self.quiet else 0.6)

    def _unreachable(self, node: Node, at: float) -> bool:
        return self.store.down[0] <= at < self.store.down[1] or node.cut[0] <= at < node.cut[1]

    # ---- the failsafe, in a thread of its own

    def _begin_asking(self, node: Node) -> None:
        if not node.asking and self.hooks.asks(node.state) is not None:
            node.asking = True
            self._later(self.now + self.rng.random() * node.state.setup.timing.poll, partial(self._ask, node, node.life))

    def _ask(self, node: Node, life: int) -> None:
        """One round, and the next after a poll."""
        if node.life != life:
            return
        serial, asked_at, timing = self.hooks.asks(node.state), node.clock(self.now), node.state.setup.timing
        if serial is None:
            node.asking = False
            return
        known = self._known(node)
        event = PromiseAsked(0.0, node.state.setup.name, serial, timing.ttl, frozenset(other.state.setup.name for other in known))
        for other in known:
            if other is not node:
                self._post(node, other, partial(self._answer, other, node, event, asked_at, life))
        self._later(self.now + timing.poll / node.rate + self._pause(), partial(self._ask, node, life))

    def _post(self, sender: Node, receiver: Node, deliver: Callable[[], None]) -> None:
        """A datagram: it may be lost, doubled or late, after a pause of its sender."""
        rng = self.rng
        away, back = self.parted[frozenset((sender.name, receiver.name))]
        for _copy in range(1 if rng.random() < 0.9 else 2):
            if rng.random() < self.loss:
                continue
            arrives = self.now + self._pause() + (rng.random() * 0.01 if rng.random() < 0.8 else 0.1 * 10 ** rng.uniform(0, 2.2))
            if not (away <= self.now < back or away <= arrives < back):
                self._later(arrives, deliver)

    def _answer(self, node: Node, asker: Node, event: PromiseAsked, asked_at: float, asker_life: int) -> None:
        """The peer's side. It may stand still between reading its clock and promising, and between that and its answer."""
        if self.now < node.awake_from or node.process is None or self.faults.namesake:
            return
        life, event = node.life, replace(event, now=node.clock(self.now))
        self.tally.withheld += not node.state.nodes <= event.nodes

        def promise() -> None:
            if node.life != life:
                return
            if any(isinstance(action, Promise) for action in self._emit(node, event)):
                self._post(node, asker, partial(self._take_answer, asker, node.state.setup.name, event.serial, asked_at, asker_life))
            else:
                self.tally.refused += 1

        if pause := self._pause():
            self._later(self.now + pause, promise)
        else:
            promise()

    def _take_answer(self, node: Node, peer: str, serial: int, asked_at: float, life: int) -> None:
        if node.life != life:
            return
        node.answers[peer] = max(node.answers.get(peer, (0, 0.0)), (serial, asked_at))
        good = {name: at for name, (its, at) in node.answers.items() if its == serial}
        others = len(self._known(node)) - 1
        needed = self.hooks.needed(others)
        if len(good) < needed:
            return
        names = frozenset(good) if needed == others else node.state.nodes
        asked_at = sorted(good.values(), reverse=True)[needed - 1]
        for action in self._emit(node, Acknowledged(node.clock(self.now), serial, asked_at, names)):
            if isinstance(action, Serve):
                self.tally.prolonged += 1
                node.inbox.append(action)
            elif isinstance(action, Stop):
                self._stopped(node, action.tags)

    # ---- the kernel

    def _serve(self, node: Node, action: Serve) -> Generator[float, None, bool]:
        """`deadman.extend` for all addresses; true when the kernel killed the process in it."""
        timing = node.state.setup.timing
        until = action.deadline - timing.reserve
        left = until - node.clock(self.now)
        if node.tight and left > 1:
            yield self.now + max(0.0, left % 1 - 1e-6) / node.rate
        tags = [tag for tag, _epoch in action.epochs if node.state.tenures[tag].epoch is not None]
        seconds = valid_lft(until, node.clock(self.now))
        if seconds < 1 or not tags:
            return False
        pause = self._pause() or (timing.window / node.rate - 1e-6 if node.tight else 0.0)
        if pause:
            if self.hooks.guard and pause * node.rate > timing.window:
                yield self.now + timing.window / node.rate
                return True
            yield self.now + pause
        late = max(KERNEL_DELAY, timing.margin - timing.window)
        late *= 1.0 if node.tight else self.rng.choice((0.0, 1.0, self.rng.random()))
        lifetime = (seconds + late) / node.rate if self.hooks.kernel_expiry else 1e9
        for tag in tags:
            for other in self.nodes:
                if other is not node and other.until.get(tag, -1.0) > self.now:
                    raise TwoHolders(f"{node.name} serves {tag} at {self.now:.3f} while {other.name} does until {other.until[tag]:.3f}")
            self._account(node, tag)
            if self.quiet and self.served_until[tag] > 0:
                self._served_again(tag)
            node.since[tag], node.until[tag] = self.now, self.now + lifetime
        self.tally.rescued += node.state.lost
        self.tally.resumed += not node.held.isdisjoint(action.epochs)
        node.held = frozenset()
        return False

    def _account(self, node: Node, tag: str) -> None:
        until = node.until.get(tag, -1.0)
        if until > 0:
            self.tally.expiries += until < self.now
            self.tally.served += max(0.0, min(self.now, until) - node.since[tag])
        self.served_until[tag] = max(self.served_until[tag], min(self.now, until))

    def _remove(self, node: Node, tag: str) -> None:
        self._account(node, tag)
        node.until[tag] = -1.0

    def _served_again(self, tag: str) -> None:
        """A node that died is waited for once, however many resources it held."""
        gap = self.now - max(self.served_until[tag], *(min(self.now, node.until.get(tag, -1.0)) for node in self.nodes))
        self.tally.longest_gap = max(self.tally.longest_gap, gap)
        timing = self.timing
        bound = timing.wait(0.0) / (1 - timing.rho) + 2 * timing.poll + 4 * timing.call
        if gap > bound:
            raise NotServed(f"{tag} for {gap:.1f} s at {self.now:.3f}, the bound is {bound:.1f}")

    def _check_liveness(self) -> None:
        self.now = self.horizon
        for tag in self.tags:
            if self.served_until[tag] == 0 and not any(tag in node.until for node in self.nodes):
                raise NotServed(f"{tag} ever")
            self._served_again(tag)


def _nothing() -> None:
    """The process of a node is woken, so there is nothing to call."""


#: One with the ratios of each profile, and one with nothing to spare.
TIMINGS = (
    Timing(ttl=8.0, renew=1.5, call=1.0, margin=1.5, poll=1.5),
    Timing(ttl=4.0, renew=0.8, call=0.5, margin=0.75, poll=0.6),
    Timing(ttl=6.0, renew=1.5, call=0.8, margin=1.0, poll=1.2),
    Timing(ttl=10.0, renew=2.0, call=1.5, margin=2.0, poll=2.0),
)
#: These spend the whole margin, and poll often.
SHARP = (
    Timing(ttl=4.0, renew=0.8, call=0.5, margin=0.75, poll=0.08),
    Timing(ttl=10.0, renew=6.3, call=0.5, margin=1.4, poll=0.15),
)


def schedule(seed: int, hooks: Hooks, tally: Tally, faults: Faults = NO_FAULTS, quiet: bool = False) -> None:
    """Run one schedule. Raises `TwoHolders`, `EpochFell`, `NotServed`."""
    World(seed, hooks, tally, faults, quiet).run()
