# SPDX-License-Identifier: GPL-3.0-or-later
"""Real stores on loopback, each ended with the process that started it; and a wire that loses replies."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.netns import DIES_WITH_PARENT

DYNALITE = "4.0.0"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def until(what: str, ready: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something. AssertionError when it does not come in time."""
    give_up = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < give_up, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


class Server:
    """A program that serves until it is stopped."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen([*DIES_WITH_PARENT, *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal. After SIGSTOP all of its threads stand still when this returns."""
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def stop(self) -> None:
        if self.running:
            self.signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait(timeout=10)


class Etcd:
    """One member, or a cluster of several."""

    def __init__(self, folder: Path, members: int = 1, tls: Sequence[str] = ()) -> None:
        scheme = "https" if tls else "http"
        ports = [(free_port(), free_port()) for _number in range(members)]
        self.endpoints = [f"{scheme}://127.0.0.1:{client}" for client, _peer in ports]
        cluster = ",".join(f"m{number}=http://127.0.0.1:{peer}" for number, (_client, peer) in enumerate(ports))
        self.members = []
        for number, (_client, peer) in enumerate(ports):
            argv = ["etcd", "--name", f"m{number}", "--data-dir", str(folder / f"m{number}"), "--log-level", "warn", "--logger", "zap"]
            argv += ["--listen-client-urls", self.endpoints[number], "--advertise-client-urls", self.endpoints[number]]
            argv += ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"]
            argv += ["--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500", *tls]
            self.members.append(Server(argv, folder / f"etcd-{number}.log"))
        if not tls:
            until("etcd", lambda: self.leader() is not None)

    def call(self, path: str, body: dict[str, Any], endpoint: str = "", token: str = "") -> dict[str, Any]:
        """A call of the gateway, past the code under test."""
        headers = {"Content-Type": "application/json", **({"Authorization": token} if token else {})}
        request = urllib.request.Request((endpoint or self.endpoints[0]) + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))

    def leader(self) -> int | None:
        """The number of the member that leads, as the first one that answers tells."""
        for number, endpoint in enumerate(self.endpoints):
            try:
                status = self.call("/v3/maintenance/status", {}, endpoint)
            except OSError:
                continue
            if status.get("leader") not in (None, "0") and status["leader"] == status["header"]["member_id"]:
                return number
        return None

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def __enter__(self) -> Etcd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def dynalite(folder: Path) -> tuple[Server, str]:
    """A second implementation of DynamoDB, and its URL. It is installed once, into the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast.ha-tests" / f"dynalite-{DYNALITE}"
    home.mkdir(parents=True, exist_ok=True)
    program = home / "node_modules/dynalite/cli.js"
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            print(f"installing dynalite {DYNALITE} from npm into {home}", flush=True)
            subprocess.run(
                ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), f"dynalite@{DYNALITE}"], check=True, timeout=180
            )
            (home / "complete").touch()
    port = free_port()
    server = Server([shutil.which("node") or "node", str(program), "--port", str(port), "--createTableMs", "50"], folder / "dynalite.log")
    until("dynalite", lambda: _listens(port))
    return server, f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class LossyWire:
    """A TCP proxy to one server for clients that make one call per connection: passes every request on and loses some replies."""

    def __init__(self, target: str, share: float, seed: int = 1) -> None:
        self._target = ("127.0.0.1", int(target.rpartition(":")[2]))
        self._random, self._share = random.Random(seed), share
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lost = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        lose = self._random.random() < self._share
        with client, socket.create_connection(self._target, timeout=10) as server:
            client.settimeout(10)
            try:
                server.sendall(_message(client))
                reply = _message(server)
                if lose:
                    self.lost += 1
                else:
                    client.sendall(reply)
            except OSError:
                pass  # the caller sees a closed connection, which is what a broken wire gives

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)


def _message(source: socket.socket) -> bytes:
    """One HTTP message with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = source.recv(65536)
        if not part:
            return data
        data += part
    head, _gap, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        part = source.recv(65536)
        if not part:
            break
        body += part
    return head + b"\r\n\r\n" + body
