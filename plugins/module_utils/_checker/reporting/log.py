# SPDX-License-Identifier: GPL-3.0-or-later
"""Every decision as one JSON line, to the journal (standard output) and to a file; and what of it goes further (DESIGN.md section 7)."""

from __future__ import annotations

import datetime
import json
import os
import queue
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, Union

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config_reader import Fields
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import parse_endpoint
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Endpoint, shown

#: What a receiver is told of where it does not choose.
NOTEWORTHY = (
    "fault",
    "recovered",
    "takeover",
    "handed over",
    "lost",
    "dependents not stopped",
    "rebooting",
    "gave up",
    "held down",
    "flapping",
    "drift",
    "fence restored",
    "paused",
    "resumed by hand",
    "run killed",
    "kept old configuration",
    "failsafe",
    "peer silent",
    "defect",
    "stopped",
)
_LONGEST_LINE, _LONGEST_FACT = 16384, 2000
#: So many lines wait to be written, and for so many seconds at the end.
_LONGEST_QUEUE, _LAST = 1000, 2.0


@dataclass(frozen=True)
class MetricsSettings:
    """``textfile``: for node_exporter's collector of that name. ``listen``: host of loopback and port."""

    textfile: str | None
    listen: tuple[str, int] | None


@dataclass(frozen=True)
class CommandReceiver:
    """A program that gets each event as JSON on its standard input. ``timeout`` in seconds."""

    command: tuple[str, ...]
    events: tuple[str, ...]
    timeout: float = 10.0


@dataclass(frozen=True)
class WebhookReceiver:
    """A URL to which each event is posted as JSON. ``timeout`` in seconds."""

    endpoint: Endpoint
    events: tuple[str, ...]
    timeout: float = 10.0


Receiver = Union[CommandReceiver, WebhookReceiver]


@dataclass(frozen=True)
class Reporting:
    """Where events go. ``events``: a file, or ``None``."""

    events: str | None = None
    metrics: MetricsSettings = MetricsSettings(None, None)
    notify: tuple[Receiver, ...] = ()


def parse_reporting(raw: Mapping[str, Any], path: str) -> Reporting:
    """From the fields ``events``, ``metrics`` and ``notify`` of checker.json, whatever else is in it. Pure. Raises `BadInput` naming ``path``."""
    given = Fields({name: raw.get(name) for name in ("events", "metrics", "notify")}, path, ("events", "metrics", "notify"))
    receivers = tuple(_receiver(one, f"{path}.notify[{index}]") for index, one in enumerate(given.items("notify")))
    return Reporting(given.file("events"), _metrics(given.raw("metrics"), f"{path}.metrics"), receivers)


def _metrics(raw: object, path: str) -> MetricsSettings:
    given = Fields({} if raw is None else raw, path, ("textfile", "listen"))
    textfile = given.file("textfile")
    if textfile is not None and not textfile.endswith(".prom"):
        raise given.wrong("textfile", f"{shown(textfile)} has to end in .prom, or node_exporter does not read it")
    if not given.has("listen"):
        return MetricsSettings(textfile, None)
    host, port = given.text("listen").rpartition(":")[::2]
    host = host.strip("[]")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise given.wrong("listen", "this has to be an address and a port, such as 127.0.0.1:9447")
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise given.wrong("listen", f"{shown(host)} is not loopback; use 127.0.0.1 or [::1], and let an exporter or proxy on this node pass it on")
    return MetricsSettings(textfile, (host, int(port)))


def _receiver(raw: object, path: str) -> Receiver:
    if isinstance(raw, Mapping) and "command" in raw:
        given = Fields(raw, path, ("command", "events", "timeout"))
        command = given.words("command")
        if not command or not command[0].startswith("/"):
            raise given.wrong("command", "this has to be a list of words that begins with the absolute path of a program")
        return CommandReceiver(command, given.words("events") or NOTEWORTHY, given.number("timeout", 10, 0.1, 300))
    given = Fields(raw, path, ("url", "token_file", "validate_certs", "ca_cert", "connect_timeout", "events", "timeout"))
    if not given.has("url"):
        raise BadInput(f"{path}: give command, or url", path=path)
    return WebhookReceiver(parse_endpoint(given, secret=False), given.words("events") or NOTEWORTHY, given.number("timeout", 10, 0.1, 300))


