# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a resource's address to its other interface, as a change that `_core/converge` can make (scenarios.md D, -m)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe, Resource, parse_gateway
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._net import actions as net_actions
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import apply as apply_net
from ansible_collections.holdfast.ha.plugins.module_utils._net.lifetime import set_lifetime
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import plan as plan_net
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan_back import plan_back
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import verify
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import targets_of
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate as simulate_net
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import advice
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import learn, swap_target, swapped
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import in_service, info_record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import probe_from, probe_of
from ansible_collections.holdfast.ha.plugins.module_utils._resource.record import Record, ResourceSight, after_record, place_of, resource_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

_ANNOUNCEMENTS = 3
#: The margin of the strictest profile: which one the checker goes by is not known here.
_CAREFUL = Timing(margin=0.75)
#: By how much a number of seconds from the checker may be rounded up.
_ROUNDED = 0.05


@dataclass(frozen=True)
class Verify:
    """Ping from its new place: ``address`` is the protected one, or the link's own (see `probing`)."""

    address: Address
    interface: str
    probe: Probe

    def __str__(self) -> str:
        return f"verifying {self.address.host} on {self.interface}"


SwapAction = Union[net_actions.Action, Verify, Record]


@dataclass(frozen=True)
class Wish:
    """What the user asked for: the options of ip_swap_interface. ``to`` is ``None`` for the other interface, whichever it is."""

    tag: str
    to: str | None
    probe: Probe
    gateway: str | None
    node: str
    resource: Resource | None = None


