# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module lease_address does: have the checker of this host put a resource's address in service, or take it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Union

from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask, status_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_ip, parse_tag, text_table
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


@dataclass(frozen=True)
class LeasedAddressState:
    """Where the address stands, and what the checker says. ``interface``: where it should be, and ``alive``: which is up and has a carrier;
    ``exact``: with the right prefix length there.
    """

    interface: str
    places: tuple[str, ...]
    serving: bool
    held: bool
    exact: bool = True
    alive: bool = True


@dataclass(frozen=True)
class BringUp:
    """Put the address up for as long as the lease lasts."""

    tag: str
    gateway: str | None

    def __str__(self) -> str:
        return f"bring up the address of {self.tag} for as long as its lease lasts"


@dataclass(frozen=True)
class TakeDown:
    """Remove the address; the lease stays."""

    tag: str

    def __str__(self) -> str:
        return f"take down the address of {self.tag}"


Step = Union[BringUp, TakeDown]


class LeasedAddressTask:
    """A `Reconciler`. Raises `NoChecker` where no checker watches the lease."""

    def __init__(self, params: Mapping[str, Any], run: Runner) -> None:
        self._cluster, self._tag, self._run = parse_tag(params["cluster"], "cluster"), parse_tag(params["tag"]), run
        self._present = params["state"] == "present"
        self._gateway = str(parse_ip(params["gateway"], "gateway")) if params["gateway"] else None
        self._files = Store()

    def observe(self) -> LeasedAddressState:
        """Ask the checker, and look at the kernel."""
        status = status_of(self._cluster, self._tag)
        if status is None:
            raise NoChecker(
                f"no checker on this host watches the lease {self._cluster}/{self._tag}, so nobody would let the address go in time; "
                "start holdfast-checker.service, or see to its configuration"
            )
        known = self._files.effective(self._tag)
        net = NetState(observe_links(self._run))
        found, link = tuple(net.places(known.address)), net.find(known.interface)
        places = tuple(dict.fromkeys(link.name for link, _held in found))
        exact = all(held.address == known.address for _link, held in found)
        return LeasedAddressState(known.interface, places, bool(status["serving"]), bool(status["held"]), exact, link is not None and link.up)

    def plan(self, state: LeasedAddressState) -> tuple[Step, ...]:
        """One action, or none. Raises `Refused` for a node that does not hold the lease."""
        if not self._present:
            return (TakeDown(self._tag),) if state.serving or state.places else ()
        if not state.held:
            raise Refused(f"this node does not hold the lease {self._cluster}/{self._tag}; acquire it with holdfast.ha.lease first")
        right = state.serving and state.exact and state.alive and state.places == (state.interface,)
        return () if right else (BringUp(self._tag, self._gateway),)

    def simulate(self, state: LeasedAddressState, actions: tuple[Step, ...]) -> LeasedAddressState:
        """Up on its interface, or nowhere."""
        if not actions:
            return state
        return replace(state, serving=self._present, places=(state.interface,) if self._present else (), exact=True, alive=True)

    def apply(self, actions: tuple[Step, ...]) -> tuple[Attempt[Step], ...]:
        """Ask the checker."""
        try:
            for action in actions:
                if isinstance(action, BringUp):
                    ask("serve", tag=action.tag, gateway=action.gateway)
                else:
                    ask("withdraw", tag=action.tag)
        except HoldfastError as error:
            return (Attempt(actions[0], error),)
        return tuple(Attempt(action) for action in actions)

    def table(self, state: LeasedAddressState) -> str:
        """One row."""
        return text_table(("tag", "address on", "kept up"), [(self._tag, ",".join(state.places) or "-", "yes" if state.serving else "no")])

    def result(self, run: Run[LeasedAddressState, Step]) -> dict[str, object]:
        """The return values of lease_address."""
        return {"interface": run.after.places[0] if run.after.places else None, "serving": run.after.serving}
