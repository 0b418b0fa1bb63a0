# SPDX-License-Identifier: GPL-3.0-or-later
"""The action that both changes of a resource end with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, State


@dataclass(frozen=True)
class Record:
    """Write what was learned to the state file."""

    state: State

    def __str__(self) -> str:
        backup = self.state.backup_interface or "none"
        return f"recording {self.state.interface} as primary and {backup} as backup interface of {self.state.tag}"


@dataclass(frozen=True)
class ResourceSight:
    """A resource as it is known, and this host's network."""

    known: EffectiveResource
    net: NetState


def after_record(known: EffectiveResource, record: Record) -> EffectiveResource:
    """``known`` once the record has been written."""
    state, real = record.state, {given: name for name, given in known.given_names.items()}
    backup = None if state.backup_interface is None else real.get(state.backup_interface, state.backup_interface)
    return replace(known, interface=real.get(state.interface, state.interface), backup_interface=backup, state=state)


def resource_table(known: EffectiveResource, place: str) -> str:
    """The resource as the diff shows it. ``place``: the link on which the address stands."""
    row = (known.tag, known.address, known.interface, known.backup_interface or "none", place)
    return text_table(("tag", "address", "primary", "backup", "on"), [row])


def place_of(known: EffectiveResource, net: NetState) -> str:
    """The links on which the address stands."""
    return ",".join(dict.fromkeys(link.name for link, _held in net.places(known.address))) or "-"
