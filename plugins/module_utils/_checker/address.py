# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of one resource on this node, put up for as long as the lease allows and not longer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, LinkAddress, parse_ip
from ansible_collections.holdfast.ha.plugins.module_utils._net import frames
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    Action,
    AddAddress,
    AddRoute,
    Announce,
    RefreshAddress,
    RemoveAddress,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel, apply
from ansible_collections.holdfast.ha.plugins.module_utils._net.lifetime import set_lifetime
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import label_on, label_suffix, plan
from ansible_collections.holdfast.ha.plugins.module_utils._net.replies import Astray, cause, leave_by
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import real_name
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import plan_source_route
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, since_boot
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

#: Calls what it is given with the seconds that an address may live now (`deadman.extend`); raises `LeaseOver`.
Grant = Callable[[Callable[[int], None]], int]
#: Stands in for the lifetime in a plan; the real one is known only at the moment it is set.
_SOME = 1


class ResourceCache:
    """A resource as this node is to treat it now, read anew only when one of its two files has changed.

    A restart of the machine has ended its service, whatever the state says from before.

    What can no longer be read stays as it was: an address in service is not to go for that. ``trouble`` says why, in a line.
    """

    def __init__(self, tag: str, files: Store) -> None:
        self._tag, self._files = tag, files
        self._paths = tuple(str(folder / f"{tag}.json") for folder in (files.definitions, files.states))  # once: it is asked for often
        self._seen: tuple[object, ...] = ()
        self._known: EffectiveResource | None = None
        self.trouble = ""

    def __call__(self) -> EffectiveResource:
        """Raises `HoldfastError` where it could never be read."""
        now = (*(_stamp(path) for path in self._paths), *(real_name(name) for name in self._other_names()))
        if self._known is None or now != self._seen:
            try:
                known = self._files.effective(self._tag)
                self._known, self._seen, self.trouble = replace(known, in_service=since_boot(known, self._files.boot())), now, ""
            except HoldfastError as error:
                if self._known is None:
                    raise
                self._seen, self.trouble = now, error.message
        return self._known

    def _other_names(self) -> tuple[str, ...]:
        """Names that are not the kernel's own: which link has them may change."""
        return () if self._known is None else tuple(self._known.given_names.values())


def _stamp(path: str) -> object:
    try:
        about = os.lstat(path)  # of a link itself: it is not followed when it is read either
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


