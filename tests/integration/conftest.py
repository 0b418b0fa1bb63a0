# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all integration tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real clocks, kernels and processes on a machine that may be busy: what fails is run once more, and the summary tells of it (RERUN)."""
    for item in items:
        if "/integration/" in item.path.as_posix():
            item.add_marker(pytest.mark.flaky(reruns=1))
