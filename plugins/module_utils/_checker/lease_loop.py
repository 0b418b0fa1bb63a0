# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread of one lease: it gives the rule its turns, reports to the tenure, and carries out the tenure's actions (DESIGN.md section 6).

What is done is decided in `_lifecycle.tenure`. This thread waits for the store, the kernel and, once the lease is lost, for the dependents.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_gate import LeaseGate
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import Request
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Intent, Notice, Serve
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import State as RuleState
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import tenure_values as values
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER, LogEvent
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure_values import PATIENCE, Do
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import learn

#: Seconds after which the thread turns even if nothing is due.
_LONGEST_SLEEP = 5.0
Log = Callable[..., None]


class Job:
    """A request on its way through the thread of the lease. Without one it only wakes the thread.

    :param blocked: See `tenure_values.Requested`. ``last``: the thread ends with it.
    """

    def __init__(self, request: Request | None = None, blocked: HoldfastError | None = None, *, last: bool = False, renew: bool = False) -> None:
        self.request, self.blocked, self.last, self.renew = request, blocked, last, renew
        self._done = threading.Event()
        self._error: HoldfastError | None = None

    def finish(self, error: HoldfastError | None = None) -> None:
        """Let the asker go on."""
        self._error = error
        self._done.set()

    def wait(self, limit: float) -> bool:
        """Whether it ends within so many seconds."""
        return self._done.wait(limit)

    def result(self, limit: float) -> None:
        """Wait for the end. Raises what went wrong."""
        if not self._done.wait(limit):
            raise NotConverged(f"the checker is busy with {self.request.tag if self.request else 'it'}; see its log, and ask again")
        if self._error is not None:
            raise self._error