Listener = Callable[[Mapping[str, Any]], None]


class EventLog:
    """What the checker calls as ``log(event, **facts)``, from any thread. Never raises, and from `start` to `stop` it never waits.

    :param path: The file, or ``None``. It may be rotated at any time: what was moved away is not written to any more.
    :param listeners: Each is given every event; it must neither wait nor raise.
    """

    def __init__(self, cluster: str, node: str, path: str | None = None, listeners: Sequence[Listener] = (), stream: TextIO | None = None) -> None:
        self._cluster, self._node = cluster, node
        self._file = _File(Path(path)) if path else None
        self._listeners = list(listeners)
        self._stream = stream
        self._lock = threading.Lock()
        self._trouble = ""
        self._queue: queue.Queue[str | None] = queue.Queue(_LONGEST_QUEUE)
        self._writer: threading.Thread | None = None
        self._left_out = 0

    def start(self) -> None:
        """Have a thread write from now on: a journal or a disk that stands still is no reason to lose a lease."""
        self._writer = threading.Thread(target=self._write_on, args=(self._queue,), name="events", daemon=True)
        self._writer.start()

    def stop(self, seconds: float = _LAST) -> None:
        """Write what is left, for so many seconds at most; from then on each event is written at once. Safe to repeat."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                self._queue.put(None, timeout=seconds)
            except queue.Full:
                return
            writer.join(seconds)

    def add(self, listener: Listener) -> None:
        """One listener more."""
        self._listeners.append(listener)

    def __call__(self, event: str, **facts: object) -> None:
        told = {
            "time": _now(),
            "cluster": self._cluster,
            "node": self._node,
            "event": event,
            **{name: _bounded(value) for name, value in facts.items()},
        }
        line = json.dumps(told, default=str, ensure_ascii=True)
        if len(line) > _LONGEST_LINE:
            told = {name: told[name] for name in ("time", "cluster", "node", "event", "tag", "reason", "message") if name in told}
            line = json.dumps({**told, "cut": True}, default=str)
        if self._writer is None:
            self._write(line)
        else:
            try:
                self._queue.put_nowait(line)
            except queue.Full:
                self._left_out += 1
        for listener in self._listeners:
            listener(told)

    def _write_on(self, lines: queue.Queue[str | None]) -> None:
        while (line := lines.get()) is not None:
            self._write(line)
            if self._left_out:
                lost, self._left_out = self._left_out, 0
                about = {"time": _now(), "cluster": self._cluster, "node": self._node, "event": "trouble", "what": "events", "left_out": lost}
                self._write(json.dumps(about))

    def _write(self, line: str) -> None:
        with self._lock:
            self._print(line)
            self._keep(line)

    def _print(self, line: str) -> None:
        try:
            stream = self._stream or sys.stdout
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it, which is no reason to stop holding addresses

    def _keep(self, line: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line)
            trouble = ""
        except (HoldfastError, OSError) as error:
            trouble = error.message if isinstance(error, HoldfastError) else f"cannot write {self._file.path}: {error.strerror}"
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                about = {"time": _now(), "cluster": self._cluster, "node": self._node, "event": "trouble", "what": "events file", "reason": trouble}
                self._print(json.dumps(about))


class _File:
    """Appends lines to a private file that nobody has put there for us to write into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._identity: tuple[int, int] | None = None

    def write(self, line: str) -> None:
        """Raises `Refused`, `OSError`."""
        if self._handle is None or not self._is_ours():
            self._open()
        if self._handle is not None:
            os.write(self._handle, line.encode("ascii") + b"\n")

    def _is_ours(self) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            about = os.lstat(self.path)
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == self._identity

    def _open(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if not self.path.parent.exists():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if self.path.is_symlink():
                raise Refused(f"cannot write {self.path}: it is a symbolic link; remove it") from None
            raise error
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1 or about.st_uid != os.geteuid():
            os.close(handle)
            raise Refused(f"cannot write {self.path}: it is no file of ours (another owner, another kind, or a second name elsewhere); remove it")
        if about.st_mode & 0o077:
            os.fchmod(handle, 0o600)
        self._handle, self._identity = handle, (about.st_dev, about.st_ino)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bounded(value: object) -> object:
    return value if not isinstance(value, str) or len(value) <= _LONGEST_FACT else value[:_LONGEST_FACT] + "…"
