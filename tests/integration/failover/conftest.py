# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of this folder, with fresh checkers for each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import Cluster
from lab.vpc import Lab


@pytest.fixture(scope="package")
def shared() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"fo{os.getpid()}-", with_ssh=True) as lab:
        cluster = Cluster(lab)
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    shared.reset()
    return shared


@pytest.fixture(autouse=True)
def no_dependent_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """At the end no dependent has run on two nodes at once."""
    yield
    if "shared" in request.fixturenames:
        request.getfixturevalue("shared").check_dependents()
