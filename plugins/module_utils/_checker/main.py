# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of a node: watches its resources, holds their leases, repairs, and answers on a socket (DESIGN.md section 7)."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import FILE, read_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.defects import cause_of
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import EventLog
from ansible_collections.holdfast.ha.plugins.module_utils._checker.service import Service
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import SOCKET
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotFound, place_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import hold_still
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

#: Exit codes of sysexits(3): wrong configuration, so that systemd need not try again; a defect.
_EX_CONFIG, _EX_SOFTWARE = 78, 70
_MODULE = "ansible_collections.holdfast.ha.plugins.module_utils._checker.main"
#: Tells a process that it goes on in place of one that was told to reload.
_RELOADED = "HOLDFAST_RELOADED"
#: Tells it the two descriptors of the line on which signals are written down.
_LINE = "HOLDFAST_SIGNALS"
_ENDING = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*_ENDING, signal.SIGHUP}
#: Seconds: from one look at the threads to the next, and for how long a reload waits for what is under way.
_TURN, _PATIENCE = 0.5, 310.0


def notify(*lines: str) -> None:
    """Tell systemd, where it started us (sd_notify(3))."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.connect("\0" + where[1:] if where.startswith("@") else where)
                line.send("\n".join(lines).encode())
        except OSError:
            pass  # systemd itself finds out


def watchdog_interval() -> float:
    """How often systemd wants to hear from us, in seconds, halved; infinite where it does not (sd_watchdog_enabled(3))."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) <= 0 or (pid.isdigit() and int(pid) != os.getpid()):
        return float("inf")
    return int(text) / 2e6


def make_service(given: argparse.Namespace, log: EventLog | None = None, running: Service | None = None) -> tuple[Service, EventLog]:
    """From the configuration as it is now, checked and not begun. Raises `HoldfastError`.

    :param running: In whose place it would go on.
    """
    config = read_config(given.config)
    log = log or EventLog(config.cluster, config.node, config.reporting.events)
    service = Service(config, Store(), log, given.socket)
    service.check(running)
    return service, log


class Process:
    """This process: its signals, systemd, and the service that it runs.

    :param words: The command's own arguments, with which it is executed anew at a reload.
    """

    def __init__(self, service: Service, log: EventLog, given: argparse.Namespace, words: Sequence[str]) -> None:
        self._service, self._log, self._given, self._words = service, log, given, words
        self._told, self._tell = _line_of_signals()

    def run(self) -> None:
        """Until SIGTERM or SIGINT. At SIGHUP the program is executed anew, if the new configuration is right."""
        threading.excepthook = self._fall
        for line in (self._told, self._tell):
            line.setblocking(False)
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # what came is read from the socket: a handler may not take a lock
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # blocked by who was told to reload
        self._log.start()
        self._service.start()
        self._log("ready", resources=sorted(self._service.watches))
        if os.environ.pop(_RELOADED, None):
            self._log("reloaded", resources=sorted(self._service.watches))
        notify("READY=1", "STATUS=" + self._service.summary())
        self._wait()
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(self._service.longest_end() * 1e6)}")
        self._service.end()
        self._log("stopped")
        self._log.stop()

    def _wait(self) -> None:
        every = watchdog_interval()
        told, reload_until = time.monotonic(), 0.0
        while True:
            signals = self._signals(min(_TURN if reload_until else 60.0, every / 2))
            if signals & _ENDING:
                return
            now = time.monotonic()
            if now - told >= every / 2 and self._service.is_turning():
                notify("WATCHDOG=1", "STATUS=" + self._service.summary())
                told = now
            if signal.SIGHUP in signals:
                reload_until = now + _PATIENCE if self._is_right() else reload_until
            if reload_until and (not self._service.is_busy() or now >= reload_until):
                self._execute()
                return  # told to end meanwhile

    def _signals(self, seconds: float) -> set[int]:
        """Those that have come, after so many seconds at most."""
        readable([self._told], seconds)
        try:
            return set(self._told.recv(4096))
        except BlockingIOError:
            return set()

    def _is_right(self) -> bool:
        """Whether the configuration and the definitions as they are now can be used; if not, that is told."""
        try:
            make_service(self._given, self._log, self._service)
        except HoldfastError as error:
            self._log("kept old configuration", reason=error.message)
            self._service.refused(error.message)
            notify("STATUS=The new configuration is wrong, and the old one is kept: " + error.message)
            return False
        return True

    def _execute(self) -> None:
        """Go on as a fresh process with the same number. Addresses live on: their lifetimes are the kernel's, and the lease is resumed.

        Returns only where the process was told to end meanwhile. No signal is lost: this thread takes none any more, and the kernel keeps those for
        the next process; what another thread takes is in the line of signals, which the next process has too.
        """
        notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._service.leave()
        self._service.renew()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._signals(0.0) & _ENDING:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        self._log.stop()
        hold_still()
        for line in (self._told, self._tell):
            line.set_inheritable(True)
        before = list(getattr(sys, "orig_argv", [sys.executable, "-m", _MODULE, *self._words]))
        own = len(self._words)
        argv = [sys.executable, *(before[1 : len(before) - own] if own else before[1:]), *self._words]
        more = {_RELOADED: "1", _LINE: f"{self._told.fileno()} {self._tell.fileno()}"}
        os.execve(sys.executable, argv, {**os.environ, **more})  # noqa: S606  (no shell is what is meant)

    def _fall(self, defect: threading.ExceptHookArgs) -> None:
        """A thread that ends by a defect takes the process along: the kernel lets the addresses go in time, and systemd starts us anew."""
        thread = defect.thread.name if defect.thread else ""
        where = place_of(defect.exc_value) if defect.exc_value is not None else ""
        self._log("defect", thread=thread, cause=cause_of(defect.exc_value), where=where)
        self._log.stop(1.0)
        os._exit(_EX_SOFTWARE)


def _line_of_signals() -> tuple[socket.socket, socket.socket]:
    """Where to read which signals came, and where to write it: a new line, or that of the process in whose place this one goes on."""
    try:
        told, tell = (socket.socket(fileno=int(number)) for number in os.environ.pop(_LINE, "").split())
    except (OSError, ValueError):
        return socket.socketpair()
    for line in (told, tell):
        line.set_inheritable(False)
    return told, tell


def main(words: Sequence[str] | None = None) -> int:
    """Be the checker. The exit code: 0 after an orderly end, 78 for a configuration that cannot work."""
    parser = argparse.ArgumentParser(prog="holdfast-checker", description="Watch the leases and addresses of this node.")
    parser.add_argument("--config", type=Path, default=FILE, metavar="FILE", help="settings (default: %(default)s)")
    parser.add_argument("--socket", type=Path, default=Path(SOCKET), metavar="PATH", help="where to answer (default: %(default)s)")
    words = sys.argv[1:] if words is None else words
    given = parser.parse_args(words)
    try:
        service, log = make_service(given)
        Process(service, log, given, words).run()
    except HoldfastError as error:
        sys.stderr.write(f"holdfast-checker: {error.message}\n")
        return _EX_CONFIG if isinstance(error, (BadInput, NotFound)) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
