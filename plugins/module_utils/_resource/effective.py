# SPDX-License-Identifier: GPL-3.0-or-later
"""What recovery has learned of a resource on this node, and how that weighs against the inventory (DESIGN.md section 4). Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Resource, parse_link_name, parse_tag

_VERSION = 1
_ENI = re.compile(r"eni-[0-9a-f]{8,40}")


@dataclass(frozen=True)
class Fenced:
    """The network interfaces whose source/destination check this node switched on before it put the resource in service.

    :param epoch: Of the lease that this node held then; with another one this is over.
    :param nodes: The old holder; more names if it is known only that it is one of these; none if it is not known at all.
    """

    epoch: int
    interfaces: tuple[str, ...]
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """What the state file of one resource holds.

    ``interface`` and ``backup_interface`` are learned; ``inventory_*`` are what the inventory said when they were, and
    ``in_service`` is ``None`` until somebody has said so. ``boot`` is the kernel's id of the boot since which that holds; ``None`` where it is not
    known.
    """

    tag: str
    address: Address
    interface: str
    backup_interface: str | None = None
    in_service: bool | None = None
    inventory_interface: str | None = None
    inventory_backup: str | None = None
    boot: str | None = None
    fenced: Fenced | None = None


@dataclass(frozen=True)
class EffectiveResource:
    """A resource as this node is to treat it now."""

    tag: str
    address: Address
    interface: str
    backup_interface: str | None
    in_service: bool | None
    resource: Resource | None = None
    state: State | None = None
    #: By the kernel's name of a link, the one that the inventory or the state has, where that is another one, or no link has it.
    given_names: Mapping[str, str] = field(default_factory=dict)


def effective(tag: str, resource: Resource | None, state: State | None) -> EffectiveResource:
    """What was learned wins, value by value, until the inventory's own value is another than when it was learned.

    The address is always the inventory's. Raises `NotFound` when the resource is neither defined nor known.
    """
    if state is None:
        if resource is None:
            raise NotFound(
                f"no resource {tag}: it has neither a definition in /etc/holdfast/resources nor a state file; see the tag, or give resource", tag=tag
            )
        return EffectiveResource(tag, resource.address, resource.interface, resource.backup_interface, None, resource)
    if resource is None:
        return EffectiveResource(tag, state.address, state.interface, state.backup_interface, state.in_service, None, state)
    interface = state.interface if resource.interface == state.inventory_interface else resource.interface
    backup = state.backup_interface if resource.backup_interface == state.inventory_backup else resource.backup_interface
    if interface == backup:  # the inventory moved one value onto the other that was learned
        interface, backup = resource.interface, resource.backup_interface
    in_service = state.in_service if resource.address == state.address else None
    return EffectiveResource(tag, resource.address, interface, backup, in_service, resource, state)


def with_real_names(known: EffectiveResource, real_name: Callable[[str], str | None]) -> EffectiveResource:
    """``known`` with the kernel's names of its links, which may be given by alternative names. A link that is not there keeps its name."""
    found = {name: real_name(name) for name in (known.interface, known.backup_interface) if name is not None}
    interface, backup = found[known.interface] or known.interface, known.backup_interface
    if backup is not None:
        backup = found[backup] or backup
    given = {real or name: name for name, real in found.items() if real != name}
    return dataclasses.replace(known, interface=interface, backup_interface=None if backup == interface else backup, given_names=given)


def learn(known: EffectiveResource, *, interface: str, backup_interface: str | None) -> State:
    """The state to write when these values have been learned under the present inventory."""
    base = known.resource
    return State(
        tag=known.tag,
        address=known.address,
        interface=known.given_names.get(interface, interface),
        backup_interface=None if backup_interface is None else known.given_names.get(backup_interface, backup_interface),
        in_service=known.in_service,
        inventory_interface=base.interface if base else known.state.inventory_interface if known.state else None,
        inventory_backup=base.backup_interface if base else known.state.inventory_backup if known.state else None,
        boot=known.state.boot if known.state else None,
        fenced=known.state.fenced if known.state else None,
    )


def since_boot(known: EffectiveResource, boot: str) -> bool | None:
    """Whether the resource is in service here, as said since that boot. A restart of the machine ends it: then it is ``False``."""
    if known.in_service and known.state is not None and known.state.boot not in (None, boot):
        return False
    return known.in_service


def add_backup(known: EffectiveResource, interface: str) -> EffectiveResource:
    """``known`` with that backup interface; the same one again changes nothing. Raises `Refused` (scenarios.md D)."""
    if known.backup_interface == interface:
        return known
    if known.backup_interface is not None:
        raise Refused(f"{known.tag} has the backup interface {known.backup_interface} already; remove that one first", tag=known.tag)
    if interface == known.interface:
        raise Refused(f"{interface} is the primary interface of {known.tag}; name another one as backup", tag=known.tag)
    return dataclasses.replace(known, backup_interface=interface)