class LeaseLoop(LeaseGate, threading.Thread):
    """What this node does about one lease.

    :param log: Takes the name of an event and its facts.
    """

    def __init__(
        self, tag: str, keeper: Keeper, address: ProtectedAddress, log: Log, clock: Callable[[], float] = boottime, *, alone: bool = False
    ) -> None:
        threading.Thread.__init__(self, name=f"lease {tag}", daemon=True)
        LeaseGate.__init__(self, tag, keeper, address, clock, alone)
        self._log = log
        keeper.on_defect = lambda cause, where: log("defect", tag=tag, thread=self.name, cause=cause, where=where)
        self._inbox: queue.Queue[Job] = queue.Queue()
        self._numbers, self._jobs = itertools.count(1), dict[int, Job]()
        self.turned_at = clock()
        # What belongs to the rest of the checker; each must not wait, but for `stop_dependents`.
        self.claim_at: Callable[[RuleState], float] = lambda state: NEVER
        self.released: Callable[[str], None] = lambda handoff_to: None
        self.remember: Callable[[int, bool], None] = lambda epoch, orderly: None
        self.was_orderly: Callable[[int], bool] = lambda epoch: False
        #: Given the deadline of the lease each time it moves, in seconds of CLOCK_BOOTTIME; ``None`` once it is not held.
        self.deadline_moved: Callable[[float | None], None] = lambda deadline: None
        self.stop_dependents: Callable[[float], object] = lambda limit: None
        self.confirm_stopped: Callable[[], None] = lambda: None

    # --- for other threads ---------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Have it done, from another thread. Raises why it was not."""
        blocked: HoldfastError | None = None
        if request.op == "release":
            try:
                self.confirm_stopped()  # here, as the thread of the lease waits for no program
            except HoldfastError as error:
                blocked = error
        self._ask(Job(request, blocked), request.wait)

    def _ask(self, job: Job, wait: float = 0.0) -> None:
        self._inbox.put(job)
        job.result(wait + 2 * PATIENCE)

    def wake(self) -> None:
        """Turn now."""
        self._inbox.put(Job())

    def renew(self) -> Job:
        """Prolong lease and address now, where they are held. Returns what to wait for."""
        job = Job(renew=True)
        self._inbox.put(job)
        return job

    def nudge(self) -> None:
        """Read the record now: another node reports that it has changed."""
        self._keeper.look()
        self.wake()

    def end(self, handoff_to: str = "") -> None:
        """Take the address down, release the lease if it is held, and end the thread. Safe to repeat."""
        self._end(Request("release", self.tag, handoff_to=handoff_to))

    def expire(self) -> None:
        """Take the address down, renew the lease no more, and end the thread. So the next holder waits, and fences. Safe to repeat."""
        self._end(Request("expire", self.tag))

    def _end(self, request: Request) -> None:
        if self.is_alive():
            self._ask(Job(request, last=True))

    def status(self) -> dict[str, Any]:
        """The lease as the status shows it."""
        state, error = self._keeper.state, self._keeper.error
        held, record = state.held, state.seen.record if state.seen else None
        left = None if held is None else round(held.deadline - self._clock(), 1)
        return {
            "tag": self.tag,
            "held": held is not None and left is not None and left > 0,
            "epoch": held.epoch if held else None,
            "over": ",".join(held.unfenced) if held else "",
            "expires_in": left,
            "serving": self.serving,
            "holder": record.holder if record else None,
            "ttl": record.ttl if record else None,
            "watching": self.is_alive() and state.seen is not None and error is None,
            "error": error.message if error else self._tenure.trouble,
        }

    @property
    def store_error(self) -> str:
        """Why the store could not be reached; empty while it can."""
        error = self._keeper.error
        return error.message if error is not None else ""

    # --- the thread ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `end` or `expire`."""
        while not (self._tenure.is_over and self._inbox.empty()):
            self.turned_at = self._clock()
            self._turn()
            claim_at = self.claim_at(self._keeper.state) if self._keeper.state.held is None else NEVER
            self._report(values.Observed(self._clock(), self._lease(), self._resource(), claim_at))
            try:
                job = self._inbox.get(timeout=min(_LONGEST_SLEEP, max(0.0, self._next_due() - self._clock())))
            except queue.Empty:
                continue
            if job.request is not None:
                self._begin(job, job.request)
            elif job.renew:
                if self._keeper.state.held is not None:
                    self._keeper.tell(Intent.CLAIM)
                    self._turn()
                job.finish()

    def _begin(self, job: Job, request: Request) -> None:
        number, kind = next(self._numbers), values.RequestKind(request.op)
        self._jobs[number] = job
        if job.last:
            self._note(ending=True)  # not before, or the thread could end without an answer
        self._report(
            values.Requested(self._clock(), number, kind, self._resource(), request.wait, request.handoff_to, blocked=job.blocked, patience=PATIENCE)
        )

    def _turn(self) -> None:
        """A turn of the rule, unless it could delay the stepping down: a call to the store that begins too late ends too late."""
        if self._keeper.state.held is not None and self._clock() < self._too_late():
            return
        for action in self._keeper.turn():
            now, lease = self._clock(), self._lease()
            if isinstance(action, Serve):
                self._report(values.Renewed(now, lease))
            elif isinstance(action, Demote):
                self._report(values.Lost(now, lease, action.reason))
            elif isinstance(action, Notice):
                self._log("notice", tag=self.tag, text=action.text)
            else:
                self._report(values.Released(now, lease))

    def _too_late(self) -> float:
        """When to step down, where no call to the store would end before that; else the past. Only dependents need that time."""
        held, timing = self._keeper.state.held, self._keeper.state.timing
        if held is None or not timing.stop_budget:
            return LONG_AGO
        at = timing.stop_from(held.deadline)
        return at if self._clock() > at - timing.call else LONG_AGO

    def _next_due(self) -> float:
        return min(max(self._keeper.state.due, self._too_late()), self._tenure.due)

    # --- the actions of the tenure ---------------------------------------------------------------------------------------

    def _report(self, event: values.Event) -> None:
        """One step of the tenure, its actions, and the steps that their results lead to."""
        todo = deque(self.step(event))
        while todo:
            result = self._do(todo.popleft())
            if result is not None:
                todo.extend(self.step(result))

    def _do(self, action: values.Action) -> values.Result | None:
        if isinstance(action, LogEvent):
            self._log(action.event, tag=self.tag, **action.facts)
        elif isinstance(action, values.Finish):
            self._finish(action)
        elif isinstance(action, values.MoveDeadline):
            self.deadline_moved(action.deadline)
        elif isinstance(action, values.Remember):
            self.remember(action.epoch, action.orderly)
        elif isinstance(action, values.ReleaseLease):
            self._keeper.tell(Intent.RELEASE, action.handoff_to)
        elif isinstance(action, values.ObserveAddress):
            return self._observe(action.epoch)
        elif isinstance(action, values.Prolong):
            return self._prolong(action.restore_on)
        elif isinstance(action, values.StopDependents):
            self.stop_dependents(action.limit)
            return values.Done(self._clock(), action)
        else:
            return self._do_plainly(action)
        return None

    def _do_plainly(self, action: Do) -> values.Result | None:
        error: HoldfastError | None = None
        try:
            if action is Do.TAKE_DOWN:
                self.address.take_down()
            elif action is Do.RECORD_OUT_OF_SERVICE:
                self._record_out_of_service()
            elif action is Do.END_FENCE:
                self._keeper.fenced()
            elif action is Do.REPORT_CHANGE:
                self.changed()
            else:
                self._keeper.tell(Intent.CLAIM if action is Do.CLAIM_LEASE else Intent.WATCH)
        except HoldfastError as caught:
            error = caught
        return values.Done(self._clock(), action, error)

    def _finish(self, action: values.Finish) -> None:
        if action.handoff_to is not None:
            self.released(action.handoff_to)
        self._jobs.pop(action.number).finish(action.error)

    def _observe(self, epoch: int) -> values.AddressObserved:
        try:
            places, trouble = self.address.places(), ""
        except HoldfastError as error:
            places, trouble = [], error.message
        return values.AddressObserved(self._clock(), places[0][0].name if places else None, self.was_orderly(epoch), trouble)

    def _prolong(self, restore_on: str | None) -> values.Prolonged:
        try:
            link = self.address.prolong(self.grant, restore_on)
        except LeaseOver as over:
            return values.Prolonged(self._clock(), trouble=over.message, over=True)
        except HoldfastError as error:
            return values.Prolonged(self._clock(), trouble=error.message)
        return values.Prolonged(self._clock(), link)

    def out_of_service(self) -> None:
        """Record that the resource is not in service here, where the record says that it is. For any thread."""
        try:
            self._record_out_of_service()
        except HoldfastError as error:
            self._log("trouble", tag=self.tag, reason=error.message)

    def _record_out_of_service(self) -> None:
        known = self.address.known()
        if known.in_service:
            state = learn(known, interface=known.interface, backup_interface=known.backup_interface)
            self.address.files.save(replace(state, in_service=False))
