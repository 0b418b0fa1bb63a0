# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's checker on a node of the lab, configured as an installation would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import witness
from lab.node import Node
from lab.waiting import until

_TREE = Path(__file__).resolve().parents[2] / ".tree"
SOCKET = "/run/holdfast/checker.sock"
#: How many events an account has, and how many characters of each.
_LAST, _WIDTH = 40, 400
_MODULE = "ansible_collections.holdfast.ha.plugins.module_utils._checker.main"


class Checker(witness.Witness):
    """One process in a node's namespace. ``events``: what it has logged, in order. Start it from a thread that lasts."""

    def __init__(
        self, node: Node, settings: Mapping[str, Any], resources: Sequence[Mapping[str, Any]], environment: Mapping[str, str] | None = None
    ) -> None:
        self.node, self._environment = node, dict(environment or {})
        self.events: list[dict[str, Any]] = []
        self.other: list[str] = []
        write(node, "/etc/holdfast/checker.json", {"node": node.name, **settings})
        node.run("sh", "-c", "rm -rf /etc/holdfast/resources && mkdir -m 0700 /etc/holdfast/resources")
        for one in resources:
            write(node, f"/etc/holdfast/resources/{one['tag']}.json", one)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> Checker:
        """Returns once it answers on its socket. Raises TimeoutError with what it said."""
        self.events.clear()
        self.other.clear()
        self.appear()
        environment = {**self.node.environment, "PYTHONPATH": str(_TREE), **self._environment}
        argv = (sys.executable, "-m", _MODULE)
        # not through Namespace.spawn: its helper would stand between us and the process that is to be stopped and killed
        self._process = subprocess.Popen(
            self.node.namespace.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        until(lambda: self.seen("ready") or self.exit_code is not None, 60, f"the checker on {self.node.name} did not start")
        if not self.seen("ready"):
            raise RuntimeError(f"the checker on {self.node.name} ended with {self.exit_code}: {' '.join(self.other)}")
        return self

    @property
    def pid(self) -> int:
        """The process; nsenter has become it."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return None if self._process is None else self._process.poll()

    def seen(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that event."""
        return [one for one in list(self.events) if one["event"] == event]

    def ask(self, op: str, *, patience: float = 60.0, **words: Any) -> dict[str, Any]:
        """A request over its socket, as the commands on the node make it; the reply as it came."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(patience)
            line.connect(f"/proc/{self.pid}/root{SOCKET}")
            line.sendall(json.dumps({"op": op, **words}).encode() + b"\n")
            with line.makefile("rb") as reply:
                return dict(json.loads(reply.readline()))

    def send(self, number: signal.Signals) -> None:
        """A signal. After SIGSTOP all of its threads stand still when this returns."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """At once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order, as `systemctl stop` does. Safe to repeat."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            try:
                self._process.wait(timeout=30)
            finally:
                self._process.kill()
        if self._reader is not None:
            self._reader.join(timeout=10)
        self._process.wait()

    def account(self) -> str:
        """Its last events, and what it has printed besides."""
        state = "runs" if self.exit_code is None else f"has ended with {self.exit_code}"
        events = [json.dumps(one)[:_WIDTH] for one in self.events[-_LAST:]]
        return "\n".join([f"--- checker of {self.node.name}: {state}; its last events", *events, *(line[:_WIDTH] for line in self.other[-_LAST:])])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.last_change = time.monotonic()
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other.append(line.strip())


def write(node: Node, path: str, content: Mapping[str, Any]) -> None:
    """A private JSON file on a node."""
    node.run("install", "-m", "0600", "/dev/stdin", path, input=json.dumps(content))
