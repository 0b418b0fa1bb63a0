# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that decides when the dependents of a resource have to stop on this node, and that stops them (DESIGN.md section 7).

Invariants
1. That dependents may run here is a fact on disk (`may_run`). It survives this process.
2. While it is set and this node does not hold the resource, the dependents are stopped and observed, again and again, until none runs.
   That depends on no store, no other node, and no earlier attempt.
3. The fact is removed only after a stop after which every unit was observed inactive, with no playbook of this checker running.
   A dependent that is a task file counts as inactive only after a stop playbook that succeeded and whose end is known.
4. A restart of the machine ends every dependent. So units are only observed for a fact from another boot, and task files count as inactive.
5. With `on_stop_failure: reboot` the machine restarts half a margin after the lease's deadline unless none runs by then: before another node may
   act on the lease (see `timing`). Never for a fact from another boot, so a unit that starts at boot makes no endless row of restarts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Dependent
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import INACTIVE
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun

Log = Callable[..., None]
RunOrder = Callable[[Order, threading.Event], Outcome]
#: Seconds between two attempts to stop dependents: the first pause, which is doubled up to the second number.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
#: Seconds that an observation of units may take, and a run that was called off until its last process has ended.
_LONGEST_LOOK, _CALLED_OFF = 5.0, 5.0
#: Seconds that the last observation before a restart of the machine may take, and the command for it.
_LAST_LOOK, _REBOOT = 0.2, 10.0
_TIMING = Timing()


@dataclass(frozen=True)
class Standing:
    """What this node knows of the lease of a resource. Times in seconds of CLOCK_BOOTTIME.

    :param alone: No other node can hold the resource.
    :param until: When the dependents have to begin to stop unless the lease is renewed; ``None`` where it is not held.
    :param grace: Until when the process before this one may have held the lease, so that no other node holds it yet.
    :param gone: The record was read, and it is not this node's.
    """

    alone: bool
    until: float | None
    grace: float
    gone: bool


def stop_at(standing: Standing, confirmed: bool) -> float:
    """When dependents that may run here have to stop; infinite for never, minus infinite for now. Pure.

    :param confirmed: This process has held the lease. Before that, the process before it may have renewed the lease just now.
    """
    if standing.alone:
        return NEVER
    if standing.until is not None:
        return standing.until
    return LONG_AGO if confirmed or standing.gone else standing.grace


