# SPDX-License-Identifier: GPL-3.0-or-later
"""One lease and one address, in a thread of their own: renewed in time, given up in order, taken down when lost (DESIGN.md section 6).

Invariants
* The address is put up and prolonged only through `LeaseLoop.grant`, with the deadline of the last `Serve`, and not once it is to go.
* The lease is released only once the address is off every link.
* Whoever lost the lease takes the address down; what is claimed without being asked for is `machine_claim`'s to say.
* Nothing here waits for more than the store and the kernel while the lease is held.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.single_node import FOREVER, REFUSAL
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import Request
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Action, Demote, Intent, Notice, Released, Serve
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import State as RuleState
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import learn

#: Seconds in which a release has to be confirmed, and beyond ``wait`` an acquisition of a lease that is free.
PATIENCE = 10.0
#: Seconds for which somebody who takes or gives up a resource through the socket is left alone with it, from each request on: while nothing is
#: served, so that a controller that dies costs no more; with the address up; and while who had it before is stopped first, which takes as long.
HANDS_OFF, HANDS_OFF_UP, HANDS_OFF_FENCING = 30.0, 300.0, 330.0
#: Seconds after which the thread turns even if nothing is due.
_LONGEST_SLEEP = 5.0
Log = Callable[..., None]


class Job:
    """A request on its way through the holder's thread. Without one it only wakes the thread."""

    def __init__(self, request: Request | None, give_up: float, *, renew: bool = False) -> None:
        self.request, self.give_up, self.renew = request, give_up, renew
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


