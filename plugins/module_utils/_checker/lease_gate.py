# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a tenure, shared by threads. An address gets a lifetime only through it (DESIGN.md section 6).

Each step of the tenure, and each grant of a lifetime from the check to the kernel's reply, holds the same lock. So a grant happens either before the
address is to go, and the removal that follows ends it, or it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.single_node import FOREVER
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Held
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import State as RuleState
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import tenure
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure_values import (
    Action,
    Event,
    LeaseView,
    ResourceView,
    State,
)


class LeaseGate:
    """For any thread, apart from `step`.

    :param clock: CLOCK_BOOTTIME, in seconds.
    :param alone: No other node can hold the resource, so the address needs no lifetime.
    """

    def __init__(self, tag: str, keeper: Keeper, address: ProtectedAddress, clock: Callable[[], float], alone: bool) -> None:
        self.tag, self.address, self.alone = tag, address, alone
        self._keeper, self._clock, self._lock = keeper, clock, threading.RLock()
        rule = keeper.state
        view = LeaseView(highest=rule.highest)
        self._tenure = State(tag, rule.me.name, rule.timing, alone=alone, lease=view, reported=view)
        #: Called after something about the lease has changed. It must not wait.
        self.changed: Callable[[], None] = lambda: None

    def step(self, event: Event) -> tuple[Action, ...]:
        """One step of the tenure. The actions are for the thread of the lease."""
        with self._lock:
            self._tenure, actions = tenure.step(self._tenure, event)
        return actions

    def _note(self, **changes: Any) -> None:
        """Change facts in the state of the tenure. That leads to no action."""
        with self._lock:
            self._tenure = replace(self._tenure, **changes)

    @property
    def permit(self) -> int:
        """For `grant` and `serve`: good until a request takes the resource out of service."""
        return self._tenure.withdrawals

    def grant(self, give: Callable[[int], None], permit: int | None = None) -> int:
        """Give an address the seconds that the lease allows now; see `address.Grant`. Raises `LeaseOver`."""
        with self._lock:
            before = self._clock()
            seconds = self.within_lease(give, permit)
            if not self.alone:
                self._note(alive_until=before + seconds)
            return seconds

    def within_lease(self, act: Callable[[int], None], permit: int | None = None) -> int:
        """As `grant`, for an act that does not prolong the address: it is over before the lease is. Raises `LeaseOver`."""
        with self._lock:
            held = self._held(permit)
            if self.alone:
                act(FOREVER)
                return FOREVER
            return extend(held.deadline, self._keeper.state.timing, act, self._clock)

    def serve(self, link: str | None, permit: int | None = None) -> None:
        """The address is up on ``link``; from now on it is prolonged with the lease. Raises `LeaseOver`."""
        with self._lock:
            self._held(permit)
            self._note(serving=True, link=link)
        self.changed()

    def _held(self, permit: int | None) -> Held:
        refusal, held = tenure.refusal(self._tenure, permit), self._keeper.state.held
        if refusal or held is None:
            raise LeaseOver(refusal or tenure.NOT_HELD)
        return held

    def at_work(self) -> None:
        """A playbook that takes the resource over or gives it up has said something again."""
        until = self._patience(self.serving)  # it reads a file, so before the lock
        with self._lock:
            self._tenure = tenure.left_longer(self._tenure, self._clock(), until)

    def _patience(self, up: bool) -> float:
        return self._clock() + tenure.hands_off(self._tenure, self._resource(), up=up)

    def fence_first(self) -> bool:
        """Whether the address waits for a fence of the former holder."""
        return tenure.fence_first(self._tenure, self._resource())

    def _resource(self) -> ResourceView | None:
        try:
            known = self.address.known()
        except HoldfastError:
            return None
        return ResourceView(bool(known.in_service), known.resource is not None and known.resource.fence != "none")

    def _lease(self) -> LeaseView:
        """The lease for the tenure."""
        state, error = self._keeper.state, self._keeper.error
        record = state.seen.record if state.seen is not None else None
        return LeaseView(state.held, state.seen is not None, record, state.owned, state.fell, state.highest, error)

    # --- facts for the rest of the checker -----------------------------------------------------------------------------

    @property
    def state(self) -> RuleState:
        """The state of the rule of the lease."""
        return self._keeper.state

    @property
    def serving(self) -> bool:
        """Whether the address is prolonged with the lease."""
        return self._tenure.serving

    @property
    def since(self) -> float:
        """When the lease came to be held here."""
        return self._tenure.since

    @property
    def taken(self) -> bool:
        """Whether it was another node's before, or free."""
        return self._tenure.taken

    @property
    def handed(self) -> bool:
        """Whether it came by a hand-over, and nobody took the resource out of service since."""
        return self._tenure.handed

    @property
    def expired(self) -> bool:
        """Whether the holder before did not release it, as far as is known."""
        return self._tenure.expired

    @property
    def hands_off_until(self) -> float:
        """Until when the resource is left to a playbook that takes it over or gives it up."""
        return self._tenure.hands_off_until

    @hands_off_until.setter
    def hands_off_until(self, until: float) -> None:
        self._note(hands_off_until=until)
