# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients asked of the control plane, counted."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

#: EC2, STS, IAM and DynamoDB alike: an action that begins so changes nothing.
_READS = ("Describe", "Get", "List", "Search", "Query", "Scan", "BatchGet", "TransactGet", "AssumeRole")


@dataclass(frozen=True)
class Call:
    """One call, once it is decided. ``time`` is monotonic, in seconds.

    ``mutating``: a write was asked for (a DryRun asks for none). ``effective``: it was carried out, whatever the client heard.
    ``status``: what the client was sent, 0 when the connection was cut. ``code``: EC2's error code or the fault's kind.
    """

    service: str
    action: str
    access_key: str
    mutating: bool
    status: int
    code: str | None
    time: float
    source: str
    effective: bool = False
    params: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def is_mutating(action: str, dry_run: bool) -> bool:
    """Whether an action asks for a change."""
    return not dry_run and not action.startswith(_READS)


class CallLog:
    """Every call, in the order in which they were decided. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Append one."""
        with self._lock:
            self._calls.append(call)

    def all(self, action: str | None = None) -> list[Call]:
        """A copy; ``action`` is a name, a pattern such as ``Describe*``, or one with its service: ``dynamodb:*``."""
        with self._lock:
            calls = list(self._calls)
        return [call for call in calls if action is None or matches(action, call.service, call.action)]

    def count(self, action: str | None = None) -> int:
        """How many there were; ``action`` as for `all`."""
        return len(self.all(action))

    def mutating(self) -> list[Call]:
        """Those that asked for a change, whether or not they got it."""
        return [call for call in self.all() if call.mutating]

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._calls.clear()


def matches(pattern: str, service: str, action: str) -> bool:
    """Whether ``ReplaceRoute``, ``Describe*`` or ``ec2:Describe*`` means this action."""
    return fnmatchcase(f"{service}:{action}" if ":" in pattern else action, pattern)
