# SPDX-License-Identifier: GPL-3.0-or-later
"""That a resource is known on this node and whether it is in service here, as a change that `_core/converge` can make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource, text_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, Fenced, State, effective, learn
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import info_record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun
from ansible_collections.holdfast.ha.plugins.module_utils._resource.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


@dataclass(frozen=True)
class Forget:
    """Remove the state file; addresses stay as they are."""

    tag: str

    def __str__(self) -> str:
        return f"forgetting {self.tag}"


@dataclass(frozen=True)
class Note:
    """Record whether dependents may run here, and whether they are being stopped."""

    tag: str
    may_run: bool
    stopping: bool = False

    def __str__(self) -> str:
        what = "are being stopped" if self.stopping else "may run" if self.may_run else "do not run"
        return f"recording that dependents of {self.tag} {what} here"


@dataclass(frozen=True)
class Registered:
    """What is recorded, and what the resource amounts to with it. Both are ``None`` for one that is not known.

    ``may_run``: whether dependents may run here since this boot. ``stopping``: whether somebody is stopping them.
    """

    state: State | None
    known: EffectiveResource | None
    may_run: bool = False
    stopping: bool = False


RegistrationAction = Union[Record, Forget, Note]


class RegistrationTask:
    """A `Reconciler` for the state file of one resource.

    :param in_service: What to record; ``None`` leaves that as it is. So is ``may_run``, of the dependents.
    :param stopping: Record that they are being stopped, if they may run.
    :param fenced: The fence of the old holder. ``None`` leaves that as it is, unless the resource is no longer in service.
    """

    def __init__(
        self,
        tag: str,
        resource: Resource | None,
        node: str,
        *,
        present: bool,
        in_service: bool | None,
        store: Store,
        may_run: bool | None = None,
        stopping: bool = False,
        fenced: Fenced | None = None,
    ) -> None:
        self._tag, self._resource, self._node = tag, resource, node
        self._present, self._in_service, self._store = present, in_service, store
        self._wanted_may_run, self._stopping, self._fact = may_run, stopping, MayRun(store.states, tag)
        self._fenced = fenced

    def observe(self) -> Registered:
        """Read the definition and the state. Raises `NotFound` where a resource that is to be recorded has neither."""
        state = self._store.state(self._tag)
        if not self._present:
            return Registered(state, None)
        known = effective(self._tag, self._resource or self._store.definition(self._tag), state)
        if self._wanted_may_run is False:  # what is left from another boot is removed too
            return Registered(state, known, self._fact.is_set, self._fact.is_stopping)
        return Registered(state, known, self._fact.is_set and self._fact.is_of_this_boot, self._fact.is_stopping)

    def plan(self, state: Registered) -> tuple[RegistrationAction, ...]:
        """At most one record of each kind, or one removal."""
        if state.known is None:
            return (Forget(self._tag),) if state.state is not None else ()
        wanted = self._wanted(state.known)
        may_run = state.may_run if self._wanted_may_run is None else self._wanted_may_run
        stopping = may_run and (self._stopping or (state.stopping and self._wanted_may_run is None))
        note = () if (may_run, stopping) == (state.may_run, state.may_run and state.stopping) else (Note(self._tag, may_run, stopping),)
        return (*note, *(() if wanted == state.state else (Record(wanted),)))

    def simulate(self, state: Registered, actions: tuple[RegistrationAction, ...]) -> Registered:
        """What the last action leaves."""
        for action in actions:
            known = state.known
            if isinstance(action, Forget) or known is None:
                state = Registered(None, None)
            elif isinstance(action, Note):
                state = replace(state, may_run=action.may_run, stopping=action.stopping)
            else:
                state = replace(state, state=action.state, known=replace(known, in_service=action.state.in_service, state=action.state))
        return state

    def apply(self, actions: tuple[RegistrationAction, ...]) -> tuple[Attempt[RegistrationAction], ...]:
        """Write or remove the state file."""
        return tuple(self._attempt(action) for action in actions)

    def table(self, state: Registered) -> str:
        """What is recorded, in one row."""
        recorded = state.state
        if recorded is None:
            return ""
        service = {True: "yes", False: "no", None: "not known"}[recorded.in_service]
        row = (recorded.tag, recorded.address, recorded.interface, recorded.backup_interface or "none", service, "yes" if state.may_run else "no")
        return text_table(("tag", "address", "primary", "backup", "in service", "dependents may run"), [row])

    def result(self, run: Run[Registered, RegistrationAction]) -> dict[str, object]:
        """The return values of ip_resource."""
        known = run.after.known
        if known is None:
            return {"info": None, "in_service": None, "dependents_may_run": False}
        return {"info": info_record(self._node, known), "in_service": known.in_service, "dependents_may_run": run.after.may_run}

    def _wanted(self, known: EffectiveResource) -> State:
        state = learn(known, interface=known.interface, backup_interface=known.backup_interface)
        state = replace(state, fenced=self._fenced or (None if self._in_service is False else state.fenced))
        return state if self._in_service is None else replace(state, in_service=self._in_service, boot=self._store.boot())

    def _attempt(self, action: RegistrationAction) -> Attempt[RegistrationAction]:
        try:
            if isinstance(action, Forget):
                self._store.forget(action.tag)
            elif isinstance(action, Note):
                self._fact.set(stopping=action.stopping) if action.may_run else self._fact.clear()
            else:
                self._store.save(action.state)
        except HoldfastError as error:
            return Attempt(action, error)
        return Attempt(action)
