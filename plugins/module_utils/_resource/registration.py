# SPDX-License-Identifier: GPL-3.0-or-later
"""That a resource is known on this node and whether it is in service here, as a change that `_converge` can make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._model import Resource, text_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import info_record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.learned import Effective, State, effective, learn
from ansible_collections.holdfast.ha.plugins.module_utils._resource.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


@dataclass(frozen=True)
class Forget:
    """Remove the state file; addresses stay as they are."""

    tag: str

    def __str__(self) -> str:
        return f"forgetting {self.tag}"


@dataclass(frozen=True)
class Registered:
    """What is recorded, and what the resource amounts to with it. Both are ``None`` for one that is not known."""

    state: State | None
    known: Effective | None


RegistrationAction = Union[Record, Forget]


class RegistrationTask:
    """A `Reconciler` for the state file of one resource.

    :param in_service: What to record; ``None`` leaves that as it is.
    """

    def __init__(self, tag: str, resource: Resource | None, node: str, *, present: bool, in_service: bool | None, store: Store) -> None:
        self._tag, self._resource, self._node = tag, resource, node
        self._present, self._in_service, self._store = present, in_service, store

    def observe(self) -> Registered:
        """Read the definition and the state. Raises `NotFound` where a resource that is to be recorded has neither."""
        state = self._store.state(self._tag)
        if not self._present:
            return Registered(state, None)
        return Registered(state, effective(self._tag, self._resource or self._store.definition(self._tag), state))

    def plan(self, state: Registered) -> tuple[RegistrationAction, ...]:
        """One record, one removal, or nothing."""
        if state.known is None:
            return (Forget(self._tag),) if state.state is not None else ()
        wanted = self._wanted(state.known)
        return () if wanted == state.state else (Record(wanted),)

    def simulate(self, state: Registered, actions: tuple[RegistrationAction, ...]) -> Registered:
        """What the last action leaves."""
        for action in actions:
            if isinstance(action, Forget) or state.known is None:
                state = Registered(None, None)
            else:
                state = Registered(action.state, replace(state.known, in_service=action.state.in_service, state=action.state))
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
        row = (recorded.tag, recorded.address, recorded.interface, recorded.backup_interface or "none", service)
        return text_table(("tag", "address", "primary", "backup", "in service"), [row])

    def result(self, run: Run[Registered, RegistrationAction]) -> dict[str, object]:
        """The return values of ip_resource."""
        known = run.after.known
        if known is None:
            return {"info": None, "in_service": None}
        return {"info": info_record(self._node, known), "in_service": known.in_service}

    def _wanted(self, known: Effective) -> State:
        state = learn(known, interface=known.interface, backup_interface=known.backup_interface)
        return state if self._in_service is None else replace(state, in_service=self._in_service)

    def _attempt(self, action: RegistrationAction) -> Attempt[RegistrationAction]:
        try:
            if isinstance(action, Forget):
                self._store.forget(action.tag)
            else:
                self._store.save(action.state)
        except HoldfastError as error:
            return Attempt(action, error)
        return Attempt(action)
