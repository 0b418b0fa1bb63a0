# SPDX-License-Identifier: GPL-3.0-or-later
"""One lease and one address, in a thread of their own: renewed in time, given up in order, taken down when lost (DESIGN.md section 6).

Invariants
* The address is put up and prolonged only through `deadman.extend`, with the deadline of the last `Serve`.
* The lease is released only once the address is off every link.
* Whoever lost the lease takes the address down and claims nothing until asked.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.protocol import Request
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Action, Demote, Intent, Notice, Released, Serve

#: Seconds in which a release has to be confirmed, and beyond ``wait`` an acquisition of a lease that is free.
PATIENCE = 10.0
#: What is told of a resource besides the lease.
_NOT_KNOWN = (
    *("role", "phase", "health", "reasons", "faults", "address", "interface", "backup_interface", "interface_up", "ec2", "dependents", "in_service"),
    *("ready", "ready_reason", "priority", "last_recovery", "next_attempt_in", "flapping", "paused", "peers", "advice"),
)
Log = Callable[..., None]


class Job:
    """A request on its way through the holder's thread."""

    def __init__(self, request: Request, give_up: float) -> None:
        self.request, self.give_up = request, give_up
        self._done = threading.Event()
        self._error: HoldfastError | None = None

    def finish(self, error: HoldfastError | None = None) -> None:
        """Let the asker go on."""
        self._error = error
        self._done.set()

    def result(self, limit: float) -> None:
        """Wait for the end. Raises what went wrong."""
        if not self._done.wait(limit):
            raise NotConverged(f"the checker is busy with {self.request.tag}; see its log, and ask again")
        if self._error is not None:
            raise self._error


