# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs that need no more than this node's kernel, made in the checker's own process (DESIGN.md section 8).

The plans and what carries them out are the modules'. Addresses are put up through the lease's grant alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import Grant, ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import verify
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import targets_of
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, learn, swap_target, swapped
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import probe_from, probe_of


@dataclass(frozen=True)
class Repaired:
    """``what`` was done, in words. ``serving``: the link that has the address now."""

    what: str
    serving: str | None


class Reflexes:
    """Those of one resource.

    :param grant: See `address.Grant`.
    :param gateway: The router of a link, where it is known.
    """

    def __init__(self, address: ProtectedAddress, grant: Grant, gateway: Callable[[str], str | None]) -> None:
        self._address, self._grant, self._gateway = address, grant, gateway

    def repair(self, faults: tuple[Fault, ...], *, unique: bool, seen: NetState | None = None, own: Address | None = None) -> Repaired:
        """Repair what can be repaired here. Raises `HoldfastError` for what cannot.

        :param unique: See `ProtectedAddress.bring_up`.
        :param seen: The links as they were seen a moment ago, where they were.
        :param own: The private address that the Elastic IP is associated with, where that is known and another one.
        """
        if faults == (Fault.STRAY,):
            self._address.take_down()
            return Repaired("removed it, since another node holds the lease", None)
        known = self._address.known()
        if Fault.ELASTIC_IP_SOURCE_ROUTE in faults and own is not None:
            self._address.route_replies(own, self._gateway(known.interface))
            if faults == (Fault.ELASTIC_IP_SOURCE_ROUTE,):
                return Repaired(f"made the replies of {own.host} leave by {known.interface}", known.interface)
        net = seen if seen is not None else self._address.kernel.links()
        link = net.find(known.interface)
        backup = net.find(known.backup_interface) if known.backup_interface else None
        if (link is None or not link.up) and backup is not None and backup.up:
            self.swap(known, backup.name, net)
            return Repaired(f"moved it from {known.interface} to {backup.name}", backup.name)
        if link is not None and link.up and not unique:
            self._address.put_back(self._grant, net)
        self._address.bring_up(self._grant, self._gateway(known.interface), unique=unique)
        only_replies = set(faults) <= {Fault.SOURCE_ROUTE, Fault.ELASTIC_IP_SOURCE_ROUTE}
        what = f"made its replies leave by {known.interface}" if only_replies else f"put it on {known.interface}"
        return Repaired(what, known.interface)

    def swap(self, known: EffectiveResource, to: str, net: NetState) -> None:
        """Have the address on the other interface and record that. Raises `HoldfastError`."""
        self._address.put_back(self._grant, net, to)
        self._address.bring_up(self._grant, self._gateway(to), to=to, unique=False)
        self._record(known, to)

    def move(self) -> Repaired:
        """As ``lkipbu -m``: to the backup, verified by ping; back where it was, and nothing recorded, where nobody answers."""
        known = self._address.known()
        to = swap_target(known, None)
        self._address.bring_up(self._grant, self._gateway(to), to=to, unique=False)
        try:
            moved = replace(known, interface=to)
            link = self._address.kernel.links().link(to)
            source = probe_from(moved, link)
            probe = probe_of(moved, link, known.resource.probe) if known.resource is not None else None
            if probe is not None:
                targets_of(source, probe)
                verify(source, to, probe)
        except HoldfastError as error:
            self._address.bring_up(self._grant, self._gateway(known.interface), unique=False)
            raise type(error)(f"{error.message}; {known.address.host} is back on {known.interface}, and nothing was recorded") from None
        self._record(known, to)
        return Repaired(f"moved it from {known.interface} to {to}", to)

    def _record(self, known: EffectiveResource, to: str) -> None:
        wanted = swapped(known, to)
        self._address.files.save(learn(known, interface=wanted.interface, backup_interface=wanted.backup_interface))
