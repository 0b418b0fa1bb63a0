# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in virtual time: the production rule, run by nodes whose clocks, processes, network and store all misbehave.

A node's process is a generator. Whatever it yields is the true time at which it wants to go on; wherever its program could be
stopped between two instructions that matter, it may be, for up to 30 s. The kernel runs on: it drops an address when its lifetime
ends and kills a process that overstays the refresh window. The adversary spends the whole margin: an address may outlive
its lifetime by all of the margin that the refresh window leaves.

Besides, `Faults` are what people do to a cluster: they delete the record, restore an older one, change the timing of some nodes before that of
others, add a node that the others do not know yet, and give two machines one name.

The dependents of a resource take up to the stop budget to stop. Whoever starts them is a process of its own, as is the unit of the lease that ends
them when the checker stands still. A process that was killed is started again, and goes on by its node's own record, with dependents that have run
throughout. Now and then it is the machine that was: then its clock begins anew, and nothing of before runs or is its own.

The nodes talk to each other besides: a holder that has lost the store asks all others to acknowledge it (failsafe). That is done by a
second thread of each, which stands still independently of the first, over links that lose, delay, double and part. And a write
may take effect long after its process has given it up, or has ended.

Deliberately wrong implementations are made here, by replacing parts of a node, never in the production code.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.dependents import Standing, stop_at
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import centiseconds
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule import step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import (
    Acknowledged,
    Contact,
    Demote,
    Event,
    Held,
    Identity,
    Intent,
    IntentChanged,
    Notice,
    Outcome,
    Promise,
    PromiseAsked,
    Read,
    ReadEnded,
    Reading,
    Released,
    Serve,
    State,
    Step,
    Tick,
    Write,
    WriteEnded,
    valid_lft,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import KERNEL_DELAY, Timing

_LONGEST_PAUSE, _NEVER = 30.0, float("inf")
Process = Generator[float, None, None]


@dataclass
class Hooks:
    """What a wrong implementation replaces. The defaults are right.

    :param step: The rule, given the node too.
    :param kernel_expiry: The address is given a lifetime.
    :param guard: The kernel kills a process that overstays the refresh window.
    :param asks: The epoch for which the peers are asked to acknowledge.
    :param needed: Of so many other nodes so many have to acknowledge.
    :param promises: Whether a peer acknowledges anybody, by whether it knows of a node that is not among its own.
    :param stop_from: When dependents begin to stop, by the deadline of the lease.
    :param unit: The unit of the lease stops them, whatever becomes of the checker.
    :param starts: Whether they may start now, by the node's clock.
    :param stops_first: They are stopped before a release.
    """

    step: Callable[[Node, State, Event], Step] = lambda node, state, event: step(state, event)
    timing: Callable[[Timing], Timing] = lambda timing: timing
    kernel_expiry: bool = True
    guard: bool = True
    asks: Callable[[State], int | None] = lambda state: state.asking
    needed: Callable[[int], int] = lambda others: others
    promises: Callable[[bool], bool] = lambda stranger: not stranger
    stop_from: Callable[[float, Timing], float] = lambda deadline, timing: timing.stop_from(deadline)
    unit: bool = True
    starts: Callable[[Node, float], bool] = lambda node, now: node.state.held is not None and now < node.unit_until
    stops_first: bool = True


@dataclass(frozen=True)
class Faults:
    """What people do, once in a schedule.

    :param deleted: Somebody deletes the record, at a moment when each node has seen the latest epoch, or can know that it has missed something: a
        write of it was refused, or it has not read for longer than a lease. A write in place of a missing record, which nobody waits for any more,
        does not take effect after that: it would find what it was sent against.
    :param restored: Somebody puts an older record back, at a moment when every node has seen the latest epoch. At other moments no rule helps, so
        the manual wants all checkers stopped.
    :param mixed: Each node has a timing of its own, as in the middle of a change from one profile to another.
    :param stranger: The last node is new: it knows all others, and they have heard it, but have not been told of it yet.
    :param namesake: The last node has the name of the first one. There is no failsafe then: nobody can tell whose word it is.
    :param dependents: The resource has dependents. Besides, machines are restarted.
    """

    deleted: bool = False
    restored: bool = False
    mixed: bool = False
    stranger: bool = False
    namesake: bool = False
    dependents: bool = False


@dataclass
class Tally:
    """What happened over many schedules: a test that never took over would prove nothing.

    ``prolonged``: holds by acknowledgement; ``rescued``: those that the holder went on to serve by; ``let_off``: promises that a release ended early;
    ``withheld``: promises that were not given as the node knows of a stranger; ``started``: dependents; ``cut``: those that the lease's unit had to
    stop; ``resumed``: those that ran on while their checker was restarted and went on with the lease; ``reboots``: of machines.
    """

    schedules: int = 0
    takeovers: int = 0
    expiries: int = 0
    handoffs: int = 0
    kills: int = 0
    served: float = 0.0
    unknown: int = 0
    asked: int = 0
    refused: int = 0
    prolonged: int = 0
    rescued: int = 0
    let_off: int = 0
    deleted: int = 0
    restored: int = 0
    withheld: int = 0
    started: int = 0
    cut: int = 0
    resumed: int = 0
    reboots: int = 0


class TwoHolders(AssertionError):
    """Two nodes had the address at one instant."""


class LateDependents(TwoHolders):
    """Dependents ran on two nodes at one instant, or on a node when the record passed to another or to nobody."""


class EpochFell(AssertionError):
    """A change of holder did not raise the epoch."""


@dataclass
class SimStore:
    """A linearizable register. ``down``: true times between which it answers nobody."""

    record: Record | None = None
    token: int = 0
    down: tuple[float, float] = (0.0, 0.0)
    highest: int = 0
    history: list[Record] = field(default_factory=list)

    @property
    def shown(self) -> int:
        """The token of what is there. One missing record looks like the other, as in real stores."""
        return self.token if self.record is not None else 0

    def put(self, expected: object, record: Record, tally: Tally) -> int | None:
        if expected != self.shown:
            return None
        old = self.record
        if record.holder and (old is None or old.holder != record.holder) and record.epoch <= self.highest:
            raise EpochFell(f"{record} after epoch {self.highest}")
        if record.holder and old is not None and old.holder != record.holder:
            tally.takeovers += 1
            tally.handoffs += not old.holder
        self.highest = max(self.highest, record.epoch)
        self.history.append(record)
        self.record, self.token = record, self.token + 1
        return self.token


@dataclass
class Node:
    """A machine: its clock, its kernel's view of the address, its process."""

    name: str
    rate: float
    offset: float
    wall_error: float
    state: State
    cut: tuple[float, float] = (0.0, 0.0)
    address_until: float = -1.0  # true time
    address_from: float = 0.0
    process: Process | None = None
    tight: bool = False  # the adversary leaves nothing of the margin, nor to rounding
    life: int = 0
    sent_local: float = 0.0
    awake_from: float = 0.0  # before it, its process is being started
    asking: bool = False
    answers: dict[str, tuple[int, float]] = field(default_factory=dict)  # of each peer: the epoch, and when it was asked
    inbox: list[Serve] = field(default_factory=list)
    stranger: bool = False  # it has heard a node that is not among its own
    boot: int = 0
    unit_until: float = 0.0  # when the unit of the lease ends, on this node's clock
    grace: float = 0.0  # the same of what a process may go on by that has only begun
    confirmed: bool = False
    runs: bool = False  # of dependents, also while they stop
    stopped_at: float = _NEVER  # true time
    started_by: int = 0  # the life of the process that held the lease then, or that has held it since

    def clock(self, true: float) -> float:
        return self.offset + self.rate * true


class World:
    """One schedule."""

    def __init__(self, seed: int, hooks: Hooks, tally: Tally, timing: Timing, nodes: int, horizon: float, faults: Faults = Faults()) -> None:
        self.rng = rng = random.Random(seed)
        self.deleted = False
        self.faults, self.fault_rng = faults, random.Random(seed + 99)
        self.timings = WITH_BUDGET if faults.dependents else _TIMINGS
        self.hooks, self.tally, self.horizon = hooks, tally, horizon
        self.now = 0.0
        self.queue: list[tuple[float, int, Node | None, int, Callable[[], None]]] = []
        self.count = 0
        self.store = SimStore(down=self._window(0.3))
        self.trouble = rng.choice((0.0, 0.01, 0.04))
        self.loss = rng.choice((0.0, 0.05, 0.3))
        self.doom = rng.choice((0.0, 0.05, 0.15))  # the chance that a renewal is the last for long
        self.timing = hooks.timing(timing)
        self.lateness = rng.choice((0.0, 0.0, 0.1, 0.3))  # the share of writes that take effect when nobody waits for them any more
        self.parted: dict[frozenset[str], tuple[float, float]] = {}
        self.last = f"n{nodes - 1}"
        self.nodes = [self._node(f"n{number}") for number in range(nodes)]
        if rng.random() < 0.7:  # start at once rather than after the wait for a record that may have been deleted
            self.store.record, self.store.token = Record("", 1, "seed"), 1
            self.store.highest = 1
        for one in self.nodes:
            for other in self.nodes:
                if one.name < other.name:
                    self.parted[frozenset((one.name, other.name))] = self._window(0.2)
        if rng.random() < 0.3:
            self._besiege(rng.choice(self.nodes))
        for node in self.nodes:
            node.stranger = self._known(node) != self.nodes
        wanted = ((faults.deleted, self._delete), (faults.restored, self._restore))
        self.pending = [(self.fault_rng.uniform(0.1, 0.8) * horizon, fault) for given, fault in wanted if given]

    def _delete(self) -> bool:
        """Whether the moment has come; then it is done."""
        if self.store.record is None or not all(self._has_seen_all(node) or self._knows_of_a_gap(node) for node in self.nodes):
            return False
        self.tally.deleted += 1
        self.deleted = True
        self._put_back(None)
        return True

    def _restore(self) -> bool:
        older = [record for record in self.store.history if record.epoch < self.store.highest]
        if not older or not all(self._has_seen_all(node) for node in self.nodes):
            return False
        self.tally.restored += 1
        self._put_back(self.fault_rng.choice(older))
        return True

    def _has_seen_all(self, node: Node) -> bool:
        return node.state.highest == self.store.highest

    def _knows_of_a_gap(self, node: Node) -> bool:
        state = node.state
        return state.sent is None and (state.contact is Contact.DISPUTED or node.clock(self.now) - state.read_at > state.timing.ttl)

    def _put_back(self, record: Record | None) -> None:
        self.store.record, self.store.token = record, self.store.token + 1
        self.store.highest = record.epoch if record is not None else 0

    def _known(self, node: Node) -> list[Node]:
        """The nodes of the cluster, as far as that node has been told."""
        return self.nodes[:-1] if self.faults.stranger and node is not self.nodes[-1] else self.nodes

    def _window(self, chance: float) -> tuple[float, float]:
        if self.rng.random() >= chance:
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

    def _node(self, name: str) -> Node:
        rng, rho = self.rng, 0.02
        rate = 1 + rng.choice((-rho, rho, rho, rng.uniform(-rho, rho)))
        state = self._fresh(name, 0, self.fault_rng.choice(self.timings) if self.faults.mixed else self.timing)
        node = Node(name, rate, rng.uniform(0, 1e6), rng.uniform(-5, 5), state, self._window(0.3), tight=rng.random() < 0.5)
        self._start(node, rng.uniform(0, 3))
        return node

    def _fresh(self, name: str, life: int, timing: Timing, highest: int = 0, boot: int = 0) -> State:
        called = "n0" if self.faults.namesake and name == self.last else name
        return State(Identity(called, f"boot{boot}-{name}"), f"p{life}", timing, first_epoch=1_000_000 + int(self.now), highest=highest)

    def _start(self, node: Node, at: float) -> None:
        node.life += 1
        node.awake_from, node.asking = at, False
        node.answers, node.inbox = {}, []
        node.state = self._fresh(node.name, node.life, node.state.timing, node.state.highest, node.boot)
        node.process = self._program(node)
        if node.runs:
            self._later(at, lambda: self._go_on(node))
        self._wake(node, at)

    def _wake(self, node: Node, at: float) -> None:
        self.count += 1
        heapq.heappush(self.queue, (at, self.count, node, node.life, _nothing))

    def _later(self, at: float, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (at, self.count, None, 0, call))

    def run(self) -> None:
        while self.queue:
            self.now, _order, node, life, call = heapq.heappop(self.queue)
            if self.now > self.horizon:
                break
            self.pending = [(at, fault) for at, fault in self.pending if self.now < at or not fault()]
            if node is None:
                call()
                continue
            if life != node.life or node.process is None:
                continue
            try:
                self._wake(node, max(self.now, next(node.process)))
            except StopIteration:  # killed: the service manager starts it again
                self.tally.kills += 1
                if self.faults.dependents and self.fault_rng.random() < 0.3:
                    self._reboot(node)
                self._start(node, self.now + self.rng.uniform(0.2, 3))
        self.tally.schedules += 1

    # ---- a node's process

    def _pause(self) -> float:
        """How long the process stands still here: mostly not at all, and then by orders of magnitude."""
        if self.rng.random() >= self.trouble:
            return 0.0
        return float(min(_LONGEST_PAUSE, 0.1 * 10 ** self.rng.uniform(0, 2.5)))

    def _program(self, node: Node) -> Process:
        rng = self.rng
        if self._emit(node, IntentChanged(node.clock(self.now), Intent.CLAIM)):
            raise AssertionError("a claim by itself does nothing")
        while True:
            due = (node.state.due - node.offset) / node.rate
            yield max(self.now, due) + rng.random() * 0.02
            if pause := self._pause():
                yield self.now + pause
                if rng.random() < 0.1:
                    return
            if node.state.held is not None and rng.random() < 0.02:
                yield from self._release(node)
                continue
            node.sent_local = node.clock(self.now)
            actions = self._emit(node, Tick(node.sent_local))
            if node.inbox:
                actions, node.inbox = (*node.inbox, *actions), []
            while actions:
                followed: tuple[Any, ...] = ()
                for action in actions:
                    if pause := self._pause():
                        yield self.now + pause
                    if isinstance(action, (Read, Write)):
                        followed += yield from self._call(node, action)
                    elif isinstance(action, Serve):
                        if (yield from self._serve(node, action)):
                            return
                        if rng.random() < self.doom:
                            yield self.now + _LONGEST_PAUSE
                    elif isinstance(action, Demote):
                        yield from self._demoted(node)
                actions = followed

    def _emit(self, node: Node, event: Event) -> tuple[Any, ...]:
        promise = node.state.promise
        node.state, actions = self.hooks.step(node, node.state, event)
        actions = tuple(action for action in actions if not isinstance(action, Notice))
        self.tally.let_off += promise is not None and node.state.promise is None and promise.until > event.now
        if actions and isinstance(actions[-1], Demote):
            node.inbox = []
        return actions

    def _release(self, node: Node) -> Process:
        """A planned switchover: stop the dependents, let go of the address, then of the lease."""
        if node.runs and self.hooks.stops_first:
            yield self._stop(node)
        self._remove(node)
        if pause := self._pause():
            yield self.now + pause
        to = self.rng.choice(["", *(other.state.me.name for other in self.nodes)])
        node.inbox = []
        self._emit(node, IntentChanged(node.clock(self.now), Intent.RELEASE, to))
        for _number in range(3):
            actions = self._emit(node, Tick(node.clock(self.now)))
            while actions and not isinstance(actions[-1], Released):
                actions = yield from self._call(node, actions[-1])
            if node.state.intent is not Intent.RELEASE:
                break
            yield max(self.now, (node.state.due - node.offset) / node.rate)
        yield self.now + self.rng.uniform(0, 4)
        self._emit(node, IntentChanged(node.clock(self.now), Intent.CLAIM))

    def _demoted(self, node: Node) -> Process:
        if node.runs:
            yield self._stop(node)
        self._remove(node)
        yield self.now + self.rng.uniform(0, 2)
        self._emit(node, IntentChanged(node.clock(self.now), Intent.CLAIM))

    def _call(self, node: Node, action: Read | Write) -> Generator[float, None, tuple[Any, ...]]:
        """One attempt with a time-out of C on the node's clock. A write may take effect late, or without its reply arriving."""
        rng = self.rng
        gives_up = self.now + node.state.timing.call / node.rate
        arrives = self.now + self._delay()
        lost = rng.random() < self.loss or self._unreachable(node, self.now)
        if isinstance(action, Write) and rng.random() < self.lateness:
            expected, record = action.expected, action.record
            self._later(self.now + rng.random() * _LONGEST_PAUSE, lambda: self._put_late(node, expected, record))
            yield gives_up
            return self._failed(node, action, unknown=True)
        if lost and rng.random() < 0.5:
            yield gives_up if rng.random() < 0.7 else self.now + 0.001
            return self._failed(node, action)
        yield arrives
        reply: object = None
        if self._unreachable(node, self.now):
            lost = True
        elif isinstance(action, Write):
            reply = self._put(node, action.expected, action.record)
        else:
            reply = Reading(self.store.record, self.store.shown)
        back = self.now + self._delay()
        if pause := self._pause():
            back = max(back, self.now + pause)  # the reply lies in the socket's buffer until the process goes on
        elif lost or back > gives_up:
            yield max(self.now, gives_up)
            return self._failed(node, action, unknown=True)
        yield back
        if lost:
            return self._failed(node, action, unknown=True)
        now = node.clock(self.now)
        if isinstance(action, Read):
            assert isinstance(reply, Reading)
            return self._emit(node, ReadEnded(now, reply))
        return self._emit(node, WriteEnded(now, Outcome.CONFLICT if reply is None else Outcome.WRITTEN, reply))

    def _put_late(self, node: Node, expected: object, record: Record) -> None:
        if not self._unreachable(node, self.now) and not (self.deleted and expected == 0):
            self._put(node, expected, record)

    def _put(self, node: Node, expected: object, record: Record) -> int | None:
        token = self.store.put(expected, record, self.tally)
        late = [other.name for other in self.nodes if other.runs and not (other is node and record.holder)]
        if token is not None and late:
            raise LateDependents(f"dependents run on {late} when {node.name} writes {record} at {self.now:.3f}")
        return token

    def _delay(self) -> float:
        rng = self.rng
        return rng.random() * 0.01 if rng.random() < 0.7 else rng.random() * self.timing.call * 0.9

    def _unreachable(self, node: Node, at: float) -> bool:
        return self.store.down[0] <= at < self.store.down[1] or node.cut[0] <= at < node.cut[1]

    def _failed(self, node: Node, action: Read | Write, unknown: bool = False) -> tuple[Any, ...]:
        now = node.clock(self.now)
        if isinstance(action, Read):
            actions = self._emit(node, ReadEnded(now, None))
        else:
            self.tally.unknown += unknown
            actions = self._emit(node, WriteEnded(now, Outcome.UNKNOWN if unknown else self.rng.choice((Outcome.UNKNOWN, Outcome.NOT_SENT))))
        if not node.asking and self.hooks.asks(node.state) is not None:
            node.asking = True
            life = node.life
            self._later(self.now + self.rng.random() * node.state.timing.poll, lambda: self._ask(node, life))
        return actions

    # ---- the failsafe, in a thread of its own

    def _ask(self, node: Node, life: int) -> None:
        """One round, and the next after a poll."""
        if node.life != life:
            return
        epoch, asked_at, ttl = self.hooks.asks(node.state), node.clock(self.now), node.state.timing.ttl
        if epoch is None:
            node.asking = False
            return
        for other in self._known(node):
            if other is not node:
                self.tally.asked += 1
                self._post(node, other, partial(self._answer, other, node, epoch, ttl, asked_at, life))
        self._later(self.now + node.state.timing.poll / node.rate + self._pause(), lambda: self._ask(node, life))

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

    def _answer(self, node: Node, asker: Node, epoch: int, ttl: float, asked_at: float, asker_life: int) -> None:
        """The peer's side. It may stand still between reading its clock and promising, and between that and its answer."""
        if self.now < node.awake_from or self._known(node) != self._known(asker) or self.faults.namesake:
            return
        if not self.hooks.promises(node.stranger):
            self.tally.withheld += 1
            return
        life, event = node.life, PromiseAsked(node.clock(self.now), asker.name, epoch, ttl)

        def promise() -> None:
            if node.life != life:
                return
            if any(isinstance(action, Promise) for action in self._emit(node, event)):
                self._post(node, asker, lambda: self._take_answer(asker, node.name, epoch, asked_at, asker_life))
            else:
                self.tally.refused += 1

        if pause := self._pause():
            self._later(self.now + pause, promise)
        else:
            promise()

    def _take_answer(self, node: Node, peer: str, epoch: int, asked_at: float, life: int) -> None:
        if node.life != life:
            return
        node.answers[peer] = max(node.answers.get(peer, (0, 0.0)), (epoch, asked_at))
        good = sorted((at for its_epoch, at in node.answers.values() if its_epoch == epoch), reverse=True)
        needed = self.hooks.needed(len(self._known(node)) - 1)
        if len(good) < needed:
            return
        for action in self._emit(node, Acknowledged(node.clock(self.now), epoch, good[needed - 1])):
            assert isinstance(action, Serve)
            self.tally.prolonged += 1
            node.inbox.append(action)

    # ---- the kernel

    def _serve(self, node: Node, action: Serve) -> Generator[float, None, bool]:
        """`deadman.extend`; true when the kernel killed the process in it."""
        timing = node.state.timing
        until = action.deadline - timing.reserve
        left = until - node.clock(self.now)
        if self.faults.dependents:
            self._later(self.now + self._pause(), partial(self._limit, node, action.deadline, node.boot))
        if node.tight and left > 1:
            yield self.now + max(0.0, left % 1 - 1e-6) / node.rate
        seconds = valid_lft(until, node.clock(self.now))
        if seconds < 1:
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
        for other in self.nodes:
            if other is not node and other.address_until > self.now:
                raise TwoHolders(f"{node.name} at {self.now:.3f} while {other.name} has it until {other.address_until:.3f}")
        self._account(node)
        self.tally.rescued += node.state.contact is Contact.LOST
        node.address_from, node.address_until = self.now, self.now + lifetime
        return False

    def _account(self, node: Node) -> None:
        if node.address_until < self.now and node.address_until > 0:
            self.tally.expiries += 1
        self.tally.served += max(0.0, min(self.now, node.address_until) - node.address_from)

    def _remove(self, node: Node) -> None:
        self._account(node)
        node.address_until = -1.0

    # ---- the dependents, and who starts and stops them

    def _limit(self, node: Node, deadline: float, boot: int) -> None:
        """The checker writes until when the unit of the lease runs. Somebody who knows of the lease starts the dependents a little later."""
        if node.boot != boot:
            return
        node.unit_until = int(centiseconds(self.hooks.stop_from(deadline, node.state.timing))) / 100
        self._later(max(self.now, (node.unit_until - node.offset) / node.rate), lambda: self._unit_ends(node))
        if node.runs and node.started_by != node.life and node.stopped_at == _NEVER:
            self.tally.resumed += 1
            node.started_by = node.life
        if not node.runs:
            self._later(self.now + self.fault_rng.random(), lambda: self._run(node))

    def _run(self, node: Node) -> None:
        if node.runs or not self.hooks.starts(node, node.clock(self.now)):
            return
        others = [other.name for other in self.nodes if other.runs]
        if others:
            raise LateDependents(f"dependents start on {node.name} at {self.now:.3f} while they run on {others}")
        self.tally.started += 1
        node.runs, node.stopped_at, node.started_by, node.confirmed = True, _NEVER, node.life, True
        self._tend(node, node.life)

    def _unit_ends(self, node: Node) -> None:
        if self.hooks.unit and node.clock(self.now) >= node.unit_until - 1e-6 and node.runs and node.stopped_at == _NEVER:
            self.tally.cut += 1
            self._stop(node)

    def _go_on(self, node: Node) -> None:
        """A process that begins and finds dependents, as `Watch` does."""
        timing, now = node.state.timing, node.clock(self.now)
        lives = (node.address_until - self.now) * node.rate + 1.0 if node.address_until > self.now else 0.0
        node.confirmed, node.grace = False, now + max(timing.stop_from(min(timing.hold, lives)), 2 * timing.call)
        self._tend(node, node.life)

    def _tend(self, node: Node, life: int) -> None:
        """The checker's own look at the dependents, in a thread that may stand still too."""
        if not node.runs or node.life != life:
            return
        state, now = node.state, node.clock(self.now)
        record = state.seen.record if state.seen else None
        until = None if state.held is None else self.hooks.stop_from(state.held.deadline, state.timing)
        node.confirmed = node.confirmed or until is not None
        at = stop_at(Standing(False, until, node.grace, record is not None and not state.me.owns(record)), node.confirmed)
        if now >= at:
            self._stop(node)
        else:
            again = min(state.timing.poll, at - now) / node.rate
            self._later(self.now + again + self._pause(), lambda: self._tend(node, life))

    def _stop(self, node: Node) -> float:
        """Begin to stop them. When that will have been done."""
        if node.stopped_at == _NEVER:
            share = 1.0 if node.tight else self.fault_rng.random()
            node.stopped_at = self.now + node.state.timing.stop_budget * share / node.rate
            self._later(node.stopped_at, lambda: self._stopped(node))
        return max(self.now, node.stopped_at)

    def _stopped(self, node: Node) -> None:
        if node.stopped_at <= self.now:
            node.runs = False

    def _reboot(self, node: Node) -> None:
        """The machine restarts: nothing of before goes on, and the clock begins anew."""
        self.tally.reboots += 1
        self._remove(node)
        node.boot += 1
        node.offset, node.unit_until, node.runs = -node.rate * self.now, 0.0, False


def _nothing() -> None:
    """Stands in for a call where a process is to go on."""


def schedule(seed: int, hooks: Hooks, tally: Tally, faults: Faults = Faults()) -> None:
    """Run one random schedule. Raises `TwoHolders` or `EpochFell`."""
    rng = random.Random(seed * 7919 + 1)
    timings = WITH_BUDGET if faults.dependents else _TIMINGS
    timing, nodes = rng.choice(timings), rng.choice((2, 2, 3))
    longest = max(one.ttl for one in timings) if faults.mixed else timing.ttl
    World(seed, hooks, tally, timing, 3 if faults.stranger else nodes, longest * 4, faults).run()


#: Both profiles, and one with nothing to spare.
_TIMINGS = (
    Timing(),
    Timing(ttl=4.0, renew=0.5, call=0.5, margin=0.75, poll=0.25),
    Timing(ttl=6.0, renew=1.5, call=1.0, margin=1.0, poll=1.5),
)
#: With dependents: each of them may take as long as the timing affords, and in one they take no time.
WITH_BUDGET = (
    Timing(),
    Timing(stop_budget=1.8),
    Timing(ttl=10.0, renew=0.5, call=0.5, margin=0.75, poll=0.25, stop_budget=6.5),
    Timing(ttl=10.0, renew=1.5, call=1.0, margin=1.0, poll=1.5, stop_budget=4.3),
)


# ---- implementations that are wrong on purpose


def _deadline_after_reply(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    if isinstance(event, (WriteEnded, ReadEnded)) and after.held is not None and any(isinstance(action, Serve) for action in actions):
        held = replace(after.held, deadline=event.now + after.timing.hold)
        actions = tuple(Serve(held.epoch, held.deadline) if isinstance(action, Serve) else action for action in actions)
        after = replace(after, held=held)
    return after, actions


def _wait_before_read(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    if isinstance(event, ReadEnded) and after.since == event.now:
        after = replace(after, since=node.sent_local)
        if after.held is None and after.next_at > event.now:
            after = replace(after, next_at=min(after.next_at, max(event.now, after.free_at())))
    return after, actions


def _wall_clock(node: Node, state: State, event: Event) -> Step:
    """The record is void once this node's wall clock says that the writer's promise, by the writer's wall clock, is over."""
    after, actions = step(state, event)
    shared = _WALL
    if isinstance(event, Tick):
        for action in actions:
            if isinstance(action, Write):
                shared[action.record.nonce] = _wall(node, event.now) + action.record.ttl
    if isinstance(event, ReadEnded) and after.seen is not None and after.seen.record is not None:
        until = shared.get(after.seen.record.nonce)
        if until is not None and after.seen.record.holder != node.name and _wall(node, event.now) > until:
            after = replace(after, since=float("-inf"), next_at=event.now)
    return after, actions


_WALL: dict[str, float] = {}


def _wall(node: Node, local: float) -> float:
    return (local - node.offset) / node.rate + node.wall_error


@dataclass(frozen=True)
class _NoRateMargin(Timing):
    @property
    def hold(self) -> float:
        return self.ttl - self.margin

    def wait(self, promised: float) -> float:
        return max(self.ttl, promised)


def _without_rate_margin(timing: Timing) -> Timing:
    return _NoRateMargin(timing.ttl, timing.renew, timing.call, timing.margin, timing.poll, timing.rho, timing.stop_budget)


@dataclass(frozen=True)
class _NoReserve(Timing):
    @property
    def reserve(self) -> float:
        return 0.0


def _without_reserve(timing: Timing) -> Timing:
    return _NoReserve(timing.ttl, timing.renew, timing.call, timing.margin, timing.poll, timing.rho, timing.stop_budget)


def _without_promise(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    return (state if isinstance(event, PromiseAsked) else after), actions


def _counted_from_the_reply(node: Node, state: State, event: Event) -> Step:
    return step(state, replace(event, sent_at=event.now) if isinstance(event, Acknowledged) else event)


def _promise_from_the_last_read(node: Node, state: State, event: Event) -> Step:
    return step(state, replace(event, now=min(event.now, state.since)) if isinstance(event, PromiseAsked) else event)


def _revived(node: Node, state: State, event: Event) -> Step:
    """A hold that has ended begins again by acknowledgement."""
    record = state.seen.record if state.seen else None
    if not isinstance(event, Acknowledged) or record is None or state.held is not None or _last_held(state) != event.epoch:
        return step(state, event)
    held = Held(event.epoch, event.sent_at + state.timing.hold)
    if held.deadline <= event.now:
        return state, ()
    return replace(state, held=held, intent=Intent.CLAIM), (Serve(held.epoch, held.deadline),)


def _last_held(state: State) -> int | None:
    record = state.seen.record if state.seen else None
    letting_go = state.intent is Intent.RELEASE or any(not attempt.record.holder for attempt in state.open)
    return record.epoch if record is not None and state.me.owns(record) and state.contact is Contact.LOST and not letting_go else None


def _acknowledged_with_a_write_under_way(node: Node, state: State, event: Event) -> Step:
    if isinstance(event, PromiseAsked):
        after, actions = step(replace(state, sent=None, open=()), event)
        return replace(after, sent=state.sent, open=state.open), actions
    return _revived(node, state, event)


def _let_off_by_any_release(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    record = event.reading.record if isinstance(event, ReadEnded) and event.reading else None
    return (replace(after, promise=None) if record is not None and record.holder != node.name else after), actions


def _held_by_reading(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    record = after.seen.record if after.seen else None
    if not isinstance(event, ReadEnded) or state.seen is not None or record is None or not after.owned:
        return after, actions
    held = Held(record.epoch, event.now + after.timing.hold)
    return replace(after, held=held), (*actions, Serve(held.epoch, held.deadline))


WRONG = {
    "deadline counted after the reply": Hooks(step=_deadline_after_reply),
    "waiting counted from before the read": Hooks(step=_wait_before_read),
    "wall clock compared": Hooks(step=_wall_clock),
    "demotion in user space only": Hooks(kernel_expiry=False),
    "no rate margin": Hooks(timing=_without_rate_margin),
    "a margin that does not cover the kernel's delay": Hooks(timing=_without_reserve),
    "refresh without the kernel's guard": Hooks(guard=False),
    "acknowledged without a promise": Hooks(step=_without_promise),
    "acknowledgements counted from the reply": Hooks(step=_counted_from_the_reply),
    "a promise counted from the last read": Hooks(step=_promise_from_the_last_read),
    "a hold revived, and acknowledged with a write under way": Hooks(step=_acknowledged_with_a_write_under_way, asks=_last_held),
    "acknowledged by a majority": Hooks(needed=lambda others: (others + 1) // 2),
    "let off a promise by any reading": Hooks(step=_let_off_by_any_release),
    "a process that begins holds from its first reading on": Hooks(step=_held_by_reading),
}


# ---- and of what concerns `Faults`


def _missing_is_free(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    if isinstance(event, ReadEnded) and event.reading is not None and event.reading.record is None:
        after = replace(after, since=event.now - 1000, next_at=event.now)
    return after, actions


def _missing_for_the_own_profile(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    missing = isinstance(event, ReadEnded) and event.reading is not None and event.reading.record is None
    return (replace(after, promised=0.0, next_at=min(after.next_at, after.since + after.timing.wait(0.0))) if missing else after), actions


def _by_the_own_ttl(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    return replace(after, promised=0.0), actions


def _promised_by_the_own_ttl(node: Node, state: State, event: Event) -> Step:
    if not isinstance(event, PromiseAsked):
        return step(state, event)
    after, actions = step(replace(state, promised=0.0), replace(event, ttl=0.0))
    return replace(after, promised=state.promised), actions


def _refusal_forgotten(node: Node, state: State, event: Event) -> Step:
    return step(replace(state, contact=Contact.GOOD) if state.contact is Contact.DISPUTED else state, event)


def _gap_unnoticed(node: Node, state: State, event: Event) -> Step:
    return step(replace(state, read_at=event.now), event)


def _believed(old: Callable[[State, Record], bool]) -> Callable[[Node, State, Event], Step]:
    """An older record of that kind is believed."""

    def wrong(node: Node, state: State, event: Event) -> Step:
        record = state.seen.record if state.seen else None
        if not isinstance(event, Tick) or record is None or not state.fell or not old(state, record):
            return step(state, event)
        after, actions = step(replace(state, highest=record.epoch), event)
        return replace(after, highest=max(after.highest, state.highest)), actions

    return wrong


def _by_the_name_alone(node: Node, state: State, event: Event) -> Step:
    return step(replace(state, me=replace(state.me, trusting=True)), event)


def _starts_when_the_holder_is_silent(node: Node, now: float) -> bool:
    """Or while it holds the lease itself. The record has not changed for two renewals."""
    return node.state.held is not None or now - node.state.since > 2 * node.state.timing.renew


WRONG_WITH_FAULTS = {
    "a missing record is free": (Faults(deleted=True), Hooks(step=_missing_is_free)),
    "a missing record is waited for by the own profile": (Faults(deleted=True, mixed=True), Hooks(step=_missing_for_the_own_profile)),
    "the holder's ttl is ignored": (Faults(mixed=True), Hooks(step=_by_the_own_ttl)),
    "a promise by the own ttl": (Faults(mixed=True), Hooks(step=_promised_by_the_own_ttl)),
    "a refused write is forgotten": (Faults(deleted=True), Hooks(step=_refusal_forgotten)),
    "a gap in the reads is not noticed": (Faults(deleted=True), Hooks(step=_gap_unnoticed)),
    "an older record of its own is gone on with": (Faults(restored=True), Hooks(step=_believed(lambda state, record: state.me.owns(record)))),
    "an older record is free as it says": (Faults(restored=True), Hooks(step=_believed(lambda state, record: not record.holder))),
    "acknowledged although a stranger was heard": (Faults(stranger=True), Hooks(promises=lambda stranger: True)),
    "a record of another boot is gone on with": (Faults(namesake=True), Hooks(step=_by_the_name_alone)),
    "dependents begin to stop at the deadline": (Faults(dependents=True), Hooks(stop_from=lambda deadline, timing: deadline)),
    "dependents are stopped by the checker alone": (Faults(dependents=True), Hooks(unit=False)),
    "dependents are not stopped before a release": (Faults(dependents=True), Hooks(stops_first=False)),
    "dependents start before the old deadline": (Faults(dependents=True), Hooks(starts=_starts_when_the_holder_is_silent)),
}
