# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run of the tests is: what runs, how many of how many, and about how long it still takes.

In a terminal that is one line, rewritten every second. In a file it is a line every ten seconds. A failure has a line of its own, at the
moment when it happens. With ``-v`` or ``-q`` pytest's own output is kept.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from harness.seconds import expected

#: Seconds between two lines in a file, and in a terminal.
_QUIET, _LIVELY = 10.0, 1.0


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Take the place of pytest's dots, in the process that reports."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or config.get_verbosity() != 0 or config.option.collectonly:
        return
    reporter.showfspath = False
    workers = len(getattr(config.option, "tx", None) or [1])
    config.pluginmanager.register(Progress(reporter, workers), "holdfast-progress")


def duration(seconds: float) -> str:
    """Minutes and seconds: ``3:05``. Pure."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def line(elapsed: float, left: float, total: int, done: int, failed: int, running: Mapping[str, float]) -> str:
    """One line about a run. Times are in seconds. ``running``: the tests under way, and for how long each has run. Pure."""
    longest = sorted(running.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{name.removeprefix('tests/').removeprefix('integration/')} ({duration(took)})" for name, took in longest)
    failures = f", {failed} failed" if failed else ""
    return f"{duration(elapsed)}  {done} of {total} tests{failures}, about {duration(left)} left; running: {shown or 'nothing'}"


class Progress:
    """A pytest plugin.

    With workers, a thread writes the line. Without, it is written after a test, because pytest captures all output while a test runs.
    """

    def __init__(self, reporter: TerminalReporter, workers: int) -> None:
        self._reporter, self._workers, self._has_workers = reporter, workers, False
        self._begin = time.monotonic()
        self._interval = _LIVELY if reporter.isatty else _QUIET
        self._next = self._begin + self._interval
        self._expected: dict[str, float] = {}
        self._running: dict[str, float] = {}
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._is_live = reporter.isatty
        self._over, self._lock, self._mute = threading.Event(), threading.RLock(), False

    # --- what pytest and xdist say ---------------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: the tests are known."""
        if session.items:
            self._start([item.nodeid for item in session.items])

    def pytest_xdist_node_collection_finished(self, ids: Collection[str]) -> None:
        """With workers: each has found the same tests."""
        if not self._expected:
            self._has_workers = True
            self._start(ids)
            threading.Thread(target=self._repeat, name="progress", daemon=True).start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        with self._lock:
            self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        with self._lock:
            self._running.pop(nodeid, None)
            self._done.add(nodeid)
            if not self._has_workers and time.monotonic() >= self._next:
                self._show()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        """Keep pytest's dot back, and say at once that a test has failed."""
        with self._lock:
            self._mute = True
            try:
                yield
            finally:
                self._mute = False
            outcome = str(report.outcome)
            if outcome in ("failed", "rerun"):
                if outcome == "failed":
                    self._failed.add(report.nodeid)
                crash = getattr(report.longrepr, "reprcrash", None)
                reason = getattr(crash, "message", "") or report.longreprtext.strip()
                self._write(f"{outcome.upper()}  {report.nodeid} ({report.when}): {reason.partition(chr(10))[0]}"[:300])
                if outcome == "rerun":  # of a test that passes then, pytest shows nothing more
                    self._write("\n".join((report.longreprtext, *(f"--- {name}\n{text}" for name, text in report.sections))))

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Iterator[Any]:
        """No letter while a report is taken; the summary at the end has its words."""
        status = yield
        return (status[0], "", "") if self._mute and status else status

    def pytest_sessionfinish(self) -> None:
        """Nothing more to tell."""
        self._over.set()
        with self._lock:
            self._clear()

    # --- the line --------------------------------------------------------------------------------------------------------

    def _start(self, ids: Collection[str]) -> None:
        self._expected = expected(ids)

    def _repeat(self) -> None:
        while not self._over.wait(self._interval):
            with self._lock:
                self._show()

    def _show(self) -> None:
        self._next = time.monotonic() + self._interval
        text = self._line()
        if self._is_live:
            self._reporter.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", flush=True)
        else:
            self._write(text)

    def _line(self) -> str:
        now = time.monotonic()
        running = {name: now - since for name, since in self._running.items()}
        return line(now - self._begin, self._left(running), len(self._expected), len(self._done), len(self._failed), running)

    def _left(self, running: Mapping[str, float]) -> float:
        """Seconds: what the tests that are left take, by all workers, and never less than the longest of them."""
        due = {name: seconds for name, seconds in self._expected.items() if name not in self._done}
        for name, took in running.items():
            due[name] = max(due.get(name, 0.0) - took, 0.0)
        return max([sum(due.values()) / self._workers, *due.values()])

    def _write(self, text: str) -> None:
        self._clear()
        self._reporter.write_line(text)
        self._reporter.flush()

    def _clear(self) -> None:
        if self._is_live:
            self._reporter.write("\r\x1b[K", flush=True)
