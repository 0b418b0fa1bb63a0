# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own doors beside the AWS API, for other processes: /_lab/calls, /_lab/faults, /_lab/view."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from lab.control.calls import CallLog
from lab.control.faults import Fault, Faults
from lab.control.http import HttpReply, HttpRequest
from lab.view import VpcView

PREFIX = "/_lab/"


class Admin:
    """Answers in JSON; a mistake of the caller is a 400 with one line under ``error``."""

    def __init__(self, calls: CallLog, faults: Faults, snapshot: Callable[[str], VpcView]) -> None:
        self._calls = calls
        self._faults = faults
        self._snapshot = snapshot

    def handle(self, http: HttpRequest) -> HttpReply:
        """The reply to a request whose path begins with `PREFIX`."""
        query = {name: values[-1] for name, values in parse_qs(http.query).items()}
        doors: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", "calls"): lambda: {"calls": [call.as_dict() for call in self._calls.all(query.get("action"))]},
            ("DELETE", "calls"): self._calls.reset,
            ("GET", "faults"): lambda: {"faults": self._faults.listed()},
            ("POST", "faults"): lambda: self._inject(http.body),
            ("DELETE", "faults"): self._faults.clear,
            ("GET", "view"): lambda: dataclasses.asdict(self._snapshot(query.get("vpc", ""))),
        }
        door = doors.get((http.method, http.path.removeprefix(PREFIX)))
        if door is None:
            return _json(404, {"error": f"there is no {http.method} {http.path}; see lab.control.admin"})
        try:
            return _json(200, door() or {})
        except KeyError as error:
            return _json(404, {"error": f"there is no {error.args[0]!r}"})
        except (ValueError, TypeError) as error:
            return _json(400, {"error": str(error)})

    def _inject(self, body: bytes) -> dict[str, Any]:
        given = json.loads(body)
        for fault in [Fault(**one) for one in (given if isinstance(given, list) else [given])]:
            self._faults.inject(fault)
        return {"faults": self._faults.listed()}


def _json(status: int, value: Any) -> HttpReply:
    return HttpReply(status, json.dumps(value, default=str).encode(), "application/json")
