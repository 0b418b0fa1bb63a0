# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all integration tests."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

from harness import module
from lab import python39, witness
from lab.oracle import TwoHolders
from lab.residence import LabError, remove_abandoned

_BEGAN = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def python_39(tmp_path_factory: pytest.TempPathFactory) -> python39.Python39:
    """Python 3.9 for the modules."""
    if python39.why_not():
        pytest.skip(python39.why_not())
    try:
        return python39.make(tmp_path_factory.mktemp("python39"))
    except LabError as error:  # a release that old may leave the mirrors
        pytest.skip(f"no Python 3.9 for the modules, since Debian 11 could not be installed: {error}")


@pytest.fixture(autouse=True)
def python_of_modules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what `run_module` runs modules with: the parameter is a version, empty for the Python of the tests."""
    if getattr(request, "param", ""):
        monkeypatch.setattr(module, "PYTHON", str(request.getfixturevalue("python_39").with_ansible))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked ``python39`` twice."""
    if metafunc.definition.get_closest_marker("python39"):
        metafunc.parametrize("python_of_modules", ["", "3.9"], indirect=True, ids=[pytest.HIDDEN_PARAM, "python3.9"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test again only where it is marked ``rerun(reason)``, once. Two holders at once are never forgiven."""
    for item in items:
        marker = item.get_closest_marker("rerun")
        if marker is not None:
            if not marker.kwargs.get("reason"):
                raise pytest.UsageError(f"{item.nodeid}: the marker rerun requires a reason: rerun(reason=...)")
            item.add_marker(pytest.mark.flaky(reruns=1, rerun_except=TwoHolders))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove what a run that was killed has left. Once, before the workers start."""
    if not hasattr(session.config, "workerinput"):
        remove_abandoned()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember the time: what a lab saw before the test is not part of its story."""
    item.stash[_BEGAN] = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the labs saw to the report of a test that failed."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        story = witness.story(item.stash.get(_BEGAN, 0.0))
        if story:
            report.sections.append(("What the lab saw", story))
    return report