class Dependents:
    """The dependents of one resource on this node. Safe from several threads.

    There is a thread of its own only while something has to be stopped.

    :param known: The resource as this node is to treat it now. Raises `HoldfastError`.
    :param standing: What is known of the lease at this moment.
    :param run: Has a playbook run, for those that are task files; ``None`` where there is no trigger.
    :param end_run: Calls off a playbook of this checker and waits for its end, so many seconds at most; whether one was running.
    :param timing: Of the lease.
    :param out_of_service: Records that the resource is not in service here, so that they are started again should the lease still be held.
    """

    def __init__(
        self,
        tag: str,
        fact: MayRun,
        *,
        known: Callable[[], EffectiveResource],
        standing: Callable[[], Standing],
        run: RunOrder | None,
        log: Log,
        end_run: Callable[[float], bool] = lambda limit: False,
        out_of_service: Callable[[], None] = lambda: None,
        timing: Timing = _TIMING,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._tag, self._fact, self._known, self._standing = tag, fact, known, standing
        self._run, self._log, self._end_run, self._out_of_service, self._clock = run, log, end_run, out_of_service, clock
        self._timing, self._lock = timing, threading.Lock()
        self._worker: threading.Thread | None = None
        #: Set once the worker has ended; and once it makes no sense to wait for it any longer.
        self._over, self._settled = threading.Event(), threading.Event()
        self._hurry, self._calm = threading.Event(), threading.Event()
        self._confirmed = self._insists = self._tasks_stopped = False
        self._told: set[str] = set()

    @property
    def is_stopping(self) -> bool:
        """Whether dependents that have to stop may still run."""
        return self._worker is not None and self._worker.is_alive()

    @property
    def may_run(self) -> bool:
        """Whether a dependent may run here."""
        return self._fact.is_set

    @property
    def are_meant_to_run(self) -> bool:
        """Whether they were started here, and nobody is stopping them."""
        return self._fact.is_set and self._fact.is_of_this_boot and not self._fact.is_stopping and not self.is_stopping and not self._insists

    def adopt(self) -> None:
        """Set the fact where the state says that the resource is in service here: an earlier version may have started the dependents."""
        try:
            known = self._known()
            if known.in_service and known.resource is not None and known.resource.dependents and not self._fact.is_set:
                self._fact.set(stopping=True)  # or somebody has stopped them on purpose
        except HoldfastError as error:
            self._tell(error.message)

    def due(self) -> float:
        """When `tend` is wanted next."""
        return NEVER if not self._fact.is_set or self.is_stopping else self._stop_at()

    def tend(self) -> None:
        """Begin to stop the dependents if they have to stop, and do no more of it if they do not have to. Does not wait."""
        if not self._is_to_stop():
            self._calm.set()
        elif self._fact.is_set and not self.is_stopping:
            self._out_of_service()
            self._begin()

    def stop(self, limit: float, *, for_good: bool = False) -> bool:
        """Stop the dependents now, and wait for that so many seconds at most. It goes on in the background after that.

        :param for_good: This process ends: that it holds the lease says no longer that they may run.
        :returns: Whether all of them have stopped.
        """
        self._confirmed, self._insists = True, self._insists or for_good
        self.adopt()
        if not self._fact.is_set:
            return True
        self._begin()
        if not self._settled.wait(max(0.0, limit)) and limit > 0:
            self._tell(f"the {limit:.1f} s that they have are over, and they are stopped further")
        return not self._fact.is_set

    def reboot_unless_stopped(self, deadline: float) -> None:
        """For a process that ends with the lease unreleased: wait until the lease is over, and restart the machine if that is what is wanted.

        :param deadline: Until when this node may serve.
        """
        if self._wants_reboot() and self._fact.is_set:
            self._guard(self._over, deadline + self._timing.margin / 2, once=True)

    def confirm_stopped(self) -> None:
        """Raises `Refused` while a dependent runs here, or may run and cannot be observed."""
        if not self._fact.is_set:
            return
        running = self._running(self._dependents(), tasks=self._fact.is_of_this_boot)
        if running:
            what = f"releasing {self._tag} failed: {', '.join(running)} on this node."
            raise Refused(f"{what} Run holdfast.ha.dependents -e tag={self._tag} -e state=stopped first.", tag=self._tag)

    def _dependents(self) -> Sequence[Dependent]:
        resource = self._known().resource
        if resource is None:
            raise NotFound(f"stopping the dependents of {self._tag} failed: its definition is gone. Stop them by hand.", tag=self._tag)
        return resource.dependents

    # --- the worker ----------------------------------------------------------------------------------------------------

    def _stop_at(self) -> float:
        standing = self._standing()
        self._confirmed = self._confirmed or standing.until is not None
        return stop_at(standing, self._confirmed)

    def _is_to_stop(self) -> bool:
        at = self._stop_at()
        return self._insists or self._clock() >= at

    def _has_to_stop(self) -> bool:
        return self._is_to_stop() and self._fact.is_set

    def _begin(self) -> None:
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                self._tasks_stopped = False
                self._told.clear()
                self._calm.clear()
                self._over, self._settled = threading.Event(), threading.Event()
                self._worker = threading.Thread(target=self._work, args=(self._over, self._settled), name=f"dependents {self._tag}", daemon=True)
                self._worker.start()
                if not self._insists and self._wants_reboot():
                    budget = 0.0 if self._standing().gone else self._timing.stop_budget
                    at = self._clock() + budget + self._timing.margin / 2
                    threading.Thread(target=self._guard, args=(self._over, at), name=f"reboot {self._tag}", daemon=True).start()
            self._hurry.set()

    def _work(self, over: threading.Event, settled: threading.Event) -> None:
        try:
            self._stop_until_none_runs()
        finally:
            over.set()
            settled.set()

    def _stop_until_none_runs(self) -> None:
        begin, pause = self._clock(), _FIRST_PAUSE
        while self._has_to_stop():  # else the lease is held here again, or somebody else has stopped them
            self._hurry.clear()
            try:
                stopped = self._attempt()
            except HoldfastError as error:
                stopped = False
                self._tell(error.message)
            if stopped:
                self._log("dependents stopped", tag=self._tag, seconds=round(self._clock() - begin, 3))
                return
            self._hurry.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self) -> bool:
        """Stop, observe, and remove the fact. Whether none runs any more."""
        dependents, this_boot = self._dependents(), self._fact.is_of_this_boot
        if this_boot or self._running(dependents, tasks=False):
            self._stop(dependents)
            if self._end_run(_CALLED_OFF):  # it may have started one meanwhile
                self._stop(dependents)
            running = self._running(dependents, tasks=this_boot)
            if running and self._fact.is_set:  # else somebody has stopped them meanwhile, and knows
                self._tell(", ".join(running))
                if self._run is None and not self._running(dependents, tasks=False):
                    self._settled.set()  # task files are left, and nobody can run their playbook
                return False
        if self._fact.is_set:
            if not self._has_to_stop():
                return False
            self._fact.clear()
        if self._running(dependents, tasks=False):  # see the invariants of `may_run`
            self._fact.set()
            return False
        return True

    def _stop(self, dependents: Sequence[Dependent]) -> None:
        """One attempt for each, the last one first, while they have to stop."""
        if any(one.tasks for one in dependents) and not self._tasks_stopped:
            self._tasks_stopped = self._run_stop_playbook()
        for one in reversed(dependents):
            if one.service and self._has_to_stop():
                begin = self._clock()
                trouble = _systemctl(["stop", "--", one.service], one.timeout)
                if trouble:
                    self._tell(f"{one.service} could not be stopped: {trouble}")
                elif f"+{one.name}" not in self._told:
                    self._told.add(f"+{one.name}")
                    self._log("dependent stopped", tag=self._tag, unit=one.service, seconds=round(self._clock() - begin, 3))

    def _run_stop_playbook(self) -> bool:
        if self._run is None:
            self._tell("no trigger can run the stop of those that are task files; add one of type playbook")
            return False
        outcome = self._run(Order(self._tag, "dependents", "the resource leaves this node", (), {"state": "stopped"}), self._calm)
        if not (outcome.ok and outcome.final):
            self._tell(f"the stop playbook failed: {outcome.message or 'its end is not known'}")
        return outcome.ok and outcome.final

    # --- the last resort -----------------------------------------------------------------------------------------------

    def _wants_reboot(self) -> bool:
        try:
            resource = self._known().resource
        except HoldfastError:
            return False
        return resource is not None and resource.on_stop_failure == "reboot" and self._fact.is_of_this_boot

    def _guard(self, over: threading.Event, at: float, *, once: bool = False) -> None:
        """Restart the machine at that time, unless none runs any more or the lease is held here again. ``once``: do not try it again."""
        while not over.wait(max(0.0, at - self._clock())):
            if self._has_to_stop() and self._wants_reboot():
                self._reboot()
            if once:
                return
            at = self._clock() + _FIRST_PAUSE

    def _reboot(self) -> None:
        running = self._running(self._dependents(), tasks=True, limit=_LAST_LOOK)
        if not running:
            return
        self._log("rebooting", tag=self._tag, reason=f"{', '.join(running)}, and another node may take over")
        trouble = _systemctl(["reboot", "--force", "--force"], _REBOOT)
        if trouble:
            self._tell(f"restarting this node failed: {trouble}")

    def _running(self, dependents: Sequence[Dependent], *, tasks: bool, limit: float = _LONGEST_LOOK) -> list[str]:
        """Those that run or may run, each with its state. ``tasks``: those that are task files count, unless their playbook has stopped them."""
        found = [f"{one.name} may run (a task file)" for one in dependents if one.tasks and tasks and not self._tasks_stopped]
        observed = observe([one.service for one in dependents if one.service], limit)
        return found + [f"{unit} is {state}" for unit, state in observed.items() if state not in INACTIVE]

    def _tell(self, trouble: str) -> None:
        """Log each trouble once for a stop."""
        if trouble not in self._told:
            self._told.add(trouble)
            self._log("dependents not stopped", tag=self._tag, reason=trouble)


def _systemctl(words: Sequence[str], limit: float) -> str:
    """Why the command failed; empty where it did not."""
    done = run_command(["systemctl", *words], limit)
    return "" if done.rc == 0 else " ".join(done.stderr.split()) or f"exit code {done.rc}"


def observe(units: Sequence[str], limit: float = _LONGEST_LOOK) -> dict[str, str]:
    """ActiveState of each unit by one call; ``unknown`` for all where systemd does not answer."""
    if not units:
        return {}
    lines = run_command(["systemctl", "show", "--property=ActiveState", "--", *units], limit).stdout.splitlines()
    shown = [line.partition("=")[2] for line in lines if line.startswith("ActiveState=")]
    return dict(zip(units, shown)) if len(shown) == len(units) else dict.fromkeys(units, "unknown")


def states(dependents: Sequence[Dependent]) -> list[dict[str, Any]]:
    """As the status shows them. What a task file started cannot be observed."""
    found = observe([one.service for one in dependents if one.service])
    return [{"name": one.name, "kind": "service" if one.service else "tasks", "state": found.get(one.service or "", "unknown")} for one in dependents]