class SwapTask:
    """A `Reconciler` for the interface that a resource is on.

    :param lease_of: What the checker says of a tag's lease (`lease.lease_of`), ``None`` for no lease. Where there is one, the address lives
        only as long as it.
    :param alone_with: While this lasts, nobody else on this host moves the address of a tag (`lease.alone_with`).
    """

    def __init__(
        self,
        wish: Wish,
        store: Store,
        kernel: Kernel,
        warn: Callable[[str], None],
        lease_of: Callable[[str], Mapping[str, Any] | None] = lambda _tag: None,
        alone_with: Callable[[str], AbstractContextManager[None]] = lambda _tag: nullcontext(),
    ) -> None:
        self._wish, self._store, self._kernel, self._warn, self._lease_of = wish, store, kernel, warn, lease_of
        self._alone_with = alone_with
        #: Decided at the first look, else every further look would swap again.
        self._target = wish.to

    def observe(self) -> ResourceSight:
        """Read the definition and the state, and look at the network."""
        known = self._store.effective(self._wish.tag, self._wish.resource)
        return ResourceSight(known, observe(self._kernel.run, known.address, (known.interface, known.backup_interface), self._kernel.settings))

    def plan(self, state: ResourceSight) -> tuple[SwapAction, ...]:
        """Move, verify, record, in that order: what is recorded is where the address was last proved to work (scenarios.md C7).

        Out of service there is only the record. Raises `Refused` where there is no backup interface.
        """
        self._target = to = swap_target(state.known, self._target)
        serving = in_service(state.known, state.net)
        moves: tuple[SwapAction, ...] = plan_net(self._desired(state, to), state.net) if serving else ()
        wanted = swapped(state.known, to)
        record: tuple[SwapAction, ...] = ()
        if wanted != state.known:
            record = (Record(learn(state.known, interface=wanted.interface, backup_interface=wanted.backup_interface)),)
        if not (moves or record):
            return ()
        return (*moves, *self._verification(state, to, serving), *record)

    def simulate(self, state: ResourceSight, actions: tuple[SwapAction, ...]) -> ResourceSight:
        """The network after the moves, the resource after the record."""
        for action in actions:
            if isinstance(action, Record):
                state = replace(state, known=after_record(state.known, action))
            elif not isinstance(action, Verify):
                state = replace(state, net=simulate_net(state.net, (action,)))
        return state

    def apply(self, actions: tuple[SwapAction, ...]) -> tuple[Attempt[SwapAction], ...]:
        """In order; at the first error the address goes back, and only the action that failed is reported."""
        try:
            with self._alone_with(self._wish.tag):
                return self._apply(actions)
        except HoldfastError as error:
            return (Attempt(actions[0], error),)

    def _apply(self, actions: tuple[SwapAction, ...]) -> tuple[Attempt[SwapAction], ...]:
        before = self.observe()
        done: list[Attempt[SwapAction]] = []
        for action in actions:
            try:
                self._do(action)
            except HoldfastError as error:
                return (Attempt(action, self._put_back(before, error)),)
            done.append(Attempt(action))
        return tuple(done)

    def table(self, state: ResourceSight) -> str:
        """The resource in one row."""
        return resource_table(state.known, place_of(state.known, state.net))

    def result(self, run: Run[ResourceSight, SwapAction]) -> dict[str, object]:
        """The return values of ip_swap_interface."""
        serving = in_service(run.before.known, run.before.net)
        to = self._target or run.before.known.interface
        warning = advice(self._desired(run.after, to), run.after.net) if serving and not run.errors else None
        if warning:
            self._warn(warning)
        return {
            "from": run.before.known.interface,
            "to": to,
            "info": info_record(self._wish.node, run.after.known),
            "in_service": serving,
        }

    def _desired(self, state: ResourceSight, to: str) -> Desired:
        """The address on ``to``, with the lifetime that it has now: a lease that the kernel guards stays guarded."""
        lifetimes = [held.valid_lft for _link, held in state.net.places(state.known.address)]
        resource = state.known.resource
        gateway = parse_gateway(self._wish.gateway or (resource.gateway if resource else None), state.known.address)
        return Desired(
            state.known.address,
            to,
            valid_lft=lifetimes[0] if lifetimes else None,
            announce=_ANNOUNCEMENTS,
            gateway=gateway,
            label=resource.label if resource else None,
        )

    def _verification(self, state: ResourceSight, to: str, serving: bool) -> tuple[SwapAction, ...]:
        if not serving:
            return ()
        link = state.net.link(to)
        address, probe = probe_from(state.known, link), probe_of(state.known, link, self._wish.probe)
        for number, target in enumerate(probe.targets):
            parse_gateway(target, address, f"targets/{number}")
        targets_of(address, probe)
        return (Verify(address, to, probe),)

    def _do(self, action: SwapAction) -> None:
        if isinstance(action, Record):
            self._store.save(action.state)
        elif isinstance(action, Verify):
            verify(action.address, action.interface, action.probe)
        elif not (isinstance(action, (net_actions.AddAddress, net_actions.RefreshAddress)) and self._live(action)):
            (attempt,) = apply_net((action,), self._kernel)
            if attempt.error is not None:
                raise attempt.error

    def _live(self, action: net_actions.AddAddress | net_actions.RefreshAddress) -> bool:
        """Put the address up for as long as its lease lasts; false where no lease governs it. Raises `Refused` without the lease."""
        asked = boottime()
        lease = self._lease_of(self._wish.tag)
        if lease is None:
            return False
        left = lease.get("expires_in")
        if not lease.get("held") or left is None:
            raise Refused(f"this node does not hold the lease of {self._wish.tag}, so the address may not be up here; see holdfast.ha.lease_info")
        address, link, new = action.address, action.interface, isinstance(action, net_actions.AddAddress)
        given = {name: value for name in ("noprefixroute", "metric", "label") if (value := getattr(action, name, None)) is not None}
        lives = functools.partial(set_lifetime, address, link, **given)
        extend(asked + float(left) - _ROUNDED, _CAREFUL, lives)
        if new:
            apply_net(tuple(net_actions.AddRoute(route) for route in getattr(action, "restore", ())), self._kernel)
        return True

    def _first_error(self, actions: tuple[net_actions.Action, ...]) -> HoldfastError | None:
        try:
            for action in actions:
                self._do(action)
        except HoldfastError as error:
            return error
        return None

    def _put_back(self, before: ResourceSight, error: HoldfastError) -> HoldfastError:
        """The error, with what became of the address in its message."""
        address = before.known.address
        back = plan_back(address, before.net, observe(self._kernel.run, address, settings=self._kernel.settings), _ANNOUNCEMENTS)
        failed = self._first_error(back)
        if failed is not None:
            worse = HoldfastError(f"{error.message}; and putting {address.host} back failed: {failed.message}", returns=error.returns)
            worse.ambiguous = True  # something has changed, and stays so
            return worse
        if not back:
            return error
        place = place_of(before.known, before.net)
        where = f"back on {place}" if place != "-" else "removed again"
        return type(error)(f"{error.message}; {address.host} is {where}, and nothing was recorded", returns=error.returns, **error.details)
