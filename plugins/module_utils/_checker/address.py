# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of one resource on this node, put up for as long as the lease allows and not longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._errors import NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._model import Address, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import AddAddress, AddRoute, RefreshAddress, RemoveAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel, apply, await_detection
from ansible_collections.holdfast.ha.plugins.module_utils._net.lifetime import set_lifetime
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import plan
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired
from ansible_collections.holdfast.ha.plugins.module_utils._resource.learned import Effective
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

#: Calls what it is given with the seconds that an address may live now (`deadman.extend`); raises `LeaseOver`.
Grant = Callable[[Callable[[int], None]], int]
#: Stands in for the lifetime in a plan; the real one is known only at the moment it is set.
_SOME = 1


@dataclass(frozen=True)
class ProtectedAddress:
    """One resource's address in the kernel, through the same plan and actions as the modules."""

    tag: str
    kernel: Kernel
    files: Store

    def known(self) -> Effective:
        """The resource as it is to be treated now. Raises `HoldfastError`."""
        return self.files.effective(self.tag)

    def places(self) -> list[tuple[Link, LinkAddress]]:
        """Where it stands."""
        return list(self.kernel.links().places(self.known().address))

    def bring_up(self, grant: Grant, gateway: str | None = None) -> None:
        """Have it on its interface, after asking whether another host has it. Raises `Refused` for that, and what `grant` raises."""
        known = self.known()
        given = gateway or (known.resource.gateway if known.resource else None)
        desired = Desired(known.address, known.interface, valid_lft=_SOME, gateway=given)
        for action in plan(desired, observe(self.kernel.run, self.kernel.settings)):
            if isinstance(action, (AddAddress, RefreshAddress)):
                detect = isinstance(action, AddAddress) and action.detect
                self._live(action.address, action.interface, grant, detect=detect)
                if detect:
                    await_detection(action.address, action.interface, self.kernel)
                if isinstance(action, AddAddress):
                    apply(tuple(AddRoute(route) for route in action.restore), self.kernel)
                continue
            for attempt in apply((action,), self.kernel):
                if attempt.error is not None:
                    raise attempt.error

    def prolong(self, grant: Grant, last: str | None) -> str | None:
        """Let it live on wherever it stands; where it stands nowhere, on the link ``last``. The link, or ``None`` where it stands on none."""
        known = self.known()
        places = list(self.kernel.links().places(known.address))
        for link, held in places:
            self._live(held.address, link.name, grant, noprefixroute=held.noprefixroute)
        if places:
            return places[0][0].name
        if last is not None:
            self._live(known.address, last, grant)
        return last

    def take_down(self) -> None:
        """Remove it from every link, and its source route. Raises `NotConverged` when it is still there."""
        address = self.known().address
        for link in dict.fromkeys([self.known().interface, *(link.name for link, _held in self.places())]):
            net = observe(self.kernel.run, self.kernel.settings)
            if net.find(link) is not None:
                apply(plan(Desired(address, link, present=False), net), self.kernel)
        left = self.places()
        apply(tuple(RemoveAddress(held.address, link.name) for link, held in left), self.kernel)
        if left and self.places():
            raise NotConverged(f"{address} is still on {left[0][0].name} after its removal", interface=left[0][0].name)

    @staticmethod
    def _live(address: Address, interface: str, grant: Grant, *, detect: bool = False, noprefixroute: bool = False) -> None:
        grant(lambda seconds: set_lifetime(address, interface, seconds, detect=detect, noprefixroute=noprefixroute))
