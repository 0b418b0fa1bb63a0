# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests: which of them `make test` runs, in which order, and how a run shows its progress."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

#: ansible-test runs the unit tests without this folder on its path, and with an output of its own.
IS_OURS = importlib.util.find_spec("harness") is not None


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option, for whoever has changed how long tests take."""
    parser.addoption("--record-seconds", action="store_true", help="write the time of each test to tests/seconds.json")


def pytest_configure(config: pytest.Config) -> None:
    """Load what the harness has for pytest."""
    if IS_OURS:
        from harness import progress, seconds, workers

        for plugin in (progress, workers):
            config.pluginmanager.register(plugin)
        if config.option.record_seconds and not hasattr(config, "workerinput"):
            config.pluginmanager.register(seconds.Recorder())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the unit tests, for the selection by marker."""
    if not IS_OURS:
        return
    unit = Path(__file__).with_name("unit")
    for item in items:
        if item.path.is_relative_to(unit):
            item.add_marker(pytest.mark.unit)
