# SPDX-License-Identifier: GPL-3.0-or-later
"""A checker that says what a test tells it to, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import encode, parse_request

ONE: dict[str, Any] = {
    "tag": "web",
    "held": True,
    "epoch": 3,
    "holder": "node-a",
    "role": "active",
    "phase": "watching",
    "health": "healthy",
    "reasons": [],
    "address": "10.1.0.10/32",
    "interface": "eth0",
    "interface_up": True,
    "backup_interface": "eth1",
    "ec2": None,
    "dependents": [],
    "last_recovery": None,
    "advice": "",
}
ABOUT = {"ok": True, "cluster": "web-prod", "node": "node-a"}


class Scripted(threading.Thread):
    """A checker that says what it was told to. ``asked``: the requests, each one that the real one would understand."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.asked: list[dict[str, Any]] = []
        self.replies: dict[str, bytes] = {"status": encode({**ABOUT, "resources": [ONE]})}
        self.default = encode({**ABOUT, **ONE})
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def run(self) -> None:
        while True:
            try:
                line, _caller = self._listener.accept()
            except OSError:
                return
            with line, line.makefile("rb") as words:
                raw = words.readline()
                parse_request(raw)
                self.asked.append(json.loads(raw))
                line.sendall(self.reply(self.asked[-1]))

    def reply(self, request: dict[str, Any]) -> bytes:
        """What is sent back."""
        return self.replies.get(request["op"], self.default)

    def says(self, op: str, **more: Any) -> None:
        """The reply to that request: about one resource."""
        self.replies[op] = encode({**ABOUT, **ONE, **more})

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