class ProtectedAddress:
    """One resource's address in the kernel, through the same plan and actions as the modules."""

    def __init__(self, tag: str, kernel: Kernel, files: Store) -> None:
        self.tag, self.kernel, self.files = tag, kernel, files
        self.known = ResourceCache(tag, files)
        #: What followed the interface's name in its label when it was last seen.
        self._label: str | None = None

    def places(self) -> list[tuple[Link, LinkAddress]]:
        """Where it stands."""
        return list(self.kernel.links().places(self.known().address))

    def bring_up(self, grant: Grant, gateway: str | None = None, *, to: str | None = None, unique: bool = True) -> None:
        """Have it on its interface, or on ``to``.

        :param unique: Ask whether another host has it, which takes 0.3 s. Raises `Refused` where one does.
        :raises HoldfastError: And what `grant` raises.
        """
        desired = self._desired(gateway, to, unique)
        self._carry_out(plan(desired, self._observe(desired.interface)), grant)

    def _observe(self, *interfaces: str) -> NetState:
        return observe(self.kernel.run, self.known().address, interfaces, self.kernel.settings)

    def _desired(self, gateway: str | None, to: str | None = None, unique: bool = False) -> Desired:
        known = self.known()
        given = gateway or (known.resource.gateway if known.resource else None)
        return Desired(known.address, to or known.interface, valid_lft=_SOME, gateway=given, label=self._suffix(), check_unique=unique, leave_up=True)

    def _suffix(self) -> str | None:
        resource = self.known().resource
        return resource.label if resource is not None and resource.label is not None else self._label

    def replies_by(self, link: Link, net: NetState, of: Address | None = None) -> bool:
        """Whether the kernel sends the address's replies by this link, or does not tell. ``of``: those of another address of the link."""
        return leave_by(of or self.known().address, link, net)

    def astray(self, gateway: str | None, of: Address | None = None) -> Astray | None:
        """Why its replies leave by another link; ``repairable`` where `bring_up` would change that. Raises `HoldfastError`.

        :param of: As of `replies_by`; `route_replies` would change it then.
        """
        return cause(*self._replies(gateway, of))

    def route_replies(self, of: Address, gateway: str | None) -> None:
        """Make the replies of another address of the interface leave by it, as ip_source_route does. Raises `HoldfastError`."""
        for action in plan_source_route(*self._replies(gateway, of)):
            self._apply(action)

    def _replies(self, gateway: str | None, of: Address | None) -> tuple[Desired, NetState]:
        """What is wanted of the replies, and what is known of the host for that. The gateway may be of the protected address's family alone."""
        desired = self._desired(gateway)
        if of is None:
            return desired, self._observe()
        own = desired.gateway if desired.gateway is not None and parse_ip(desired.gateway, "gateway").version == of.version else None
        return replace(desired, address=of, gateway=own), observe(self.kernel.run, of, (), self.kernel.settings)

    def put_back(self, grant: Grant, net: NetState, to: str | None = None) -> None:
        """As `bring_up`, by the links alone that were seen in ``net``: without asking other hosts, and without routes and rules."""
        self._carry_out(plan(self._put_back(to), net), grant)

    def without(self, net: NetState) -> NetState:
        """``net`` as it would be had the address gone from its interface."""
        known = self.known()
        return simulate(net, (RemoveAddress(known.address, known.interface),))

    def foresee(self, net: NetState) -> AddAddress | None:
        """What `put_back` would do first if the address went from its interface in ``net``, where that is to add it again."""
        self._learn_label(net)
        try:
            first = next(iter(plan(self._put_back(None), self.without(net))), None)
        except HoldfastError:
            return None
        return first if isinstance(first, AddAddress) else None

    def add(self, action: AddAddress, grant: Grant) -> None:
        """Carry out what was foreseen. Raises `HoldfastError`, and what `grant` raises."""
        self._carry_out((action,), grant)

    def _put_back(self, to: str | None) -> Desired:
        known = self.known()
        return Desired(known.address, to or known.interface, valid_lft=_SOME, label=self._suffix(), check_unique=False, source_route=False)

    def _carry_out(self, actions: tuple[Action, ...], grant: Grant) -> None:
        for action in actions:
            if isinstance(action, (AddAddress, RefreshAddress)):
                options: dict[str, Any] = {"label": action.label} if isinstance(action, AddAddress) else {}
                if isinstance(action, RefreshAddress):
                    options = {"noprefixroute": action.noprefixroute, "metric": action.metric}
                self._live(action.address, action.interface, grant, **options)
                if isinstance(action, AddAddress):
                    apply(tuple(AddRoute(route) for route in action.restore), self.kernel)
            elif isinstance(action, Announce):
                self.announce(self.kernel.links().link(action.interface), grant, action.count)
            else:
                self._apply(action)

    def announce(self, link: Link, within_lease: Grant, count: int = 1) -> None:
        """Tell the neighbours. Raises `HoldfastError`, and what ``within_lease`` raises.

        Within the lease: who is stopped before this, and goes on after it, must not lead the neighbours away from the next holder.
        """
        frames.announce(self.known().address, link, count, self.kernel.pause, lambda send: within_lease(lambda seconds: send()))

    def _apply(self, action: Action) -> None:
        for attempt in apply((action,), self.kernel):
            if attempt.error is not None:
                raise attempt.error

    def prolong(self, grant: Grant, last: str | None) -> str | None:
        """Let it live on wherever it stands; where it stands nowhere, on the link ``last``. The link, or ``None`` where it stands on none."""
        known = self.known()
        net = self.kernel.links()
        self._learn_label(net)
        places = list(net.places(known.address))
        for link, held in places:
            self._live(held.address, link.name, grant, noprefixroute=held.noprefixroute, metric=held.metric)
        if places:
            return places[0][0].name
        if last is not None:
            self._live(known.address, last, grant, label=label_on(last, self._suffix()))
        return last

    def _learn_label(self, net: NetState) -> None:
        places = list(net.places(self.known().address))
        if places:
            self._label = label_suffix(*places[0])

    def take_down(self) -> None:
        """Remove it from every link, and its source route. Raises `NotConverged` when it is still there."""
        address = self.known().address
        for link in dict.fromkeys([self.known().interface, *(link.name for link, _held in self.places())]):
            net = self._observe()
            if net.find(link) is not None:
                apply(plan(Desired(address, link, present=False), net), self.kernel)
        left = self.places()
        apply(tuple(RemoveAddress(held.address, link.name) for link, held in left), self.kernel)
        if left and self.places():
            raise NotConverged(f"{address} is still on {left[0][0].name} after its removal", interface=left[0][0].name)

    @staticmethod
    def _live(address: Address, interface: str, grant: Grant, **options: Any) -> None:
        """``options``: of `set_lifetime`."""
        grant(lambda seconds: set_lifetime(address, interface, seconds, **options))