def remove_backup(known: EffectiveResource, interface: str) -> EffectiveResource:
    """``known`` without that backup interface; unchanged where there is none. Raises `Refused` (scenarios.md D)."""
    if known.backup_interface is None:
        return known
    if known.backup_interface != interface:
        raise Refused(f"{interface} is not the backup interface of {known.tag}, {known.backup_interface} is; name that one", tag=known.tag)
    return dataclasses.replace(known, backup_interface=None)


def swapped(known: EffectiveResource, to: str) -> EffectiveResource:
    """``known`` with ``to`` as the primary interface and the other one as backup (scenarios.md C7)."""
    if to == known.interface:
        return known
    return dataclasses.replace(known, interface=to, backup_interface=known.interface)


def swap_target(known: EffectiveResource, to: str | None) -> str:
    """The interface to swap to. Raises `Refused` where there is no backup, or ``to`` is neither of the two."""
    if known.backup_interface is None:
        raise Refused(f"{known.tag} has no backup interface; add one with ip_backup_interface", tag=known.tag)
    if to is not None and to not in (known.interface, known.backup_interface):
        raise Refused(
            f"to: {to} is neither the primary interface {known.interface} nor the backup {known.backup_interface} of {known.tag}", tag=known.tag
        )
    return to or known.backup_interface


def to_json(state: State) -> dict[str, object]:
    """As the state file has it."""
    content: dict[str, object] = {
        "version": _VERSION,
        "tag": state.tag,
        "address": str(state.address),
        "interface": state.interface,
        "backup_interface": state.backup_interface,
        "in_service": state.in_service,
        "boot": state.boot,
        "inventory": {"interface": state.inventory_interface, "backup_interface": state.inventory_backup},
    }
    if state.fenced is not None:
        content["fenced"] = {"epoch": state.fenced.epoch, "interfaces": list(state.fenced.interfaces), "nodes": list(state.fenced.nodes)}
    return content


def from_json(content: object, tag: str) -> State:
    """The reverse of `to_json`. Raises `BadInput` for anything else."""
    version = content.get("version") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(version, int) or isinstance(version, bool) or version != _VERSION:
        raise BadInput("it is not a state file of this version")
    inventory, in_service = content.get("inventory"), content.get("in_service")
    if not isinstance(inventory, Mapping):
        raise BadInput("inventory is not a mapping")
    if parse_tag(_text(content, "tag")) != tag:
        raise BadInput(f"it is the state of {content['tag']}")
    if in_service is not None and not isinstance(in_service, bool):
        raise BadInput("in_service is neither true, false nor null")
    if not isinstance(content.get("boot"), (str, type(None))):
        raise BadInput("boot is neither a text nor null")
    return State(
        tag=tag,
        address=Address.parse(_text(content, "address")),
        interface=parse_link_name(_text(content, "interface")),
        backup_interface=_link_or_none(content, "backup_interface"),
        in_service=in_service,
        inventory_interface=_link_or_none(inventory, "interface"),
        inventory_backup=_link_or_none(inventory, "backup_interface"),
        boot=content.get("boot"),
        fenced=None if content.get("fenced") is None else parse_fenced(content["fenced"]),
    )


def parse_fenced(raw: object, path: str = "fenced") -> Fenced:
    """From a mapping with ``epoch``, ``interfaces`` and ``nodes``. Raises `BadInput` naming ``path``."""
    given = raw if isinstance(raw, Mapping) else {}
    epoch, interfaces, nodes = given.get("epoch"), given.get("interfaces"), given.get("nodes") or []
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise BadInput(f"{path}.epoch: this has to be the epoch of the lease, a whole number from 1 on", path=path)
    if not isinstance(interfaces, list) or not interfaces or not all(isinstance(one, str) and _ENI.fullmatch(one) for one in interfaces):
        raise BadInput(f"{path}.interfaces: this has to be a list of network interface ids, such as eni-0123456789abcdef0", path=path)
    if not isinstance(nodes, list) or not all(isinstance(one, str) and one for one in nodes):
        raise BadInput(f"{path}.nodes: this has to be a list of names of nodes", path=path)
    return Fenced(epoch, tuple(interfaces), tuple(nodes))


def _text(content: Mapping[str, object], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise BadInput(f"{name} is not a text")
    return value


def _link_or_none(content: Mapping[str, object], name: str) -> str | None:
    return None if content.get(name) is None else parse_link_name(_text(content, name), name)
