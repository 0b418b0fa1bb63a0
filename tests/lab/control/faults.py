# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that the control plane shows on request, each a trouble that EC2 or the way to it really has."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.control.calls import matches
from lab.control.fault_replies import REPLIES, Struck
from lab.control.http import CUT
from lab.control.request import ApiRequest

KINDS = ("latency", "throttle", "http500", "lost_reply", "lost_request", "stale", "deny", "expired", "silent")


@dataclass(frozen=True)
class Fault:
    """One trouble.

    :param kind: ``latency`` (``seconds`` before each call is looked at), ``throttle``, ``http500`` (with an HTML body), ``deny``,
        ``expired``, ``lost_request`` (connection cut before anything happens), ``lost_reply`` (a write takes effect, then the
        connection is cut), ``stale`` (Describe calls see the state of ``seconds`` ago), ``silent`` (no answer until the client
        leaves or the fault is cleared; then the call goes its way).
    :param action: A name, a pattern (``Describe*``) or one with its service (``dynamodb:*``).
    :param times: How often it strikes; ``None``: until it is cleared.
    :param match: Only calls with these parameters, by their names in the API; a list matches if it holds the value.
    :param source: Only calls from this address.
    """

    kind: str
    action: str = "*"
    seconds: float = 0.0
    times: int | None = None
    match: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.kind in ("latency", "stale") and self.seconds <= 0:
            raise ValueError(f"the fault {self.kind} needs seconds greater than zero")

    def strikes(self, request: ApiRequest) -> bool:
        """Whether this call is meant."""
        if not matches(self.action, request.service, request.action) or self.source not in (None, request.http.source):
            return False
        return all(_has(request, name, value) for name, value in self.match.items())


def _has(request: ApiRequest, name: str, value: Any) -> bool:
    given = request.params.get(name, request.form.get(name))
    return bool(value in given if isinstance(given, list) else given == value)


class _Active:
    """A fault that has been injected, and a way to wake those who wait in it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self._reader, self._writer = socket.socketpair()
        self._cleared = threading.Event()

    def clear(self) -> None:
        self._cleared.set()
        self._writer.close()

    def delay(self) -> None:
        self._cleared.wait(self.fault.seconds)

    def outlast(self, connection: socket.socket) -> bool:
        """Wait; true when the fault was cleared, false when the client left."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN | select.POLLHUP)
        poll.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        ready = {number for number, _event in poll.poll()}
        return connection.fileno() not in ready


class Faults:
    """The faults in force. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[_Active] = []
        self._silenced = 0

    def inject(self, fault: Fault) -> None:
        """From now on; several may be in force and strike in the order in which they came."""
        with self._lock:
            self._active.append(_Active(fault))

    def clear(self) -> None:
        """End them all, and let those go on who wait in one."""
        with self._lock:
            ended, self._active = self._active, []
        for active in ended:
            active.clear()

    def listed(self) -> list[dict[str, Any]]:
        """Those in force, for JSON; ``times`` is what is left."""
        with self._lock:
            return [{**asdict(active.fault), "times": active.left} for active in self._active]

    def before(self, request: ApiRequest) -> Struck | None:
        """What strikes before the call is looked at: the reply in its place, with a word for the log. May wait, holding no lock."""
        seen: set[_Active] = set()
        while active := self._next(request, ("latency", "silent", *REPLIES), seen):
            seen.add(active)
            kind = active.fault.kind
            if kind == "latency":
                active.delay()
            elif kind == "silent":
                if not self._silence(active, request):
                    return CUT, kind
            else:
                return REPLIES[kind](request)
        return None

    def waiting(self) -> int:
        """How many calls are held in silence now."""
        with self._lock:
            return self._silenced

    def _silence(self, active: _Active, request: ApiRequest) -> bool:
        with self._lock:
            self._silenced += 1
        try:
            return active.outlast(request.http.connection)
        finally:
            with self._lock:
                self._silenced -= 1

    def loses_reply(self, request: ApiRequest) -> bool:
        """Whether the reply to this write, now done, is lost."""
        return self._next(request, ("lost_reply",), set()) is not None

    def staleness(self, request: ApiRequest) -> float:
        """How many seconds old the state is that this Describe call sees."""
        active = self._next(request, ("stale",), set()) if request.action.startswith("Describe") else None
        return active.fault.seconds if active else 0.0

    def longest_staleness(self) -> float:
        """For how many seconds a write's prior state has to be kept."""
        with self._lock:
            return max((active.fault.seconds for active in self._active if active.fault.kind == "stale"), default=0.0)

    def _next(self, request: ApiRequest, kinds: Sequence[str], seen: set[_Active]) -> _Active | None:
        with self._lock:
            for active in self._active:
                if active in seen or active.fault.kind not in kinds or active.left == 0 or not active.fault.strikes(request):
                    continue
                if active.left is not None:
                    active.left -= 1
                return active
        return None
