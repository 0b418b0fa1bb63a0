# SPDX-License-Identifier: GPL-3.0-or-later
"""The source route of one address of this host, as a change that `_core/converge` can make. The address itself is left alone."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_address import described_route
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import Action
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel, apply
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import advice, plan_removal, plan_source_route, standing
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState


class SourceRouteTask:
    """A `Reconciler` for the rule and table of one address."""

    def __init__(self, desired: Desired, kernel: Kernel, warn: Callable[[str], None]) -> None:
        self._desired, self._kernel, self._warn = desired, kernel, warn

    def observe(self) -> NetState:
        """Look at links, routes and rules."""
        return observe(self._kernel.run, self._desired.address, settings=self._kernel.settings)

    def plan(self, state: NetState) -> tuple[Action, ...]:
        """See `source_route`. Raises `Refused` where the address is not on the interface: its replies leave by where it is."""
        wanted = self._desired
        if not wanted.present:
            return plan_removal(wanted.address, state)
        link = state.link(wanted.interface)
        if all(held.address.ip != wanted.address.ip for held in link.addresses):
            raise Refused(f"{wanted.address.host} is not on {link.name}; give the interface that has it", interface=link.name)
        return plan_source_route(wanted, state)

    def simulate(self, state: NetState, actions: tuple[Action, ...]) -> NetState:
        """See `simulate.simulate`."""
        return simulate(state, actions)

    def apply(self, actions: tuple[Action, ...]) -> tuple[Attempt[Action], ...]:
        """See `apply.apply`."""
        return apply(actions, self._kernel)

    def table(self, state: NetState) -> str:
        """The routes of the address's table."""
        route = standing(self._desired.address, state)
        rows = sorted((each.destination, each.gateway or "-", each.interface or "-") for each in route.routes) if route else []
        return text_table(("destination", "gateway", "interface"), rows)

    def result(self, run: Run[NetState, Action]) -> dict[str, object]:
        """The return values of ip_source_route."""
        warning = advice(self._desired, run.after)
        if warning:
            self._warn(warning)
        address = self._desired.address
        return {"before": described_route(standing(address, run.before)), "after": described_route(standing(address, run.after))}
