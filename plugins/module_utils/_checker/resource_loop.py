# SPDX-License-Identifier: GPL-3.0-or-later
"""One resource, watched: what the looks find goes into the state machine, and what it wants is done (DESIGN.md sections 7 and 8).

Three threads: the loop, which looks at the kernel, decides and repairs what needs no more than the kernel; one that looks at EC2 and probes,
each of which may take seconds; and one for a run while there is one. The lease has a thread of its own (`holder`) and waits for none of them.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.announcements import Announcements
from ansible_collections.holdfast.ha.plugins.module_utils._checker.defects import Containment
from ansible_collections.holdfast.ha.plugins.module_utils._checker.dependents import Dependents, Standing, states
from ansible_collections.holdfast.ha.plugins.module_utils._checker.fast_path import FastPath, Foreseen
from ansible_collections.holdfast.ha.plugins.module_utils._checker.fence_watch import FenceWatch
from ansible_collections.holdfast.ha.plugins.module_utils._checker.health_checks import Ec2HealthChecker, look_by_probe
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_loop import LeaseLoop
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import LeaseUnit
from ansible_collections.holdfast.ha.plugins.module_utils._checker.local_repair import Reflexes, Repaired
from ansible_collections.holdfast.ha.plugins.module_utils._checker.netlink import ANYTHING, Change
from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics import Metrics
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import Request
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Ec2Parts, Health, Link, Resource
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import State as RuleState
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import condition, policy
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import INACTIVE, Ec2CheckResult, look_at_dependents, look_at_kernel
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import preference
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.claim import Candidate, Situation, claim_at
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import (
    LONG_AGO,
    NEVER,
    Action,
    CheckDone,
    CheckNow,
    CheckResult,
    Checks,
    Event,
    HoldOff,
    Lease,
    LeaseSeen,
    LinkRestored,
    LogEvent,
    OperatorRequest,
    Phase,
    Reflex,
    ReflexEnded,
    RunEnded,
    StartRun,
    State,
    Tick,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import advice_for
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure import STAYS
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import AddAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.managers import managers
from ansible_collections.holdfast.ha.plugins.module_utils._net.replies import Astray
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import is_switched_off
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun

Log = Callable[..., None]
#: Seconds after which the loop turns even if nothing is due, and until a request has to be answered beyond its own ``wait``.
_LONGEST_SLEEP, _PATIENCE = 5.0, 25.0
#: Seconds until EC2 is looked at again where it did not answer; doubled up to the usual interval.
_FIRST_PAUSE = 1.0
#: Seconds for which somebody who moves the address on this host is left alone with it: a process that dies costs no more.
_LONGEST_ASIDE = 120.0
#: Seconds that sending a call to EC2 may take: its time-out to connect.
_SENDING = 1.0
#: Seconds within which the looks of several resources at EC2 count as one.
_TOGETHER = 0.5
#: Seconds that a playbook may take beside its tasks: to start cold on a small machine, and from task to task.
_PLAYBOOK = 30.0
#: So many intervals between looks at EC2 pass until all routes are read again, where no gateway is known that could change the way of replies.
_SELDOM = 10
#: Seconds for which a look at the links is as good as a new one.
_FRESH = 0.05


@dataclass(frozen=True)
class CheckerContext:
    """What all resources of a checker share.

    :param run: Has the triggers run an order; ``None`` where there is no trigger.
    :param can_run: Whether a trigger runs that playbook at all. ``is_armed``: whether a run waits for an order.
    :param peers: What `Peers.describe` tells; ``None`` where there is no channel.
    :param nodes: Every node of the cluster.
    """

    node: str
    nodes: tuple[str, ...]
    checks: Checks
    reflex: bool
    log: Log
    eyes: Ec2HealthChecker
    memory: PersistentState
    metrics: Metrics
    run: Callable[[Order, threading.Event], Outcome] | None = None
    can_run: Callable[[str], bool] = lambda playbook: True
    is_armed: Callable[[], bool] = lambda: False
    peers: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    announce: Callable[[str, Mapping[str, Any]], None] = lambda tag, about: None


@dataclass
class _Job:
    """A request on its way through the loop. ``done`` when it is answered."""

    request: Request
    done: threading.Event = field(default_factory=threading.Event)
    error: HoldfastError | None = None

    def finish(self, error: HoldfastError | None = None) -> None:
        self.error = error
        self.done.set()


@dataclass(frozen=True)
class _Answered:
    """What these requests wait for was put before it."""

    jobs: tuple[_Job, ...]


@dataclass(frozen=True)
class _Ec2Snapshot:
    """What EC2 showed, and when. ``epoch``: of the lease that was held then; ``None`` on a standby, which sees less."""

    at: float
    epoch: int | None
    seen: Ec2CheckResult


@dataclass(frozen=True)
class _RunOver:
    """The end of a run, as its thread tells the loop."""

    outcome: Outcome


class ResourceLoop(threading.Thread):
    """The loop of one resource. Its other threads are started with it."""

    def __init__(self, holder: LeaseLoop, context: CheckerContext, clock: Callable[[], float] = boottime) -> None:
        super().__init__(name=f"watch {holder.tag}", daemon=True)
        self.tag, self.holder, self._context, self._clock = holder.tag, holder, context, clock
        self._address = holder.address
        self._permit = holder.permit
        self._reflexes = Reflexes(self._address, self._grant, self._gateway)
        paused = context.memory.is_paused(self.tag)
        may_run, may_switch = context.run is not None, context.can_run("switchover")
        self._machine = State(context.checks, clock(), may_reflex=context.reflex, may_run=may_run, may_switch=may_switch, paused=paused)
        self._inbox: queue.Queue[_Job | _Answered | _RunOver | Event | None] = queue.Queue()
        self._deep = threading.Event()
        self._ending = threading.Event()
        self._cancel = threading.Event()
        self._runner: threading.Thread | None = None
        self._run_of = ""
        self._waiters: list[_Job] = []
        self._link_indexes: tuple[int, ...] = ()
        self._expected: tuple[int, Any] | None = None
        #: What would be done first if the address went.
        self._foresight = FastPath()
        self._first: AddAddress | None = None
        self._was_foreseen = False
        #: By fault, until when it is known that nothing would change the link of the replies.
        self._replies_known_until: dict[Fault, float] = {}
        #: The private address that the Elastic IP is associated with here, as EC2 said last.
        self._elastic_ip_on: Address | None = None
        self._announcements = Announcements()
        self._link_up: bool | None = None
        self._reachable, self._is_back = False, False
        self._sight: _Ec2Snapshot | None = None
        self._dependents: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._last_at = 0.0
        self._fault_at: float | None = None
        self._better: tuple[str, float] | None = None
        self._trouble = ""
        self._seen: tuple[float, NetState] | None = None
        #: Links on which a probe was answered.
        self._answered: set[str] = set()
        self._next_look = clock()
        self._looks_wanted = threading.Event()
        self.turned_at = clock()
        holder.claim_at, holder.changed = self._claim_at, self.wake
        holder.remember = lambda epoch, orderly: context.memory.remember_epoch(self.tag, epoch, orderly)
        holder.was_orderly = lambda epoch: context.memory.came_orderly(self.tag, epoch)
        self._grace = clock() + self._grace_left()
        self.dependents = Dependents(
            self.tag,
            MayRun(self._address.files.states, self.tag),
            known=self._address.known,
            standing=self._standing,
            run=context.run if context.can_run("dependents") else None,
            log=context.log,
            end_run=self._end_run,
            out_of_service=holder.out_of_service,
            timing=holder.state.timing,
            clock=clock,
        )
        holder.stop_dependents, holder.confirm_stopped = self.stop_dependents, self.dependents.confirm_stopped
        self._lease_unit = LeaseUnit(self.tag, run_command, context.log)
        if not holder.alone and self._has_units():
            holder.deadline_moved = self._limit_units
        self._fence = FenceWatch(self.tag, context.log)
        self._fence_contained = Containment(f"fence {self.tag}", context.log)
        self._ec2_contained = Containment(f"ec2 {self.tag}", context.log)
        self._probe_contained = Containment(f"probe {self.tag}", context.log)
        self._dependents_contained = Containment(f"dependents {self.tag}", context.log)
        self._deep_thread = threading.Thread(target=self._look_deep, name=f"ec2 {self.tag}", daemon=True)

    # --- for other threads ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """See at once how things stand."""
        self._inbox.put(None)

    def on_change(self, change: Change) -> None:
        """The kernel reports something: look, where it concerns this resource and is not of its own making."""
        if change.held is not None:
            expected = self._expected
            if expected is not None:
                if change.held.address.ip != expected[1].ip:
                    return
                if not change.gone and (change.index, change.held.address) == expected and not change.held.dadfailed:
                    return  # its lifetime was prolonged
        elif change.index and self._link_indexes and change.index not in self._link_indexes:
            return
        self._foresight.meet(change)
        if change == ANYTHING:
            self._replies_known_until.clear()
        self._looks_wanted.set()
        self.wake()

    def ask(self, request: Request) -> None:
        """Have it done. Raises why it was not; a run that goes on beyond ``wait`` is no error."""
        job = _Job(request)
        self._inbox.put(job)
        patience = request.wait if request.op in ("recover", "switchover") else request.wait + _PATIENCE
        if not job.done.wait(patience + (2.0 if request.op in ("recover", "switchover") else 0.0)):
            if request.op in ("recover", "switchover"):
                return
            raise NotConverged(f"the checker is busy with {self.tag}; see its log, and ask again")
        if job.error is not None:
            raise job.error

    @property
    def is_turning(self) -> bool:
        """Whether its threads live."""
        return self.is_alive() and (self._deep_thread.is_alive() or self._ending.is_set())

    @property
    def paused(self) -> bool:
        """Whether nothing is to be done."""
        return self._machine.paused

    @property
    def is_held_without_store(self) -> bool:
        """Whether the lease is held here while the store does not answer."""
        return self.holder.state.held is not None and bool(self.holder.store_error)

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return self._machine.work is not None

    def stop(self) -> None:
        """Begin nothing any more, and call off what runs. Safe to repeat."""
        self._ending.set()
        self._cancel.set()
        self._deep.set()
        self.wake()

    def wait_for_run(self, limit: float) -> None:
        """Until a run that was called off has ended, so many seconds at most."""
        if self._runner is not None:
            self._runner.join(limit)

    def stop_time(self) -> float:
        """How many seconds its dependents may take to stop, by their own time-outs and by what a playbook takes; 0 where none may run here."""
        try:
            known = self._address.known()
        except HoldfastError:
            return 0.0
        dependents = known.resource.dependents if known.resource is not None else ()
        if not (self.dependents.may_run or known.in_service):
            return 0.0
        return sum(one.timeout for one in dependents) + (_PLAYBOOK if any(one.tasks for one in dependents) else 0.0)

    def stop_dependents(self, limit: float, *, for_good: bool = False) -> bool:
        """Call off what runs, stop what needs the address, and wait for that so many seconds at most. Whether all has stopped.

        :param for_good: This process ends.
        """
        self._cancel.set()
        return self.dependents.stop(limit, for_good=for_good)

    def _has_units(self) -> bool:
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return False
        return resource is not None and any(one.service for one in resource.dependents)

    def _limit_units(self, deadline: float | None) -> None:
        self._lease_unit.set_deadline(None if deadline is None else self.holder.state.timing.stop_from(deadline))

    def _standing(self) -> Standing:
        state = self.holder.state
        held, record = state.held, state.seen.record if state.seen else None
        return Standing(
            alone=self.holder.alone,
            until=state.timing.stop_from(held.deadline) if held is not None else None,
            grace=self._grace,
            gone=record is not None and not state.me.owns(record),
        )

    def _grace_left(self) -> float:
        """In how many seconds the dependents of a lease that the process before this one held have to begin to stop.

        Its address lives no longer than its lease, apart from the rounding to whole seconds. Where there is no address, the lease may be over: then
        this is the time that a first reading and a renewal take. It is not less than that.
        """
        timing = self.holder.state.timing
        try:
            lives = [held.valid_lft for _link, held in self._address.places()]
            left = max((timing.hold if one is None else one + 1.0 for one in lives), default=0.0)
        except HoldfastError:
            left = 0.0
        return max(timing.stop_from(min(timing.hold, left)), 2 * timing.call)

    def _end_run(self, limit: float) -> bool:
        runner = self._runner
        if runner is None or not runner.is_alive():
            return False
        self._cancel.set()
        runner.join(limit)
        return True

    def start(self) -> None:
        """The loop and the thread that looks at EC2."""
        self.dependents.adopt()
        super().start()
        self._deep_thread.start()

    # --- the loop ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop`."""
        while not self._ending.is_set():
            self.turned_at = now = self._clock()
            if now >= self._next_look or self._looks_wanted.is_set():
                self._look()
            self._emit(LeaseSeen(self._clock(), self._lease()))
            self.dependents.tend()
            self._announce()
            self._tell_peers()
            self._foresight.sleep(self._foresee())
            due = min(policy.due(self._machine, now), self.dependents.due(), self._announcements.due)
            timeout = min(self._next_look, due, now + _LONGEST_SLEEP) - self._clock()
            try:
                item = self._inbox.get(timeout=max(0.0, timeout))
                self._foresight.wake_up()
            except queue.Empty:
                self._foresight.wake_up()
                self._emit(Tick(self._clock()))
                continue
            while True:  # what has come meanwhile is seen together
                self._take(item)
                try:
                    item = self._inbox.get_nowait()
                except queue.Empty:
                    break

    def _take(self, item: _Job | _Answered | _RunOver | Event | None) -> None:
        if isinstance(item, _Job):
            try:
                self._begin(item)
            except HoldfastError as error:
                item.finish(error)
        elif isinstance(item, _Answered):
            for job in item.jobs:
                job.finish()
        elif isinstance(item, _RunOver):
            self._run_over(item.outcome)
        elif item is not None:
            self._emit(item)

    def _emit(self, event: Event) -> None:
        """One step of the machine, and what it wants."""
        before = condition.health(self._machine)
        self._machine, actions = policy.step(self._machine, event)
        self._measure(before)
        for action in actions:
            self._do(action)

    def _measure(self, before: Health) -> None:
        after, now = condition.health(self._machine), self._clock()
        if after is Health.FAILED and self._fault_at is None and self.holder.serving:
            self._fault_at = now
        elif after is Health.HEALTHY and self._fault_at is not None:
            if before is not Health.HEALTHY:
                self._context.metrics.outage(self.tag, now - self._fault_at)
            self._fault_at = None

    def _do(self, action: Action) -> None:
        if isinstance(action, LogEvent):
            self._context.log(action.event, tag=self.tag, **action.facts)
        elif isinstance(action, CheckNow):
            self._next_look = self._clock()
            self._deep.set()
        elif isinstance(action, Reflex):
            self._reflex(action)
        elif isinstance(action, StartRun):
            self._start_run(action)

    def _look(self) -> None:
        """At the kernel."""
        self._looks_wanted.clear()
        self._next_look = self._clock() + self._context.checks.interval
        try:
            known, net = self._address.known(), self._address.kernel.links()
        except HoldfastError as error:
            self._note(error.message)
            return
        self._note(self._address.known.trouble)
        link = net.find(known.interface)
        self._was_foreseen = self._foresight.take() and link is not None and link.up
        if self._was_foreseen:
            net = self._address.without(net)  # it went, and what follows is as if it were not back already
        backup = net.find(known.backup_interface) if known.backup_interface else None
        self._link_indexes = tuple(one.index for one in (link, backup) if one is not None)
        self._seen = (self._clock(), net)
        self._expected = (link.index if link else 0, known.address)
        self._link_up = link is not None and link.up
        switchable = is_switched_off(known.interface, net)  # a takeover switches it on
        reachable = switchable or any(one is not None and one.up for one in (link, backup))
        self._is_back = reachable and (self._is_back or not self._reachable)
        self._reachable = reachable
        record = self.holder.state.seen.record if self.holder.state.seen else None
        elsewhere = record is not None and record.holder not in ("", self._context.node)
        held = self.holder.state.held is not None
        self._first = self._address.foresee(net) if held and self._context.reflex else None
        self._observe_announced(known, net)
        if held and not self.holder.serving and not self.holder.handed and self._clock() < self.holder.hands_off_until:
            return  # somebody takes it up or down at this moment
        if held and self.holder.serving and self._clock() < self._machine.aside_until:
            return  # somebody moves it
        if self.holder.alone and held and not self.holder.serving and known.in_service and (place := next(net.places(known.address), None)):
            self.holder.serve(place[0].name)  # a playbook put it up: where there is no lease, it does so without asking
        look = look_at_kernel(known, net, held=held, elsewhere=elsewhere)
        if link is not None and held and self.holder.serving and look.health is Health.HEALTHY:
            look = self._look_at_replies(link, net)
        self._context.metrics.check(self.tag, look.health.value)
        self._emit(LeaseSeen(self._clock(), self._lease()))  # read after the kernel: what is being given up in order is no fault
        self._emit(CheckDone(self._clock(), look))
        if self._is_back:
            self._is_back = False
            self._emit(LinkRestored(self._clock()))

    def _observe_announced(self, known: EffectiveResource, net: NetState) -> None:
        """Whether the address is in service on its interface, so that its neighbours are to know."""
        now, held = self._clock(), self.holder.state.held
        serves = held is not None and self.holder.serving and now >= self._machine.aside_until
        places = [link for link, at in net.places(known.address) if link.name == known.interface and link.up and link.arp and not at.dadfailed]
        interval = (known.resource or Resource).announce_interval
        self._announcements.observe(places[0] if serves and places else None, held.epoch if held is not None else 0, interval, now)

    def _announce(self) -> None:
        """Announce the address again when that is due. A link that fails at this moment is the next look's concern."""
        now, link, permit = self._clock(), self._announcements.link, self.holder.permit
        if link is None or now < self._announcements.due:
            return
        self._announcements.announced(now)
        try:
            self._address.announce(link, lambda act: self.holder.within_lease(act, permit))
        except HoldfastError:
            pass

    def _look_at_replies(self, link: Link, net: NetState) -> CheckResult:
        """Whether they leave by the link of the address; also those of the Elastic IP, where it is associated with another address of that link."""
        own = self._elastic_ip_on
        there = own is not None and any(held.address.ip == own.ip for held in link.addresses)
        wanted = ((Fault.SOURCE_ROUTE, None), *(((Fault.ELASTIC_IP_SOURCE_ROUTE, own),) if there else ()))
        found = [(fault, why, of) for fault, of in wanted if (why := self._astray(fault, of, link, net)) is not None]
        reasons = tuple(why.reason if of is None else f"the Elastic IP is associated with {of.host}: {why.reason}" for _fault, why, of in found)
        faults = tuple(fault for fault, why, _of in found if why.repairable)
        if found and not faults:  # somebody else's rule, which may be meant: told, and nothing is done
            return CheckResult("kernel", Health.UNKNOWN, (), reasons)
        return CheckResult("kernel", Health.FAILED if faults else Health.HEALTHY, faults, reasons)

    def _astray(self, fault: Fault, of: Address | None, link: Link, net: NetState) -> Astray | None:
        """Why replies leave by another link. Where nothing would change that, it is not asked at each look, unless a rule changes."""
        now = self._clock()
        try:
            if now < self._replies_known_until.get(fault, LONG_AGO) or self._address.replies_by(link, net, of):
                return None
            gateway = self._gateway(link.name)
            astray = self._address.astray(gateway, of)
        except HoldfastError:
            return None
        if astray is None:
            self._replies_known_until[fault] = now + self._context.checks.deep_interval * (1 if gateway else _SELDOM)
        return astray

    def _lease(self) -> Lease:
        held, record = self.holder.state.held, self.holder.state.seen.record if self.holder.state.seen else None
        return Lease(
            held=held is not None,
            epoch=held.epoch if held else 0,
            since=self.holder.since,
            taken=self.holder.taken,
            serving=self.holder.serving,
            in_service=self._in_service(),
            elsewhere=record is not None and record.holder not in ("", self._context.node),
            hands_off_until=self.holder.hands_off_until,
            handed=self.holder.handed,
            better=self._better_node(),
            standby=self._standby(),
            fence_first=self.holder.fence_first(),
            on_ec2=self._has_ec2(),
        )

    def _in_service(self) -> bool | None:
        try:
            return self._address.known().in_service
        except HoldfastError:
            return None

    def _foresee(self) -> Foreseen | None:
        """What is to be done at once, whoever sees it first, if the address goes before this loop turns again."""
        first, permit = self._first, self.holder.permit
        if first is None or self._expected is None or self._ending.is_set() or not policy.would_put_back(self._machine, self._clock()):
            return None
        return Foreseen(self._expected[0], first.address, lambda: self._address.add(first, lambda give: self.holder.grant(give, permit)))

    # --- repairs -------------------------------------------------------------------------------------------------------

    def _reflex(self, action: Reflex) -> None:
        begin, self._permit = self._clock(), self.holder.permit
        outage, ok = action.faults, True
        try:
            unique = Fault.TAKEOVER in action.faults and not self.holder.handed and self.holder.taken
            fresh = self._seen is not None and begin - self._seen[0] < _FRESH
            seen = self._seen[1] if self._seen is not None and fresh else None
            done = self._reflexes.repair(action.faults, unique=unique, seen=seen, own=self._elastic_ip_on)
            self._served(done)
            what, message = done.what, ""
        except LeaseOver as over:
            ok, what, message = False, "nothing", over.message
        except HoldfastError as error:
            ok, what, message = False, "tried to repair it in the kernel", error.message
        took = self._clock() - begin
        name = "takeover" if Fault.TAKEOVER in outage else "reflex"
        more = {**({"message": message} if message else {}), **({"foreseen": True} if self._was_foreseen else {})}
        self._context.log(name, tag=self.tag, ok=ok, what=what, faults=list(outage), seconds=round(took, 4), **more)
        self._over(ok, took, what, message)
        self._looks_wanted.set()
        self._look()
        self._emit(LeaseSeen(self._clock(), self._lease()))
        self._emit(ReflexEnded(self._clock(), ok))

    def _grant(self, give: Callable[[int], None]) -> int:
        return self.holder.grant(give, self._permit)

    def _served(self, done: Repaired) -> None:
        if done.serving is not None:
            self.holder.serve(done.serving, self._permit)

    def _start_run(self, action: StartRun) -> None:
        run = self._context.run
        variables = {"to": action.to} if action.to else {}
        if action.playbook == "recover" and self.holder.fence_first():
            variables["holdfast_expired"] = "true"
        undone = condition.undone_in_kernel(self._machine)
        reason = self._with_managers(undone) if action.reason == undone else action.reason
        order = Order(self.tag, action.playbook, reason, action.faults, variables)
        self._cancel, self._run_of = threading.Event(), action.playbook
        cancel = self._cancel
        if self._ending.is_set():
            cancel.set()

        def go() -> None:
            if run is None:
                outcome = Outcome(False, "none", "no trigger is set; give the role holdfast.ha.monitor at least one", 0.0)
            else:
                outcome = run(order, cancel)
            self._inbox.put(_RunOver(outcome))

        self._runner = threading.Thread(target=go, name=f"run {self.tag}", daemon=True)
        self._runner.start()

    def _with_managers(self, undone: str) -> str:
        """Why repairs do not stay, with the programs that configure the interface: one of them may be what undoes the repairs."""
        index = self._expected[0] if self._expected is not None else 0
        names = " and ".join(managers(index)) if undone else ""
        return f"{undone}; {self._address.known().interface} is managed by {names}, see the guide Network managers" if names else undone

    def _run_over(self, outcome: Outcome) -> None:
        self._context.metrics.recovery(self.tag, outcome.ok, outcome.seconds)
        self._over(outcome.ok, outcome.seconds, f"{self._run_of} by {outcome.trigger}", outcome.message)
        if self.holder.state.held is not None:
            self.holder.hands_off_until = LONG_AGO  # what was done to the resource through the socket, this run did
        if self._machine.aside_until > self._clock() and not outcome.ok:
            self._emit(HoldOff(self._clock(), self._clock()))  # one that was killed in the middle of a move does not say that it is over
        if self.holder.alone:
            self.holder.renew()  # what the run put up has no end from then on
        self._next_look = self._clock()
        self._emit(LeaseSeen(self._clock(), self._lease()))
        self._emit(RunEnded(self._clock(), outcome.ok, random.random(), outcome.final))
        self._look()
        waiters, self._waiters = tuple(self._waiters), []
        if waiters:
            self._answer_after_looks(waiters)

    def _over(self, ok: bool, seconds: float, what: str, message: str) -> None:
        self._last_at = self._clock()
        self._last = {"seconds": round(seconds, 3), "ok": ok, "what": what, "message": message}

    # --- what people and playbooks want --------------------------------------------------------------------------------

    def _begin(self, job: _Job) -> None:
        op = job.request.op
        if op == "serve":
            self._serve(job.request.gateway)
        elif op == "move":
            self._move()
        elif op == "stand_aside":
            now = self._clock()
            self._emit(HoldOff(now, now + min(job.request.wait, _LONGEST_ASIDE)))
        elif op in ("pause", "resume"):
            self._context.memory.set_paused(self.tag, op == "pause")
            self._emit(OperatorRequest(self._clock(), op))
        elif op == "check":
            self._check(job)
            return
        elif op in ("recover", "switchover"):
            self._ask_for_run(job)
            return
        job.finish()

    def _serve(self, gateway: str | None) -> None:
        if self.holder.state.held is None:
            raise Refused(f"this node does not hold the lease of {self.tag}; acquire it first")
        self._permit = self.holder.permit
        self._address.bring_up(self._grant, gateway or self._gateway(self._address.known().interface))
        self.holder.serve(self._address.known().interface, self._permit)
        self.holder.at_work()
        self._context.log("serve", tag=self.tag)
        self._looks_wanted.set()

    def _move(self) -> None:
        if self.holder.state.held is None or not self.holder.serving:
            raise Refused(f"{self.tag} is not in service here, so there is nothing to move")
        self._permit = self.holder.permit
        self._served(self._reflexes.move())
        self._context.log("moved", tag=self.tag, to=self._address.known().interface)
        self._looks_wanted.set()
        self._deep.set()

    def _check(self, job: _Job) -> None:
        """Looked at by the loop, and by a thread of its own, so that EC2 holds up nobody."""
        self._look()
        self._answer_after_looks((job,))

    def _answer_after_looks(self, jobs: tuple[_Job, ...]) -> None:
        """What is told of the resource then is as it is now on EC2 too."""

        def look() -> None:
            self._look_once()
            self._inbox.put(_Answered(jobs))

        threading.Thread(target=look, name=f"check {self.tag}", daemon=True).start()

    def _ask_for_run(self, job: _Job) -> None:
        if self._machine.paused:
            raise Refused(f"{self.tag} is paused, so nothing is done to it; resume it first: holdfast resume {self.tag}")
        if self.holder.alone and job.request.op == "switchover":
            raise Refused(f"{self.tag} cannot be switched over: {STAYS}")
        if self._context.run is None:
            raise Refused("no trigger is set, so there is nothing that could run; give the role holdfast.ha.monitor at least one")
        op = job.request.op
        if not self._context.can_run(op):
            raise Refused(f"no trigger of this node can run {op}; add one of type playbook, or run holdfast.ha.{op} from a controller")
        work = self._machine.work
        if work is not None and (job.request.op == "switchover" or work.kind == "reflex"):
            raise Refused(f"a {work.kind} of {self.tag} is under way; ask again when it has ended")
        self._waiters.append(job)
        if work is None:
            self._emit(OperatorRequest(self._clock(), job.request.op, job.request.to))

    # --- EC2, probe, dependents ----------------------------------------------------------------------------------------

    def _look_deep(self) -> None:
        """The thread for looks that take a while."""
        deep_at, pause = self._clock(), _FIRST_PAUSE
        while not self._ending.is_set():
            now = self._clock()
            asked = self._deep.is_set()
            if asked or now >= deep_at:
                self._deep.clear()
                self._look_once(None if asked else deep_at - _TOGETHER)
                failed = self._sight is not None and bool(self._sight.seen.error)
                interval = self._context.checks.deep_interval
                deep_at = self._context.eyes.next_look(interval)
                if failed:  # one call that was not answered is no reason not to be ready for half a minute
                    deep_at = min(deep_at, self._clock() + pause)
                pause = min(2 * pause, interval) if failed else _FIRST_PAUSE
            else:
                self._probe()
                if self._epoch() is not None:  # a standby only shows them, and starts no program for that at each interval
                    self._look_at_dependents()
            self._deep.wait(max(0.05, min(self._context.checks.interval, deep_at - self._clock())))

    def _look_once(self, since: float | None = None) -> None:
        try:
            known = self._address.known()
        except HoldfastError:
            return
        parts, epoch = known.resource.ec2 if known.resource else None, self._epoch()
        if parts is not None:
            sight = self._ec2_contained.run(
                lambda: self._context.eyes.look(known, parts, active=epoch is not None, since=since),
                lambda cause: Ec2CheckResult(cause, elastic_ip=parts.elastic_ip),
            )
            self._sight = _Ec2Snapshot(self._clock(), epoch, sight)
            if not sight.error:
                other = sight.elastic_ip_on not in (None, known.address.host)
                self._elastic_ip_on = Address.parse_loosely(str(sight.elastic_ip_on)) if other else None
            self._context.metrics.check(self.tag, sight.look.health.value)
            if epoch is not None:
                self._inbox.put(CheckDone(self._clock(), sight.look, epoch))
                if not sight.error:
                    self._fence_contained.run(lambda: self._verify_fence(known, parts, epoch), lambda cause: None)
        self._look_at_dependents()
        if known.resource is not None and not self.holder.alone:
            running = any(one["state"] not in INACTIVE for one in self._dependents if one["kind"] == "service")
            self._lease_unit.bind(known.resource.dependents, held=epoch is not None, running=running)
        self._probe(known)

    def _verify_fence(self, known: EffectiveResource, parts: Ec2Parts, epoch: int) -> None:
        """Whether the old holder is still fenced, while that matters; see `fence_watch`."""
        fenced, now, checks = known.state.fenced if known.state else None, self._clock(), self._context.checks
        wanted = known.resource is not None and known.resource.fence == "source_dest_check" and not self._machine.paused
        peers = self._context.peers() if self._context.peers is not None else ()
        seconds = now - self.holder.since
        if fenced is not None and wanted and self._fence.applies(fenced, epoch, peers, seconds=seconds, hold_down=checks.hold_down):
            eyes = self._context.eyes
            self._fence.verify(fenced, lambda eni: eyes.interface(parts, eni, now), lambda: eyes.client(parts), lambda: self._may_change_ec2(epoch))

    def _may_change_ec2(self, epoch: int) -> bool:
        """Whether the lease of that epoch is held, and for long enough to send one call."""
        held = self.holder.state.held
        return held is not None and held.epoch == epoch and held.deadline - self._clock() > _SENDING and not self._ending.is_set()

    def _look_at_dependents(self) -> None:
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return
        if resource is None or not resource.dependents:
            return
        epoch, meant = self._epoch(), self.dependents.are_meant_to_run
        self._dependents = self._dependents_contained.run(lambda: states(resource.dependents), lambda cause: self._dependents)
        if epoch is None or not self.holder.serving or not self._in_service() or self.holder.alone:
            return
        units = {one.service: seen["state"] for one, seen in zip(resource.dependents, self._dependents) if one.service}
        look = look_at_dependents(units, meant_to_run=meant and self.dependents.are_meant_to_run)
        if look is not None:
            self._inbox.put(CheckDone(self._clock(), look, epoch))

    def _probe(self, known: EffectiveResource | None = None) -> None:
        epoch = self._epoch()
        if epoch is None or not self.holder.serving or not self._link_up or self._clock() < self._machine.aside_until:
            return
        try:
            here = known or self._address.known()
            answered = here.interface in self._answered
            look = self._probe_contained.run(
                lambda: look_by_probe(here, self._address.kernel.links(), answered=answered),
                lambda cause: CheckResult("probe", Health.UNKNOWN, (), (cause,)),
            )
        except HoldfastError:
            return
        if look is not None and look.health is Health.HEALTHY:
            self._answered.add(here.interface)
        if look is not None and self.holder.serving:
            self._inbox.put(CheckDone(self._clock(), look, epoch))

    def _epoch(self) -> int | None:
        held = self.holder.state.held
        return held.epoch if held else None

    def _gateway(self, link: str) -> str | None:
        known = self._address.known()
        if known.resource is None:
            return None
        if known.resource.gateway is not None:
            return known.resource.gateway
        return self._context.eyes.gateway(link) if known.resource.ec2 is not None and known.address.version == 4 else None

    # --- who takes the lease -------------------------------------------------------------------------------------------

    def readiness(self) -> tuple[bool, str]:
        """Whether this node could take the resource over, and if not, why."""
        if self._trouble:
            return False, self._trouble
        if not self._reachable:
            try:
                known = self._address.known()
            except HoldfastError as error:
                return False, error.message
            return False, f"{known.interface} and {known.backup_interface} are down" if known.backup_interface else f"{known.interface} is down"
        if self.holder.store_error:
            return False, f"the lease cannot be read: {self.holder.store_error}"
        if self.holder.state.seen is None:
            return False, "the lease has not been read yet"
        if self._has_ec2():
            if self._sight is None:
                return False, "EC2 has not been asked yet"
            if self._sight.seen.error:
                return False, f"EC2: {self._sight.seen.error}"
            if self._sight.seen.refusal:
                return False, f"EC2: {self._sight.seen.refusal}"
        return True, ""

    def _has_ec2(self) -> bool:
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return False
        return resource is not None and resource.ec2 is not None

    def _claim_at(self, state: RuleState) -> float:
        """See `machine_claim.claim_at`. Called by the holder's thread."""
        if self._ending.is_set():
            return NEVER
        try:
            known = self._address.known()
        except HoldfastError:
            return NEVER
        resource = known.resource
        able = self._able()
        record = state.seen.record if state.seen else None
        priorities = resource.priority if resource is not None else {}
        situation = Situation(
            me=self._context.node,
            priority=priorities.get(self._context.node),
            willing=able and not self._machine.paused and self.readiness()[0],
            going_on=able,
            seen=state.seen is not None,
            record=record,
            owned=state.owned,
            since=state.since,
            free_at=state.free_at(),
            others=tuple(self._candidates(priorities)),
        )
        return claim_at(situation, state.timing)

    def _able(self) -> bool:
        """Whether a takeover is finished here by itself; otherwise it is for a person, or a run from elsewhere, to begin it."""
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return False
        return self._context.run is not None or (resource is not None and resource.ec2 is None and not resource.dependents)

    def _takes_over(self, ready: bool) -> bool:
        """Whether what is handed to this node is in service at once, by the reflex and the run that waits."""
        return ready and self._context.reflex and not self._machine.paused and self._context.is_armed()

    def _candidates(self, priorities: Mapping[str, int]) -> list[Candidate]:
        told = {str(one["node"]): one for one in self._context.peers()} if self._context.peers is not None else {}
        found = []
        for name in {*self._context.nodes, *told} - {self._context.node}:
            about = told.get(name)
            able = about is None or self._is_ready(about)
            found.append(Candidate(name, priorities.get(name), able))
        return found

    def _better_node(self) -> tuple[str, float] | None:
        """For failback: a ready node of better priority, and since when."""
        try:
            resource = self._address.known().resource
        except HoldfastError:
            resource = None
        if resource is None or resource.failback != "automatic" or self._context.peers is None or self.holder.state.held is None:
            self._better = None
            return None
        mine = preference(resource.priority.get(self._context.node), self._context.node)
        better = [one for one in self._candidates(resource.priority) if one.able and preference(one.priority, one.node)[0] < mine[0]]
        best = min(better, key=lambda one: preference(one.priority, one.node), default=None)
        if best is None:
            self._better = None
        elif self._better is None or self._better[0] != best.node:
            self._better = (best.node, self._clock())
        return self._better

    def _standby(self) -> str:
        """The other node that says it is ready and is preferred most; empty where none is heard of."""
        if self._context.peers is None or self.holder.state.held is None:
            return ""
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return ""
        priorities = resource.priority if resource is not None else {}
        ready = [str(one["node"]) for one in self._context.peers() if self._is_ready(one)]
        return min(ready, key=lambda name: preference(priorities.get(name), name), default="")

    def _is_ready(self, about: Mapping[str, Any]) -> bool:
        """Whether another node says that it could take the resource over."""
        mine = about["resources"].get(self.tag)
        return bool(about["alive"] and mine is not None and mine.get("ready") and not mine.get("paused"))

    def _tell_peers(self) -> None:
        ready, reason = self.readiness()
        if ready and not self._able():
            ready, reason = False, "it has no trigger, so nobody would finish a takeover there"
        about = {"ready": ready, "reason": reason, "priority": self._priority(), "held": self._epoch() is not None, "epoch": self._epoch()}
        self._context.announce(self.tag, {**about, "paused": self._machine.paused})

    def _priority(self) -> int | None:
        try:
            resource = self._address.known().resource
        except HoldfastError:
            return None
        return resource.priority.get(self._context.node) if resource is not None else None

    # --- status --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """How things stand, as another thread sees it."""
        now, state = self._clock(), self._machine
        told: dict[str, Any] = {**self.holder.status()}
        ready, reason = self.readiness()
        health = condition.health(state)
        active = bool(told["held"])
        known: EffectiveResource | None
        try:
            known = self._address.known()
        except HoldfastError as error:
            known, told["error"] = None, error.message
        next_at = max((at for at in (state.next_at, condition.held_down_until(state)) if at > now), default=None)
        left = state.aside_until - now
        aside = [f"somebody on this host moves its address, so it is left alone, for {left:.0f} s at most"] if active and left > 0 else []
        undone = [text] if active and (text := self._with_managers(condition.undone_in_kernel(state))) else []
        stopping = ["its dependents have to stop here, and may still run"] if self.dependents.is_stopping else []
        waiting = state.phase in (Phase.BACKING_OFF, Phase.HELD_DOWN)
        parts = known.resource.ec2 if known is not None and known.resource is not None else None
        sight = self._sight
        present = sight is not None and sight.epoch == (told["epoch"] if active else None)  # else it shows another role, or another time
        told.update(
            role="active" if active else "standby",
            phase=state.phase.value,
            health=health.value,
            reasons=[*condition.reasons(state), *undone, *aside, *stopping],
            faults=list(condition.faults(state)),
            address=str(known.address) if known else None,
            interface=known.interface if known else None,
            backup_interface=known.backup_interface if known else None,
            interface_up=self._link_up,
            ec2=sight.seen.shown(now - sight.at) if parts is not None and sight is not None and present else None,
            dependents=self._dependents,
            in_service=known.in_service if known else None,
            ready=ready,
            ready_reason=reason,
            takes_over=self._takes_over(ready),
            priority=self._priority(),
            last_recovery={"ago": round(now - self._last_at, 1), **self._last} if self._last is not None else None,
            next_attempt_in=round(next_at - now, 1) if waiting and next_at is not None else None,
            flapping=condition.is_flapping(state, now),
            paused=state.paused,
            ordered=condition.ordered(state),
            peers=self._peers(),
        )
        told["advice"] = self._advice(health, active) or advice_for(told)
        return told

    def _peers(self) -> list[dict[str, Any]]:
        found = []
        for one in self._context.peers() if self._context.peers is not None else ():
            about = one["resources"].get(self.tag, {})
            shown = {name: about.get(name) for name in ("ready", "reason", "priority", "held")}
            if shown["ready"] and about.get("paused"):
                shown.update(ready=False, reason=f"it is paused there; see holdfast resume {self.tag}")
            found.append({"node": one["node"], "alive": one["alive"], **shown})
        return found

    def _advice(self, health: Health, active: bool) -> str:
        if active and health is Health.UNKNOWN and self._sight is not None and self._sight.seen.lacking:
            return "do what the reason says; no run can repair that"
        if active and health is Health.FAILED and not self._machine.may_run and not self._machine.paused:
            return "no trigger is set, so only what the kernel can do is repaired; see to it, or set one with the role holdfast.ha.monitor"
        return ""

    def _note(self, trouble: str) -> None:
        """Log a trouble once, and its end."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._context.log("trouble" if trouble else "well", tag=self.tag, **({"reason": trouble} if trouble else {}))
