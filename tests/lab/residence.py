# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's place on this machine: its names, its state folder, the lock that keeps two of one prefix apart, and what a crashed one left."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from lab.netns import has_name, remove_name

PREFIX = "hf-"
_BASE = Path("/run/holdfast-lab")
_NAMES = ("router", "outside", "node-a", "node-b", "client-c")


class LabError(Exception):
    """Something that a person can put right, in one line."""


class Residence:
    """Held while a lab runs. Entering it removes what an earlier lab of the same prefix left behind; leaving it removes the state folder."""

    def __init__(self, prefix: str = PREFIX) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", prefix):
            raise LabError(f"the prefix {prefix!r} is not one: it takes up to 16 small letters, digits and dashes and begins with a letter")
        self.prefix = prefix
        self.folder = _BASE / prefix.rstrip("-")
        self._lock_file = _BASE / f"{prefix.rstrip('-')}.lock"
        self._lock: IO[str] | None = None

    def name(self, machine: str) -> str:
        """The namespace's name of a machine."""
        return self.prefix + machine

    def leftovers(self) -> list[str]:
        """The names of this lab's namespaces that exist."""
        return [name for name in map(self.name, _NAMES) if has_name(name)]

    def owner(self) -> int | None:
        """The process that holds it; None if nobody does."""
        try:
            with open(self._lock_file) as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(handle.read().strip() or 0)
        except FileNotFoundError:
            pass
        return None

    def take(self) -> list[str]:
        """Hold it; returns what an earlier lab left and is now removed. Raises `LabError` without root or when a lab of this prefix runs."""
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and needs root: run it with sudo")
        missing = [tool for tool in ("ip", "nft", "unshare", "nsenter", "setpriv") if shutil.which(tool) is None]
        if missing:
            raise LabError(f"the lab needs {', '.join(missing)}: apt-get install iproute2 nftables util-linux")
        self._lock = self._locked()
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        gone = self._clear()
        self.folder.mkdir(mode=0o700)
        return gone

    def leave(self) -> None:
        """Remove what is left and let go."""
        if self._lock is not None:
            self._clear()
            self._lock_file.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
            try:
                _BASE.rmdir()
            except OSError:
                pass  # another lab lives there

    def _locked(self) -> IO[str]:
        """The lock file, locked. One that its last holder removed meanwhile is no lock: look again."""
        while True:
            _BASE.mkdir(mode=0o700, exist_ok=True)
            with ExitStack() as closing:
                try:
                    lock = closing.enter_context(open(self._lock_file, "a+"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.path.samestat(os.fstat(lock.fileno()), os.stat(self._lock_file)):
                        closing.pop_all()  # the caller keeps the file open, because the lock ends when the file is closed
                        return lock
                except BlockingIOError:
                    raise LabError(
                        f"a lab with the prefix {self.prefix} runs already (process {self.owner()}): end it with `down`, or choose another --prefix"
                    ) from None
                except FileNotFoundError:
                    pass  # the last holder has removed the folder or the file meanwhile

    def _clear(self) -> list[str]:
        names = self.leftovers()
        for name in names:
            remove_name(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        return names

    def __enter__(self) -> Residence:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()


def remove_abandoned() -> list[str]:
    """Remove what labs of ended processes have left, whatever their prefix. Returns their prefixes. A lab that runs is not touched."""
    found = []
    for lock in sorted(_BASE.glob("*.lock")) if os.geteuid() == 0 else ():
        for prefix in (lock.stem, f"{lock.stem}-"):  # both have this lock
            try:
                residence = Residence(prefix)
                if residence.owner() is None and residence.take():
                    found.append(prefix)
                residence.leave()
            except LabError:
                continue  # another process has taken it meanwhile, or it is longer than a prefix can be
    return found


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process the way Ctrl-C does, through every ``finally``; unless the process has a handler of its own."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
