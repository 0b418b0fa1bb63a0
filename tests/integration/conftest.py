# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all integration tests."""

from __future__ import annotations

import pytest
from _pytest.terminal import TerminalReporter

from lab.oracle import TwoHolders

#: Tests of what has to be so each time: a second run would prove nothing.
ONCE = ("test_contention.py", "test_deadman.py", "test_oracle.py")

#: Folders by the time that they take, the longest first; the unit tests fill what is left.
ORDER = ("monitor", "failover", "checker", "recovery", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real clocks, kernels and processes on a machine that may be busy: what fails is run again, twice at most, and the summary tells of it (RERUN).

    Two holders at once are never forgiven so. What takes longest begins first, so that no worker is left alone with it at the end.
    """
    items.sort(key=lambda item: next((place for place, name in enumerate(ORDER) if f"/{name}/" in item.path.as_posix()), len(ORDER)))
    for item in items:
        if "/integration/" in item.path.as_posix() and item.path.name not in ONCE:
            item.add_marker(pytest.mark.flaky(reruns=2, rerun_except=TwoHolders))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say why a test had to be run again: else the reason would be lost when the next try succeeds."""
    again = terminalreporter.getreports("rerun")
    if again:
        terminalreporter.section("why tests were run again")
    for report in again:
        terminalreporter.write_line(report.nodeid, bold=True)
        for line in report.longreprtext.splitlines()[-30:]:
            terminalreporter.write_line(f"    {line}")
