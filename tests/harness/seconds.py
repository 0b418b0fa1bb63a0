# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each test takes: kept in a file, for the order in which tests start and for the time that a run still needs.

``pytest --record-seconds`` writes the file anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "seconds.json"
#: Seconds of a test that the file does not name: below `_SHORTEST` none is named, and a new one is not yet.
_USUAL, _SHORTEST = 0.05, 0.5


@cache
def _recorded() -> dict[str, float]:
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}


def function(nodeid: str) -> str:
    """The test without its parameters. Pure."""
    return nodeid.partition("[")[0]


def expected(ids: Collection[str]) -> dict[str, float]:
    """How many seconds each of these tests is likely to take, its set-up included."""
    recorded = _recorded()
    return {nodeid: recorded.get(function(nodeid), _USUAL) for nodeid in ids}


class Recorder:
    """A pytest plugin that writes the file at the end. Tests that were not run keep the figure that they have."""

    def __init__(self) -> None:
        self._took: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, test and clean-up come one after another."""
        tests = self._took[function(report.nodeid)]
        tests[report.nodeid] = tests.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """The mean of each function's tests."""
        known = dict(_recorded())
        for name, tests in self._took.items():
            known[name] = round(sum(tests.values()) / len(tests), 1)
        kept = {name: seconds for name, seconds in sorted(known.items()) if seconds >= _SHORTEST}
        FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
