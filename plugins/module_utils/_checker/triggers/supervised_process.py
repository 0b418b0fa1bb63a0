# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that the checker runs beside itself: their output bounded, ended as a whole when it is time, gone when the checker is."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable

_LEASH = Path(__file__).with_name("subreaper.py")
#: Of the output so many last lines are kept, each cut to so many characters.
_LINES, _WIDTH = 40, 1000
_CHUNK = 8192
#: Seconds after which a silent pipe is looked at again.
_PATIENCE = 5.0
#: Seconds from SIGTERM to SIGKILL, and those in which the leash itself has to have ended after that.
GRACE, _MARGIN = 2.0, 10.0


class SupervisedProcess:
    """A running program. Its standard output and error go to `tail`.

    :param give: Descriptors of ours that it inherits, under the same numbers.
    :param stdin: What it reads; nothing by default.
    Raises `OSError` where no process can be made. A program that does not exist ends with 127.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, give: Sequence[int] = (), stdin: bytes = b"", grace: float = GRACE
    ) -> None:
        ours, theirs = socket.socketpair()
        self._control: socket.socket | None = ours
        self._lock = threading.Lock()
        self._grace = grace
        self._lines: deque[str] = deque(maxlen=_LINES)
        with theirs, _source(stdin) as source:
            words = [sys.executable, "-I", "-S", str(_LEASH), str(theirs.fileno()), str(source.fileno()), f"{grace:g}", *argv]
            try:
                self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(), source.fileno(), *give),
                    start_new_session=True,
                    env=dict(environment),
                    cwd="/",
                )
            except OSError:
                ours.close()
                raise
        self._output = self._process.stdout or io.BytesIO()
        self._reader = threading.Thread(target=self._read, name="output of a run", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The leash; the program and all that it starts are below it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """See subreaper.py; ``None`` while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or ``None`` where it still runs after ``seconds``."""
        try:
            code = self._process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=1.0)  # a daemon that it left behind may hold the pipe for ever
        self._let_go()
        return code

    def end(self) -> None:
        """End it with all that it started; returns once nothing of it is left. Safe to repeat."""
        self._let_go()
        if self.wait(self._grace + _MARGIN) is None:
            self._process.kill()
            self._process.wait()

    def tail(self) -> tuple[str, ...]:
        """The last lines of its output."""
        return tuple(self._lines)

    def _let_go(self) -> None:
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            control.close()

    def _read(self) -> None:
        rest = b""
        with self._output as pipe:
            while True:
                if not readable([pipe], _PATIENCE):
                    if self._process.poll() is not None:
                        break  # a daemon that it left behind holds the other end
                    continue
                chunk = os.read(pipe.fileno(), _CHUNK)
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[:_WIDTH]
                self._lines.extend(line[:_WIDTH].decode("utf-8", "replace").rstrip() for line in lines if line.strip())
                if not chunk:
                    break
        if rest.strip():
            self._lines.append(rest.decode("utf-8", "replace").rstrip())


def _source(content: bytes) -> socket.socket | _Null:
    """Where a program reads its standard input from: ``content``, which fits into the socket's buffer or is cut by it, and then the end."""
    if not content:
        return _Null()
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        try:
            ours.sendall(content)
        except BlockingIOError:
            pass
    return theirs


class _Null:
    """/dev/null, as a thing with a descriptor."""

    def __enter__(self) -> _Null:
        self._number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def fileno(self) -> int:
        """The descriptor."""
        return self._number
