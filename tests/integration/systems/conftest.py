# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab with two nodes of Debian 13 for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed, since_now, two_nodes
from lab import booted

#: So many repairs of the minute before, by other tests, leave room for those of a test: ten within a minute move the resource.
MOST_REPAIRS = 3


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    if booted.why_not():
        pytest.skip(booted.why_not())
    with two_nodes(tmp_path_factory.mktemp("systems"), "trixie") as made:
        yield made


@pytest.fixture
def active(cluster: Installed) -> Iterator[str]:
    """All is well; the node that it is on. At the end of the test no dependent has run on two nodes at once."""
    with cluster.dependents():
        name = cluster.reset()
        node = cluster.node(name)
        if sum(one["event"] == "reflex" for one in cluster.events(node, since_now() - 60)) > MOST_REPAIRS:
            node.run("holdfast", "switchover", "web", "--to", cluster.other(name), timeout=120)  # a new lease begins to count anew
            name = cluster.reset()
        yield name
