# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab with two nodes that boot, for all tests of this folder; installed by the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed, two_nodes
from lab import booted


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    if booted.why_not():
        pytest.skip(booted.why_not())
    with two_nodes(tmp_path_factory.mktemp("monitor")) as made:
        yield made


@pytest.fixture
def active(cluster: Installed) -> Iterator[str]:
    """All is well; the node that it is on. At the end of the test no dependent has run on two nodes at once."""
    with cluster.dependents():
        yield cluster.reset()
