# SPDX-License-Identifier: GPL-3.0-or-later
"""One address of this host, as a change that `_core/converge` can make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Link, LinkAddress, text_table
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import Action, Announce
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel, apply, claimed_by
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import plan
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import SourceRoute, advice, standing
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState


@dataclass(frozen=True)
class AddressState:
    """The network, and whether the link has been asked for another holder of the address (and there is none)."""

    net: NetState
    unclaimed: bool = False


class AddressTask:
    """A `Reconciler` for one address."""

    def __init__(self, desired: Desired, kernel: Kernel, warn: Callable[[str], None]) -> None:
        self._desired = desired
        self._kernel = kernel
        self._warn = warn
        self._announced = 0

    def observe(self) -> AddressState:
        """Look; where the address would be new to this host, ask the link for it too, so that check mode foresees a refusal."""
        net = observe(self._kernel.run, self._desired.address, (self._desired.interface,), self._kernel.settings)
        link = net.find(self._desired.interface)
        wanted, new = self._desired, not any(net.places(self._desired.address))
        ask = wanted.present and wanted.check_unique and new and link is not None and link.up and link.arp
        if ask:
            claimed_by(wanted.address, wanted.interface, net)
        return AddressState(net, ask)

    def plan(self, state: AddressState) -> tuple[Action, ...]:
        """See `plan.plan`."""
        return plan(self._desired, state.net, unclaimed=state.unclaimed)

    def simulate(self, state: AddressState, actions: tuple[Action, ...]) -> AddressState:
        """See `simulate.simulate`."""
        return AddressState(simulate(state.net, actions), state.unclaimed)

    def apply(self, actions: tuple[Action, ...]) -> tuple[Attempt[Action], ...]:
        """See `apply.apply`."""
        attempts = apply(actions, self._kernel)
        self._announced += sum(a.action.count for a in attempts if isinstance(a.action, Announce) and a.error is None)
        return attempts

    def table(self, state: AddressState) -> str:
        """Where the address stands, on each link that has it, and the source route."""
        rows = [_row(place, held, standing(self._desired.address, state.net)) for place, held in state.net.places(self._desired.address)]
        link = state.net.find(self._desired.interface)
        if not rows and link is not None:
            rows = [(link.name, "-", "-", _condition(link), "-")]
        return text_table(("interface", "address", "valid_lft", "link", "source route"), rows)

    def result(self, run: Run[AddressState, Action]) -> dict[str, object]:
        """The return values of ip_address."""
        warning = advice(self._desired, run.after.net)
        if warning:
            self._warn(warning)
        return {
            "address": str(self._desired.address),
            "interface": self._desired.interface,
            "before": describe(self._desired, run.before.net),
            "after": describe(self._desired, run.after.net),
            "announced": self._announced,
        }


def describe(desired: Desired, net: NetState) -> dict[str, object]:
    """The address as it stands, on the wanted link if it is there, else on another; ``interface`` is null where it is nowhere."""
    places = sorted(net.places(desired.address), key=lambda place: (place[0].name != desired.interface, place[1].address != desired.address))
    found = places[0] if places else None
    link = found[0] if found else net.find(desired.interface)
    route = standing(desired.address, net)
    return {
        "interface": found[0].name if found else None,
        "address": str(found[1].address) if found else None,
        "prefixlen": found[1].address.prefixlen if found else None,
        "valid_lft": _lifetime(found[1].valid_lft) if found else None,
        "dadfailed": found[1].dadfailed if found else False,
        "link_up": bool(link and link.admin_up),
        "carrier": bool(link and link.carrier),
        "source_route": described_route(route),
    }


def described_route(route: SourceRoute | None) -> dict[str, object] | None:
    """A source route as modules return it."""
    if route is None:
        return None
    default = route.default
    return {
        "table": route.rule.table,
        "interface": default.interface if default else None,
        "gateway": default.gateway if default else None,
    }


def _row(link: Link, held: LinkAddress, route: SourceRoute | None) -> tuple[str, ...]:
    default = route.default if route else None
    shown = f"via {default.gateway} dev {default.interface}" if default else "-"
    return (link.name, str(held.address), str(_lifetime(held.valid_lft)), _condition(link), shown)


def _condition(link: Link) -> str:
    return "up" if link.up else "no carrier" if link.admin_up else "down"


def _lifetime(seconds: int | None) -> int | str:
    return "forever" if seconds is None else seconds