class Holder(threading.Thread):
    """What this node does about one lease.

    :param log: Takes the name of an event and its facts.
    :param clock: CLOCK_BOOTTIME, in seconds.
    """

    def __init__(self, tag: str, keeper: Keeper, address: ProtectedAddress, log: Log, clock: Callable[[], float] = boottime) -> None:
        super().__init__(name=f"lease {tag}", daemon=True)
        self.tag = tag
        self._keeper, self._address, self._log, self._clock = keeper, address, log, clock
        self._timing = keeper.state.timing
        self._inbox: queue.Queue[Job] = queue.Queue()
        self._waiting: Job | None = None
        self._settled = self._ending = False
        self._serving = False
        self._link: str | None = None
        self._alive_until = 0.0
        self._trouble = ""

    def ask(self, request: Request) -> None:
        """Have it done, from another thread. Raises why it was not."""
        job = Job(request, self._clock() + max(request.wait, PATIENCE))
        self._inbox.put(job)
        job.result(request.wait + 2 * PATIENCE)

    def end(self) -> None:
        """Take the address down, let the lease go if it is held, and end the thread. Safe to repeat."""
        self._ending = True
        if self.is_alive():
            self.ask(Request("release", self.tag))

    def status(self) -> dict[str, Any]:
        """How things stand, as another thread sees it."""
        state, error = self._keeper.state, self._keeper.error
        held, record = state.held, state.seen.record if state.seen else None
        left = None if held is None else round(held.deadline - self._clock(), 1)
        return {
            **dict.fromkeys(_NOT_KNOWN),
            "tag": self.tag,
            "held": held is not None and left is not None and left > 0,
            "epoch": held.epoch if held else None,
            "expires_in": left,
            "serving": self._serving,
            "holder": record.holder if record else None,
            "watching": self.is_alive() and state.seen is not None and error is None,
            "error": error.message if error else self._trouble,
        }

    def run(self) -> None:
        """Until `end`."""
        while not (self._ending and self._waiting is None and self._inbox.empty() and self._keeper.state.held is None and self._settled):
            for action in self._keeper.turn():
                self._follow(action)
            self._settle()
            self._attend()
            try:
                job = self._inbox.get(timeout=max(0.0, self._next_due() - self._clock()))
            except queue.Empty:
                continue
            self._begin(job)

    def _next_due(self) -> float:
        due = self._keeper.state.due
        return due if self._waiting is None else min(due, self._waiting.give_up)

    # --- what the rule wants -------------------------------------------------------------------------------------------

    def _follow(self, action: Action) -> None:
        if isinstance(action, Serve):
            self._prolong(action.deadline)
        elif isinstance(action, Demote):
            self._step_down(action.reason)
        elif isinstance(action, Released):
            self._log("released", tag=self.tag)
            self._finish("release")
        elif isinstance(action, Notice):
            self._log("notice", tag=self.tag, text=action.text)

    def _prolong(self, deadline: float) -> None:
        """The address lives as long as the lease. One that somebody removed stays away: what to do about that is not the lease's question."""
        if not self._serving:
            return
        ran_out = self._clock() >= self._alive_until
        try:
            link = self._address.prolong(lambda give: self._grant(deadline, give), self._link if ran_out else None)
        except LeaseOver as over:
            self._keeper.tell(Intent.WATCH)
            self._step_down(over.message)
        except HoldfastError as error:
            self._note(error.message)
        else:
            self._link = link or self._link
            self._note("" if link else "the address is on no interface of this host; run holdfast.ha.recover")

    def _grant(self, deadline: float, give: Callable[[int], None]) -> int:
        before = self._clock()
        seconds = extend(deadline, self._timing, give, self._clock)
        self._alive_until = before + seconds
        return seconds

    def _step_down(self, reason: str) -> None:
        self._serving = False
        self._log("lost", tag=self.tag, reason=reason)
        self._remove()
        self._finish("acquire", NotConverged(f"the lease of {self.tag} could not be held: {reason}; see which node holds it"))

    def _remove(self) -> HoldfastError | None:
        try:
            self._address.take_down()
        except HoldfastError as error:
            self._note(error.message)
            return error
        return None

    def _settle(self) -> None:
        """Once, after the first reading: go on as the holder that this node still is, or clear what is left from before."""
        state = self._keeper.state
        if self._settled or (state.seen is None and not self._ending):
            return
        self._settled = True
        record = state.seen.record if state.seen else None
        try:
            places = self._address.places()
            if record is not None and state.me.owns(record) and state.intent is Intent.WATCH and not self._ending:
                self._serving, self._link = bool(places), places[0][0].name if places else None
                self._keeper.tell(Intent.CLAIM)
                self._log("resumed", tag=self.tag, epoch=record.epoch)
            elif record is not None and record.holder not in ("", state.me.name) and places:
                self._log("removed", tag=self.tag, reason=f"{record.holder} holds the lease, and the address was still here")
                self._address.take_down()
        except HoldfastError as error:
            self._note(error.message)

    # --- what people and playbooks want ----------------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        op = job.request.op
        try:
            if op in ("acquire", "release"):
                self._begin_waiting(job)
                return
            if op == "serve":
                self._serve(job.request.gateway)
            else:
                self._serving, self._link = False, None
                self._address.take_down()
            self._log(op, tag=self.tag)
        except LeaseOver as over:
            self._keeper.tell(Intent.WATCH)
            self._step_down(over.message)
            job.finish(over)
        except HoldfastError as error:
            job.finish(error)
        else:
            job.finish()

    def _begin_waiting(self, job: Job) -> None:
        if self._waiting is not None:
            if job.request.op == "acquire":
                raise Refused(f"the checker is at work on the lease of {self.tag} already; ask again")
            self._finish(self._waiting.request.op, Refused(f"the lease of {self.tag} was to be released meanwhile"))
        if job.request.op == "acquire":
            self._keeper.tell(Intent.CLAIM)
        else:
            self._serving, self._link = False, None
            self._address.take_down()  # before the release, or another node may have it while it is here
            self._keeper.tell(Intent.RELEASE, job.request.handoff_to)
        self._waiting = job

    def _attend(self) -> None:
        """See whether what somebody waits for has come about, or will not."""
        job, state, error = self._waiting, self._keeper.state, self._keeper.error
        if job is None:
            return
        if job.request.op == "acquire" and state.held is not None:
            self._log("acquired", tag=self.tag, epoch=state.held.epoch)
            self._finish("acquire")
        elif error is not None and not (error.retryable or error.ambiguous):
            self._give_up(job, error)
        elif self._clock() >= job.give_up:
            record = state.seen.record if state.seen else None
            who = f"{record.holder} holds it" if record and record.holder else "it is reserved, or its record is missing"
            self._give_up(job, error or NotConverged(f"the lease of {self.tag} was not free within {job.request.wait:g} s: {who}"))

    def _give_up(self, job: Job, error: HoldfastError) -> None:
        if job.request.op == "acquire":
            self._keeper.tell(Intent.WATCH)
        self._log("gave up", tag=self.tag, op=job.request.op, reason=error.message)
        self._finish(job.request.op, error)

    def _serve(self, gateway: str | None) -> None:
        held = self._keeper.state.held
        if held is None:
            raise Refused(f"this node does not hold the lease of {self.tag}; acquire it first")
        self._address.bring_up(lambda give: self._grant(held.deadline, give), gateway)
        self._serving, self._link = True, self._address.known().interface
        self._prolong(held.deadline)

    def _finish(self, op: str, error: HoldfastError | None = None) -> None:
        job = self._waiting
        if job is not None and job.request.op == op:
            self._waiting = None
            job.finish(error)

    def _note(self, trouble: str) -> None:
        """Log a trouble once, and its end."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._log("trouble" if trouble else "well", tag=self.tag, **({"reason": trouble} if trouble else {}))


def describe(holders: Mapping[str, Holder]) -> list[dict[str, Any]]:
    """The status of each, by tag."""
    return [holders[tag].status() for tag in sorted(holders)]