class LeaseLoop(threading.Thread):
    """What this node does about one lease.

    :param log: Takes the name of an event and its facts.
    :param clock: CLOCK_BOOTTIME, in seconds.
    :param alone: There is no other node, so the address needs no lifetime, and does not leave; see `alone`.
    """

    def __init__(
        self, tag: str, keeper: Keeper, address: ProtectedAddress, log: Log, clock: Callable[[], float] = boottime, *, alone: bool = False
    ) -> None:
        super().__init__(name=f"lease {tag}", daemon=True)
        self.tag, self.alone = tag, alone
        self._keeper, self.address, self._log, self._clock = keeper, address, log, clock
        self._timing = keeper.state.timing
        keeper.on_defect = lambda cause, where: log("defect", tag=tag, thread=self.name, cause=cause, where=where)
        self._inbox: queue.Queue[Job] = queue.Queue()
        self._waiting: Job | None = None
        self._settled = self._ending = self._claiming = self._resuming = False
        self.serving = False
        self._link: str | None = None
        self._alive_until = 0.0
        self._trouble = ""
        #: Held while the address gets a lifetime, so that none gets one once it is to go.
        self._lock = threading.RLock()
        self._closing = False
        #: When this lease came to be held here, and whether it was somebody else's, or free.
        self.since, self.taken = LONG_AGO, False
        #: Whether it came by a hand-off, so that nobody else can have the address; and nobody has taken the resource out of service since.
        self.handed = False
        #: Whether it was not let go of in good order by who had it before, as far as is known here.
        self.expired = False
        self.hands_off_until = LONG_AGO
        self._withdrawals = 0
        self._released_at = LONG_AGO
        self.turned_at = clock()
        # What belongs to the rest of the checker; each must not wait, but for `stop_dependents`.
        self.claim_at: Callable[[RuleState], float] = lambda state: NEVER
        self.changed: Callable[[], None] = lambda: None
        self.released: Callable[[str], None] = lambda handoff_to: None
        self.remember: Callable[[int, bool], None] = lambda epoch, orderly: None
        self.was_orderly: Callable[[int], bool] = lambda epoch: False
        #: Given the deadline of the lease each time it moves, in seconds of CLOCK_BOOTTIME; ``None`` once it is not held.
        self.deadline_moved: Callable[[float | None], None] = lambda deadline: None
        self._last_deadline: float | None = None
        self.stop_dependents: Callable[[float], object] = lambda limit: None
        self.confirm_stopped: Callable[[], None] = lambda: None
        self._remembered = keeper.state.highest

    # --- for other threads ---------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Have it done, from another thread. Raises why it was not."""
        if request.op == "release" and not self._ending and self._keeper.state.held is not None:
            self.confirm_stopped()  # here, as the thread of the lease waits for no program
        job = Job(request, self._clock() + max(request.wait, PATIENCE))
        self._inbox.put(job)
        job.result(request.wait + 2 * PATIENCE)

    def wake(self) -> None:
        """Turn at once."""
        self._inbox.put(Job(None, 0.0))

    def renew(self) -> Job:
        """Prolong lease and address now, where they are held. Returns what to wait for."""
        job = Job(None, 0.0, renew=True)
        self._inbox.put(job)
        return job

    def nudge(self) -> None:
        """Read the record at once: somebody says that it has changed."""
        self._keeper.look()
        self.wake()

    def end(self, handoff_to: str = "") -> None:
        """Take the address down, let the lease go if it is held, and end the thread. Safe to repeat."""
        self._ending = True
        if self.is_alive():
            self.ask(Request("release", self.tag, handoff_to=handoff_to))

    def expire(self) -> None:
        """Take the address down, renew the lease no more, and end the thread. So the next holder waits, and fences. Safe to repeat."""
        self._ending = True
        if self.is_alive():
            self.ask(Request("expire", self.tag))

    def at_work(self) -> None:
        """Somebody who takes or gives up the resource has said something again."""
        until = self._patience(self.serving)  # it reads a file, so before the lock
        with self._lock:  # what was lost meanwhile is left to nobody
            if self._clock() < self.hands_off_until:
                self.hands_off_until = max(self.hands_off_until, until)

    def _patience(self, up: bool) -> float:
        return self._clock() + (HANDS_OFF_UP if up else HANDS_OFF_FENCING if self.fence_first() else HANDS_OFF)

    def fence_first(self) -> bool:
        """Whether the address waits for a fence: what comes from a node that did not let go, and is not in service here yet."""
        try:
            known = self.address.known()
        except HoldfastError:
            return True
        return self.expired and not known.in_service and known.resource is not None and known.resource.fence != "none"

    @property
    def permit(self) -> int:
        """For `grant` and `serve`: good until the address is taken out of service by a request."""
        return self._withdrawals

    def _allows(self, permit: int | None) -> None:
        if permit is not None and permit != self._withdrawals:
            raise LeaseOver("it was taken out of service meanwhile")

    def grant(self, give: Callable[[int], None], permit: int | None = None) -> int:
        """Give an address the seconds that the lease allows now; see `address.Grant`. Raises `LeaseOver`."""
        with self._lock:
            before = self._clock()
            seconds = self.within_lease(give, permit)
            if not self.alone:
                self._alive_until = before + seconds
            return seconds

    def within_lease(self, act: Callable[[int], None], permit: int | None = None) -> int:
        """As `grant`, for an act that does not prolong the address: it is over before the lease is. Raises `LeaseOver`."""
        with self._lock:
            self._allows(permit)
            held = self._keeper.state.held
            if held is None or self._closing:
                raise LeaseOver("this node does not hold the lease, or is about to give it up")
            if self.alone:
                act(FOREVER)
                return FOREVER
            return extend(held.deadline, self._timing, act, self._clock)

    def serve(self, link: str | None, permit: int | None = None) -> None:
        """From now on the address lives as long as the lease; it stands on ``link``. Raises `LeaseOver`."""
        with self._lock:
            self._allows(permit)
            if self._keeper.state.held is None or self._closing:
                raise LeaseOver("this node does not hold the lease, or is about to give it up")
            self.serving, self._link = True, link
        self.changed()

    @property
    def state(self) -> RuleState:
        """Where the rule stands."""
        return self._keeper.state

    def status(self) -> dict[str, Any]:
        """How things stand with the lease, as another thread sees it."""
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
            "error": error.message if error else self._trouble,
        }

    @property
    def store_error(self) -> str:
        """Why the store could not be reached; empty while it can."""
        error = self._keeper.error
        return error.message if error is not None else ""

    # --- the thread ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `end`."""
        while not (self._ending and self._waiting is None and self._inbox.empty() and self._keeper.state.held is None and self._settled):
            self.turned_at = self._clock()
            before = self._keeper.state
            self._turn()
            self._settle()
            self._attend()
            self._consider()
            self._end_fence()
            self._notice(before)
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

    def _turn(self) -> None:
        """One of the rule's, unless it could hold up the stepping down: a call to the store that is begun too late ends too late."""
        before = self._keeper.state
        if before.held is not None and self._clock() < self._too_late():
            return
        actions = self._keeper.turn()
        if before.held is None and self._keeper.state.held is not None:
            self._came(before)
        for action in actions:
            self._follow(action)

    def _too_late(self) -> float:
        """When to step down, where no call to the store would end before that; else the past. Only dependents need that time."""
        held, timing = self._keeper.state.held, self._timing
        if held is None or not timing.stop_budget:
            return LONG_AGO
        at = timing.stop_from(held.deadline)
        return at if self._clock() > at - timing.call else LONG_AGO

    def _next_due(self) -> float:
        state = self._keeper.state
        due = max(state.due, self._too_late())
        if state.intent is Intent.WATCH and self._settled and not self._ending:
            due = min(due, max(self._when_to_claim(state), self._clock() + 0.01))
        return due if self._waiting is None else min(due, self._waiting.give_up)

    def _notice(self, before: RuleState) -> None:
        """What others may want to know of."""
        state = self._keeper.state
        deadline = state.held.deadline if state.held is not None else None
        if deadline != self._last_deadline:
            self._last_deadline = deadline
            self.deadline_moved(deadline)
        if (before.held is None) != (state.held is None) or before.seen != state.seen:
            self.changed()
        if state.highest > self._remembered:  # after the others know: it waits for the disk
            self._remembered = state.highest
            self.remember(state.highest, state.held is not None and state.held.epoch == state.highest and not self.expired)

    # --- what the rule wants -------------------------------------------------------------------------------------------

    def _follow(self, action: Action) -> None:
        if isinstance(action, Serve):
            self._closing = False
            self._prolong()
        elif isinstance(action, Demote):
            self._step_down(action.reason)
        elif isinstance(action, Released):
            self._log("released", tag=self.tag)
            self._finish("release")
        elif isinstance(action, Notice):
            self._log("notice", tag=self.tag, text=action.text)

    def _prolong(self) -> None:
        """The address lives as long as the lease. One that somebody removed stays away: what to do about that is not the lease's question."""
        if not self.serving:
            return
        ran_out = self._clock() >= self._alive_until
        try:
            link = self.address.prolong(self.grant, self._link if ran_out else None)
        except LeaseOver as over:
            if self._keeper.state.held is not None:
                self._keeper.tell(Intent.WATCH)
                self._step_down(over.message)
        except HoldfastError as error:
            self._note(error.message)
        else:
            self._link = link  # none: somebody removed it, so it does not come back when its time has run out
            self._note("" if link else "the address is on no interface of this host; run holdfast.ha.recover")

    def _step_down(self, reason: str) -> None:
        """The lease is lost: what needs the address stops within the time that is left, unless another node has the lease already."""
        with self._lock:
            self._closing = True
            self.hands_off_until = LONG_AGO  # whoever was at work on the resource has lost it too
        record = self._keeper.state.seen.record if self._keeper.state.seen else None
        theirs = record is not None and record.holder not in ("", self._keeper.state.me.name)
        self._log("lost", tag=self.tag, reason=reason)
        if not theirs:
            self.stop_dependents(max(0.0, min(self._timing.stop_budget, self._alive_until - self._clock())))
        self.serving = False
        self._remove()
        if theirs:
            self.stop_dependents(0.0)
        self.out_of_service()
        self._finish("acquire", NotConverged(f"the lease of {self.tag} could not be held: {reason}; see which node holds it"))
        self.changed()

    def _remove(self) -> HoldfastError | None:
        try:
            self.address.take_down()
        except HoldfastError as error:
            self._note(error.message)
            return error
        return None

    def out_of_service(self) -> None:
        """Record that the resource is not in service here, where the record says that it is."""
        try:
            known = self.address.known()
            if known.in_service:
                state = learn(known, interface=known.interface, backup_interface=known.backup_interface)
                self.address.files.save(replace(state, in_service=False))
        except HoldfastError as error:
            self._note(error.message)

    def _settle(self) -> None:
        """Once, after the first reading: go on as the holder that this node still is, or clear what is left from before."""
        state = self._keeper.state
        if self._settled or (state.seen is None and not self._ending):
            return
        self._settled = True
        record = state.seen.record if state.seen else None
        try:
            places = self.address.places()
            if record is not None and state.owned and state.intent is Intent.WATCH and not self._ending:
                self.serving, self._link = bool(places), places[0][0].name if places else None
                self._keeper.tell(Intent.CLAIM)
                self._resuming = True
                orderly = self.alone or (self.was_orderly(record.epoch) and not self._others(record.unfenced))
                self.since, self.taken, self.expired = self._clock(), False, not orderly
                self._log("resumed", tag=self.tag, epoch=record.epoch)
            elif record is not None and record.holder not in ("", state.me.name):
                if places:
                    self._log("removed", tag=self.tag, reason=f"{record.holder} holds the lease, and the address was still here")
                    self.address.take_down()
                self.out_of_service()
        except HoldfastError as error:
            self._note(error.message)

    # --- what the policy wants -----------------------------------------------------------------------------------------

    def _when_to_claim(self, state: RuleState) -> float:
        at = self.claim_at(state)
        if at == LONG_AGO:
            return at
        return max(at, self._released_at + self._timing.wait(0.0))  # who has just let go does not take it back at once

    def _consider(self) -> None:
        """Claim the lease if it is this node's turn, and leave it when it no longer is."""
        state, now = self._keeper.state, self._clock()
        if self._resuming and (
            state.held is not None or not state.owned
        ):  # it goes on, or another node has come first: then it claims like any other
            self._resuming, self._claiming = False, state.held is None and state.intent is Intent.CLAIM
        if self._waiting is not None or self._ending or not self._settled:
            return
        if state.held is not None:
            if self._claiming:
                self._claiming = False
                self._log("acquired", tag=self.tag, epoch=state.held.epoch)
            return
        wanted = now >= self._when_to_claim(state)
        if wanted and state.intent is Intent.WATCH:
            self._claiming = True
            self._beware()
            self._keeper.tell(Intent.CLAIM)
            self._turn()
            self._consider()
        elif not wanted and self._claiming and state.intent is Intent.CLAIM:
            self._claiming = False
            self._keeper.tell(Intent.WATCH)

    def _end_fence(self) -> None:
        """Once the resource is in service, its record no longer asks for a fence."""
        held = self._keeper.state.held
        if held is not None and held.unfenced and self.serving and not self.fence_first():
            self._keeper.fenced()

    def _beware(self) -> None:
        """Until it is known what a claim replaces, it counts as not let go of: other threads see the lease held a moment before that is known."""
        state = self._keeper.state
        if state.held is None and not state.owned:
            self.since, self.expired = self._clock(), True

    def _came(self, before: RuleState) -> None:
        """The lease is held from now on, in place of the record in ``before``. What was there when it was asked for may have changed by then."""
        me, record = self._keeper.state.me, before.seen.record if before.seen else None
        if before.owned:
            return  # this node's own: how it came here is known already
        self.since, self.taken, self._closing = self._clock(), True, False
        self.handed = record is not None and not before.fell and not record.holder and record.handoff_to == me.name
        if record is None:  # somebody deleted it, if there ever was one
            self.expired = before.highest > 0 and not self.alone
        else:  # what a restored record says is out of date
            self.expired = before.fell or bool(self._others((record.holder, *record.unfenced)))

    def _others(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in ("", self._keeper.state.me.name)]

    # --- what people and playbooks want ----------------------------------------------------------------------------------

    def _begin(self, job: Job, request: Request) -> None:
        self.hands_off_until = self._patience(self.serving and request.op == "acquire")
        try:
            if request.op in ("acquire", "release"):
                self._begin_waiting(job, request)
                return
            self._withdraw()
            try:
                self.address.take_down()
            finally:
                self._closing = False
                if request.op == "expire":
                    self._keeper.tell(Intent.WATCH)
                    self.out_of_service()
            self._log(request.op, tag=self.tag)
        except HoldfastError as error:
            job.finish(error)
        else:
            job.finish()
        self.changed()

    def _begin_waiting(self, job: Job, request: Request) -> None:
        if self.alone and request.op == "release":
            raise Refused(f"{self.tag} cannot be released: {REFUSAL}")
        if self._waiting is not None and self._waiting.request is not None:
            if request.op == "acquire":
                raise Refused(f"the checker is at work on the lease of {self.tag} already; ask again")
            self._finish(self._waiting.request.op, Refused(f"the lease of {self.tag} was to be released meanwhile"))
        self._claiming = self._resuming = False
        if request.op == "acquire":
            self._beware()
            self._keeper.tell(Intent.CLAIM)
        else:
            self._withdraw()
            try:
                self.address.take_down()  # before the release, or another node may have it while it is here
            except HoldfastError:
                self._closing = False
                raise
            if self._keeper.state.held is not None:
                self._released_at = self._clock()
            self.out_of_service()
            self._keeper.tell(Intent.RELEASE, request.handoff_to)
        self._waiting = job

    def _withdraw(self) -> None:
        """What is under way elsewhere in this process does not put the address up any more."""
        with self._lock:
            self._withdrawals += 1
            self.serving, self._link, self._closing, self.handed = False, None, True, False

    def _attend(self) -> None:
        """See whether what somebody waits for has come about, or will not."""
        job, state, error = self._waiting, self._keeper.state, self._keeper.error
        if job is None or job.request is None:
            return
        if job.request.op == "acquire" and state.held is not None:
            self.hands_off_until = self._patience(self.serving)
            self._log("acquired", tag=self.tag, epoch=state.held.epoch)
            self._finish("acquire")
        elif error is not None and not (error.retryable or error.ambiguous):
            self._give_up(job, job.request, error)
        elif self._clock() >= job.give_up:
            record = state.seen.record if state.seen else None
            who = f"{record.holder} holds it" if record and record.holder else "it is reserved, or its record is missing"
            late = NotConverged(f"the lease of {self.tag} was not free within {job.request.wait:g} s: {who}")
            self._give_up(job, job.request, error or late)

    def _give_up(self, job: Job, request: Request, error: HoldfastError) -> None:
        if request.op == "acquire":
            self._keeper.tell(Intent.WATCH)
        else:  # it is tried on, so nothing may be begun here again on the strength of this lease
            left = f"the store did not confirm it within {PATIENCE:g} s, and the lease ends by itself in {self._timing.ttl:g} s at the latest"
            what = f"the address of {self.tag} is down here and stays down, and its release is not confirmed: {left}; do not start here what needs it"
            error = NotConverged(f"{what} ({error.message})")
        self._log("gave up", tag=self.tag, op=request.op, reason=error.message)
        self._finish(request.op, error)

    def _finish(self, op: str, error: HoldfastError | None = None) -> None:
        job = self._waiting
        if job is not None and job.request is not None and job.request.op == op:
            self._waiting = None
            if op == "release" and error is None:
                with self._lock:
                    self.hands_off_until = LONG_AGO
                self.released(job.request.handoff_to)
            job.finish(error)

    def _note(self, trouble: str) -> None:
        """Log a trouble once, and its end."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._log("trouble" if trouble else "well", tag=self.tag, **({"reason": trouble} if trouble else {}))
