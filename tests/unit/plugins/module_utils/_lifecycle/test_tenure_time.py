# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenure and the rule of the lease together in virtual time, with a store, a kernel, dependents and people who do what they like.

Nothing is carried out at once: each action ends a while later, some after their time, some never. Workers that began before a request try to put the
address up after it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease import rule
from ansible_collections.holdfast.ha.plugins.module_utils._lease import rule_values as lease
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import tenure_values as values
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure import left_longer, refusal, step
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure_values import Do, LeaseView, RequestKind, ResourceView

TIMING = Timing(stop_budget=1.0)
ME, OTHER = "node-a", "node-b"
#: Seconds by which the driver may be late.
SOON = 0.002


class World:
    """One schedule."""

    def __init__(self, seed: int, tally: Counter[str]) -> None:
        self.dice, self.tally, self.now = random.Random(seed), tally, 1000.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count, self._numbers = itertools.count(), itertools.count(1)
        self.rule = lease.State(lease.Identity(ME, "boot1"), "s1", TIMING, highest=self.dice.choice((0, 5)))
        view = LeaseView(highest=self.rule.highest)
        self.tenure = values.State("web", ME, TIMING, lease=view, reported=view)
        first = (None, Record("", 5, "x.0"), Record("", 5, "x.0", ME), Record(OTHER, 5, "x.0"), Record(ME, 5, "boot1.s0.1"))
        self.record, self.token, self.nonces = self.dice.choice(first), 1, itertools.count(1)
        self.silent_until = self.denied_until = LONG_AGO
        self.error: HoldfastError | None = None
        self.claim_at = self.dice.choice((NEVER, NEVER, LONG_AGO, 0.0))
        self.unwanted_since = LONG_AGO
        #: The kernel's view: until when the address is up.
        self.up_until = self.now + 7 if self.record is not None and self.record.holder == ME and self.dice.random() < 0.7 else LONG_AGO
        self.in_service = self.running = self.up_until > self.now
        #: From the moment at which the address is to go; what was begun before that may put it up no more.
        self.going, self.taking_down, self.took_down_at, self.withdrawn_at = False, False, LONG_AGO, LONG_AGO
        self.pending: dict[int, values.Requested] = {}
        self.claims_for = ""
        self.released_at = LONG_AGO
        self.faults = True
        self._wake_at = NEVER

    # --- the machinery -------------------------------------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when, next(self._count), act))

    def run(self, until: float) -> None:
        self.turn()
        while self._heap and self._heap[0][0] <= until:
            self.now, _number, act = heapq.heappop(self._heap)
            act()
            self.turn()
        self.now = until

    def turn(self) -> None:
        """As the driver: the rule has its turn, then the tenure sees the lease."""
        self.tell(lease.Tick(self.now))
        resource = ResourceView(self.in_service, fence=True)
        self.report(values.Observed(self.now, self.view(), resource, self.claim_at if self.rule.held is None else NEVER))
        held = self.rule.held  # a call to the store under way keeps the rule from another one, not from stepping down
        rule_due = self.rule.due if not self.rule.busy else TIMING.stop_from(held.deadline) if held is not None else NEVER
        due = max(min(rule_due, self.tenure.due), self.now + 0.001)
        if due < self._wake_at or self._wake_at <= self.now:
            self._wake_at = due
            self.at(due, lambda: None)

    def view(self) -> LeaseView:
        state, record = self.rule, self.rule.seen.record if self.rule.seen else None
        return LeaseView(state.held, state.seen is not None, record, state.owned, state.fell, state.highest, self.error)

    def tell(self, event: lease.Event) -> None:
        self.rule, actions = rule.step(self.rule, event)
        for action in actions:
            if isinstance(action, (lease.Read, lease.Write)):
                self.call(action)
            elif isinstance(action, lease.Serve):
                self.report(values.Renewed(self.now, self.view()))
            elif isinstance(action, lease.Released):
                self.report(values.Released(self.now, self.view()))
            elif isinstance(action, lease.Demote):
                self.lost(action.reason)

    def lost(self, reason: str) -> None:
        held = self.tenure.lease.held
        assert held is not None
        done = self.report(values.Lost(self.now, self.view(), reason))
        assert any(isinstance(action, values.StopDependents) for action in done), "the dependents are not stopped"
        self.tally["lost to another node" if self.tenure.is_elsewhere else "lost"] += 1
        self.claims_for, since = "", self.now
        assert self.up_until <= held.deadline, "the kernel keeps the address for longer than the lease"
        if not self.taking_down:
            self.at(held.deadline, lambda: self.removed_since(since))

    def removed_since(self, since: float) -> None:
        assert self.took_down_at >= since, "the removal of the address is left to the kernel"

    def report(self, event: values.Event) -> tuple[values.Action, ...]:
        gone = isinstance(event, values.Done) and event.action is Do.TAKE_DOWN
        before = self.tenure
        self.tenure, actions = step(self.tenure, event)
        if gone:
            self.taking_down = self.going = False
        if isinstance(event, values.Requested) and before.removal is not None:
            self.tally["a request waits for a removal"] += 1
        for action in actions:
            self.do(action)
        return actions

    # --- what tenure wants -----------------------------------------------------------------------------------------------

    def do(self, action: values.Action) -> None:
        if isinstance(action, values.Finish):
            request = self.pending.pop(action.number)  # a second answer finds nothing
            assert self.now <= request.give_up + SOON, "the answer is late"
            outcome = "done" if action.error is None else action.error.kind
            self.tally[f"{request.kind.value}: {outcome}"] += 1
        elif isinstance(action, values.StopDependents):
            self.stop_dependents(action)
        elif isinstance(action, values.Prolong):
            assert not self.going, "an address that is to go is prolonged"
            self.at(self.now + self.dice.uniform(0, 0.01), lambda: self.prolong(action.restore_on))
        elif isinstance(action, values.ObserveAddress):
            self.at(self.now + self.dice.uniform(0, 0.01), self.observe)
        elif isinstance(action, values.ReleaseLease):
            self.going, self.claims_for = True, ""
            if self.rule.held is not None:
                self.released_at = self.now
            self.tell(lease.IntentChanged(self.now, lease.Intent.RELEASE, action.handoff_to))
        elif action is Do.CLAIM_LEASE:
            self.claim()
        elif action is Do.WATCH_LEASE:
            self.claims_for = ""
            self.tell(lease.IntentChanged(self.now, lease.Intent.WATCH))
        elif action is Do.TAKE_DOWN:
            self.take_down()
        elif action is Do.RECORD_OUT_OF_SERVICE:
            self.in_service = False
        elif action is Do.END_FENCE:
            self.tell(lease.Fenced(self.now))

    def claim(self) -> None:
        assert not self.taking_down, "a claim while the address is being removed"
        own = self.record is not None and self.record.holder == ME
        policy = self.claim_at == LONG_AGO or self.now >= max(self.claim_at, self.released_at + TIMING.wait(0.0))
        if any(request.kind is RequestKind.ACQUIRE for request in self.pending.values()):
            self.claims_for = "somebody asked"
        elif policy and not self.tenure.ending:
            self.claims_for = "the policy"
        else:
            assert own, "a claim that nobody wants"
            assert not self.tally["claims in this schedule"], "a claim of its own lease, long after the start"
            self.claims_for = "its own"
        self.tally["claims in this schedule"] += 1
        self.going = False
        self.tell(lease.IntentChanged(self.now, lease.Intent.CLAIM))

    def stop_dependents(self, action: values.StopDependents) -> None:
        self.going = True
        takes, hangs = self.dice.uniform(0, 1.5) if self.running else 0.0, self.faults and self.dice.random() < 0.1
        if not hangs:
            self.at(self.now + takes, lambda: setattr(self, "running", False))
        self.at(self.now + (30.0 if hangs else min(takes, action.limit)), lambda: self.report(values.Done(self.now, action)) and None)

    def take_down(self) -> None:
        assert not self.taking_down, "two removals at the same time"
        self.going = self.taking_down = True
        self.took_down_at = self.now
        if self.tenure.removal is not None and self.tenure.removal.request is not None:
            self.withdrawn_at = self.now
        fate = self.dice.random() if self.faults else 1.0
        self.at(self.now + (15.0 if fate < 0.04 else self.dice.uniform(0, 0.05)), lambda: self.taken_down(0.04 < fate < 0.12))

    def taken_down(self, fails: bool) -> None:
        if not fails:
            self.up_until = LONG_AGO
        self.report(values.Done(self.now, Do.TAKE_DOWN, NotConverged("it is still there") if fails and self.up_until > self.now else None))

    def observe(self) -> None:
        link = "eth0" if self.up_until > self.now else None
        self.report(values.AddressObserved(self.now, link, self.dice.random() < 0.5))

    def prolong(self, restore_on: str | None) -> None:
        up = self.up_until > self.now
        if not up and restore_on is None:
            self.report(values.Prolonged(self.now, None))
        elif self.grant():
            self.report(values.Prolonged(self.now, "eth0"))
            self.tally["prolonged" if up else "restored"] += 1
        else:
            before = self.tenure.removal
            self.report(values.Prolonged(self.now, trouble="too late", over=True))
            self.tally["prolonged too late"] += before is None and self.tenure.removal is not None

    def grant(self, permit: int | None = None) -> bool:
        """Whether the address gets a lifetime, by the same check as in the driver."""
        held = self.rule.held
        if held is None or refusal(self.tenure, permit):
            return False
        assert not self.going, "an address that is to go gets a lifetime"
        seconds = lease.valid_lft(held.deadline - TIMING.reserve, self.now)
        if seconds < 1:
            return False
        self.up_until = self.now + seconds
        self.tenure = replace(self.tenure, alive_until=self.up_until)
        return True

    # --- the store -----------------------------------------------------------------------------------------------------

    def call(self, action: lease.Read | lease.Write) -> None:
        write = isinstance(action, lease.Write)
        if isinstance(action, lease.Write):
            self.check_write(action)
        takes, fate = self.dice.uniform(0.001, TIMING.call), self.dice.random()
        if self.now < self.denied_until:
            self.at(self.now + 0.01, lambda: self.failed(write, lease.Outcome.NOT_SENT, ServiceError("the store denies it")))
        elif self.now < self.silent_until or fate < 0.03:
            if isinstance(action, lease.Write) and fate < 0.5:  # it takes effect, and that is not known
                self.at(self.now + takes / 2, lambda: self.put(action) and None)
            error = ServiceError("the store is silent", retryable=True, ambiguous=write)
            self.at(self.now + takes, lambda: self.failed(write, lease.Outcome.UNKNOWN, error))
        else:
            self.at(self.now + takes / 20, lambda: self.answer(action))

    def check_write(self, action: lease.Write) -> None:
        if not action.record.holder:
            assert self.up_until <= self.now, "the lease is released with the address up"
            assert not self.running, "the lease is released while a dependent runs"
        elif self.rule.held is None:
            wanted = self.claims_for == "its own" or (
                self.claims_for == "the policy" and (self.claim_at <= self.now or self.unwanted_since >= self.now)
            )
            asked = any(request.kind is RequestKind.ACQUIRE for request in self.pending.values())
            assert wanted or asked, f"the lease is acquired, and nobody wants it ({self.claims_for})"

    def put(self, action: lease.Write) -> bool:
        if action.expected != (self.token if self.record is not None else 0):
            return False
        self.record, self.token = action.record, self.token + 1
        return True

    def answer(self, action: lease.Read | lease.Write) -> None:
        self.error = None
        if isinstance(action, lease.Read):
            self.tell(lease.ReadEnded(self.now, lease.Reading(self.record, self.token if self.record is not None else 0)))
        else:
            written = self.put(action)
            self.tell(lease.WriteEnded(self.now, lease.Outcome.WRITTEN if written else lease.Outcome.CONFLICT, self.token if written else None))

    def failed(self, write: bool, outcome: lease.Outcome, error: HoldfastError) -> None:
        self.error = error
        self.tell(lease.WriteEnded(self.now, outcome) if write else lease.ReadEnded(self.now, None))

    # --- everybody else --------------------------------------------------------------------------------------------------

    def other_node(self) -> None:
        epoch, nonce = self.rule.highest + 1, f"other.{next(self.nonces)}"
        happens = self.dice.random()
        if happens < 0.1:
            self.record, self.token = None, self.token + 1
        elif happens < 0.5:
            self.record, self.token = Record(OTHER, epoch, nonce, ttl=self.dice.choice((4.0, 10.0))), self.token + 1
        elif self.record is not None and self.record.holder == OTHER:
            self.record, self.token = Record("", self.record.epoch, nonce, self.dice.choice(("", ME, ME, "node-c"))), self.token + 1
        self.tell(lease.RecordChanged(self.now))

    def outage(self) -> None:
        if self.dice.random() < 0.2:
            self.denied_until = self.now + self.dice.uniform(0.5, 3)
        else:
            self.silent_until = self.now + self.dice.uniform(1, 20)

    def policy(self) -> None:
        old = self.claim_at
        self.claim_at = self.dice.choice((NEVER, LONG_AGO, self.now, self.now + self.dice.uniform(0, 5)))
        if old <= self.now < self.claim_at:
            self.unwanted_since = self.now

    def ask(self, kind: RequestKind) -> None:
        if kind is RequestKind.RELEASE and self.dice.random() < 0.8:
            self.running = False  # as a playbook does first
        blocked = Refused("db.service is active") if self.running else None
        number, wait = next(self._numbers), self.dice.choice((0.0, 15.0)) if kind is RequestKind.ACQUIRE else 0.0
        request = values.Requested(self.now, number, kind, ResourceView(self.in_service, True), wait, self.dice.choice(("", OTHER)), blocked=blocked)
        self.pending[number] = request
        self.report(request)

    def repair(self) -> None:
        """A worker that puts the address up, and starts the dependents."""
        permit, begin = self.tenure.withdrawals, self.now

        def act() -> None:
            if not self.grant(permit):
                return
            assert self.withdrawn_at < begin or self.withdrawn_at == LONG_AGO, "the work of before a withdrawal puts the address up"
            self.tenure = left_longer(replace(self.tenure, serving=True, link="eth0"), self.now, self.now + 300)
            self.in_service = self.running = True
            self.tally["in service"] += 1

        self.at(self.now + self.dice.choice((0.0, 0.01, 1.0)), act)

    def somebody_removes_it(self) -> None:
        self.up_until = LONG_AGO

    def people(self, until: float) -> None:
        """What happens in a schedule."""
        kinds = (RequestKind.ACQUIRE, RequestKind.ACQUIRE, RequestKind.RELEASE, RequestKind.WITHDRAW, RequestKind.EXPIRE)
        asks = tuple((lambda kind=kind: self.ask(kind)) for kind in kinds)
        acts = (*asks, *asks, *[self.repair] * 12, *[self.policy] * 3, self.other_node, self.other_node, self.outage, self.somebody_removes_it)
        when = self.now
        while when < until:
            when += self.dice.expovariate(1.0)
            self.at(when, self.dice.choice(acts))

    def end(self) -> None:
        """The process hands over: the dependents have stopped."""
        self.silent_until = self.denied_until = LONG_AGO
        self.faults, self.running = False, False
        self.tenure = replace(self.tenure, ending=True)
        self.ask(RequestKind.RELEASE)


def test_schedules_in_virtual_time() -> None:
    tally: Counter[str] = Counter()
    for seed in range(250):
        world = World(seed, tally)
        tally["claims in this schedule"] = 0
        world.people(1090.0)
        try:
            world.run(1120.0)
            world.at(1130.0, world.end)
            world.run(1200.0)
            assert world.pending == {}, "a request was not answered"
            assert world.tenure.is_over, "the process does not come to its end"
            assert world.up_until <= world.now
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"seed {seed} at {world.now:.3f}: {error!r}; {world.tenure}") from error
    wanted = ("lost", "lost to another node", "in service", "prolonged", "a request waits for a removal")
    outcomes = [f"{kind.value}: {end}" for kind in RequestKind for end in ("done", "not_converged")] + ["acquire: refused", "release: refused"]
    assert [name for name in (*wanted, *outcomes) if tally[name] < 20] == [], tally
