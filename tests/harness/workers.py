# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests are shared out between the workers of pytest-xdist: what takes longest starts first, and what shares nodes stays together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from harness.seconds import expected

#: Folders whose tests share nodes that boot: a second set of nodes would cost a minute.
TOGETHER = ("tests/integration/monitor/", "tests/integration/systems/")


def group(nodeid: str) -> str:
    """The tests of one group run on one worker, one after another. Pure."""
    path = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if path.startswith(folder)), path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups in the order of their expected seconds, the longest first; the order within a group stays."""
    total: defaultdict[str, float] = defaultdict(float)
    for nodeid, seconds in expected([item.nodeid for item in items]).items():
        total[group(nodeid)] += seconds
    items.sort(key=lambda item: (-total[group(item.nodeid)], group(item.nodeid)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a whole group, in the order of the collection. xdist calls this where there are workers."""
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group
    return scheduler
