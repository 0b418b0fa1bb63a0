# SPDX-License-Identifier: GPL-3.0-or-later
"""The record that a store keeps for a lease, and how it is checked when it comes back. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_tag, shown

#: In place of a node to follow: nobody takes the lease on his own; a person does, with the playbook switchover.
NOBODY = "-"
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")
_NONCE = re.compile(r"[A-Za-z0-9.-]{1,100}")
_HIGHEST_EPOCH = 2**53  # beyond it a JSON number is no longer exact everywhere
_LONGEST_TTL = 1e6
#: Of the form of a record. Fields that may be ignored can be added without another version; nodes of an older release leave them out when they write.
_VERSION = 1


class CorruptRecord(HoldfastError):
    """What lies under the lease's key is not a lease. Nobody may take it: who holds it cannot be told. Details: ``key``."""

    kind = "corrupt_record"


class NewerRecord(HoldfastError):
    """A later release wrote the record in a form that this one does not know. Details: ``key``."""

    kind = "newer_record"


@dataclass(frozen=True)
class Record:
    """Who may be active.

    :param holder: The node's name; empty once released.
    :param epoch: Rises whenever a node acquires.
    :param nonce: New with every write: tells the writer that a write was its own, and a standby that the holder lives.
    :param handoff_to: After a release: the node that is to follow at once; empty for any; `NOBODY`.
    :param ttl: Seconds that the writer was promised, so that others wait long enough whatever their own setting.
    :param unfenced: Nodes that held the lease and did not release it. Each is here until the resource was put in service after the fence.
    """

    holder: str
    epoch: int
    nonce: str
    handoff_to: str = ""
    ttl: float = 10.0
    unfenced: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The record as a store keeps it, without empty values and the version 1. The name of `ttl` is such that no clean-up takes it for a date."""
        full = {"holder": self.holder, "epoch": self.epoch, "nonce": self.nonce, "handoff_to": self.handoff_to, "valid_for": self.ttl}
        full["unfenced"] = ",".join(self.unfenced)
        return {name: value for name, value in full.items() if value != ""}


def parse_record(raw: Mapping[str, Any], where: str, remedy: str) -> Record:
    """The record in ``raw``, in the form of `Record.as_dict`. Fields that are not known here are ignored: a later release has added them.

    :param where: Names the record in an error, for example ``web/www in table holdfast``.
    :param remedy: How a person deletes it, for example a command.
    :raises CorruptRecord: With what is wrong and what to do.
    :raises NewerRecord: For a version that this release does not know.
    """

    def corrupt(problem: str) -> CorruptRecord:
        return CorruptRecord(
            f"the lease record {where} is not one of ours ({problem}), so nobody may take it; make sure that the service runs on one node "
            f"at most, then delete the record ({remedy}): whoever still holds it puts it back, else it is taken anew, with a higher epoch",
            key=where,
        )

    version = raw.get("version", _VERSION)
    if isinstance(version, int) and not isinstance(version, bool) and version > _VERSION:
        raise NewerRecord(
            f"the lease record {where} has version {version}, and this node knows version {_VERSION}; install on this node "
            "the release of holdfast.ha that the other nodes have",
            key=where,
        )
    if version != _VERSION or isinstance(version, bool):
        raise corrupt(f"version is {shown(version)}")
    for name in ("holder", "handoff_to"):
        value = raw.get(name, "")
        if not isinstance(value, str) or (value and not _NODE.fullmatch(value) and (name, value) != ("handoff_to", NOBODY)):
            raise corrupt(f"{name} is {shown(value)}")
    epoch, nonce, ttl = raw.get("epoch"), raw.get("nonce"), raw.get("valid_for")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 < epoch < _HIGHEST_EPOCH:
        raise corrupt(f"epoch is {shown(epoch)}")
    if not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise corrupt(f"nonce is {shown(nonce)}")
    if not isinstance(ttl, (int, float)) or isinstance(ttl, bool) or not 0 < ttl <= _LONGEST_TTL:
        raise corrupt(f"valid_for is {shown(ttl)}")
    if raw.get("holder") and raw.get("handoff_to"):
        raise corrupt("it is held and handed off at once")
    unfenced = raw.get("unfenced", "")
    if not isinstance(unfenced, str) or (unfenced and not all(_NODE.fullmatch(name) for name in unfenced.split(","))):
        raise corrupt(f"unfenced is {shown(unfenced)}")
    return Record(raw.get("holder", ""), epoch, nonce, raw.get("handoff_to", ""), float(ttl), tuple(unfenced.split(",")) if unfenced else ())


def parse_node(text: str, path: str) -> str:
    """``text`` if it can be the name of a node, else `BadInput` naming ``path``."""
    if not _NODE.fullmatch(text):
        raise BadInput(f"{path}: {shown(text)} is not a node's name; use letters, digits, '.', '_' and '-', as in inventory_hostname", path=path)
    return text


def parse_handoff(text: str, path: str = "handoff_to") -> str:
    """``text`` if a lease can be handed to it: a node, `NOBODY`, or empty for any. Raises `BadInput` naming ``path``."""
    return text if text in ("", NOBODY) else parse_node(text, path)


def lease_key(cluster: str, tag: str) -> str:
    """``cluster/tag``, each checked. Raises `BadInput`."""
    return f"{parse_tag(cluster, 'cluster')}/{parse_tag(tag)}"
