# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup interface of a resource, as a change that `_core/converge` can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, add_backup, learn, remove_backup
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import info_record
from ansible_collections.holdfast.ha.plugins.module_utils._resource.record import Record, ResourceSight, after_record, place_of, resource_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

if TYPE_CHECKING:
    import netaddr


class BackupTask:
    """A `Reconciler` for the backup interface of one resource."""

    def __init__(
        self, tag: str, resource: Resource | None, interface: str, node: str, *, present: bool, store: Store, run: Runner, warn: Callable[[str], None]
    ) -> None:
        self._tag, self._resource, self._interface, self._node = tag, resource, interface, node
        self._present = present
        self._store, self._run, self._warn = store, run, warn

    def observe(self) -> ResourceSight:
        """Read the definition and the state, and look at the links."""
        return ResourceSight(self._store.effective(self._tag, self._resource), NetState(observe_links(self._run)))

    def plan(self, state: ResourceSight) -> tuple[Record, ...]:
        """One record, or none. Raises `Refused` or `NotFound` as scenarios.md D says."""
        known = state.known
        if self._present:
            state.net.link(self._interface)
            wanted = add_backup(known, self._interface)
        else:
            wanted = remove_backup(known, self._interface)
        if wanted == known:
            return ()
        return (Record(learn(known, interface=wanted.interface, backup_interface=wanted.backup_interface)),)

    def simulate(self, state: ResourceSight, actions: tuple[Record, ...]) -> ResourceSight:
        """The resource with the last record."""
        return ResourceSight(after_record(state.known, actions[-1]), state.net) if actions else state

    def apply(self, actions: tuple[Record, ...]) -> tuple[Attempt[Record], ...]:
        """Write the state file."""
        return tuple(_save(self._store, action) for action in actions)

    def table(self, state: ResourceSight) -> str:
        """The resource in one row."""
        return resource_table(state.known, place_of(state.known, state.net))

    def result(self, run: Run[ResourceSight, Record]) -> dict[str, object]:
        """The return values of ip_backup_interface."""
        known = run.after.known
        warning = apart(known, run.after.net) if self._present else None
        if warning:
            self._warn(warning)
        return {
            "info": info_record(self._node, known),
            "primary_interface": known.interface,
            "backup_interface": known.backup_interface,
        }


def apart(known: EffectiveResource, net: NetState) -> str | None:
    """A warning when the addresses on primary and backup interface say that they are not on one network (scenarios.md C1)."""
    ours, theirs = _networks(known, known.interface, net), _networks(known, known.backup_interface, net)
    if not ours or not theirs or any(one in other or other in one for one in ours for other in theirs):
        return None
    return (
        f"{known.interface} is on {', '.join(map(str, ours))} and {known.backup_interface} on {', '.join(map(str, theirs))}: "
        f"a backup interface of {known.tag} has to be on the same physical network"
    )


def _networks(known: EffectiveResource, interface: str | None, net: NetState) -> list[netaddr.IPNetwork]:
    link = net.find(interface) if interface else None
    held = [entry.address for entry in link.addresses if entry.scope == "global"] if link else []
    return sorted({address.network for address in held if address.version == known.address.version and address.ip != known.address.ip})


def _save(store: Store, record: Record) -> Attempt[Record]:
    try:
        store.save(record.state)
    except HoldfastError as error:
        return Attempt(record, error)
    return Attempt(record)
