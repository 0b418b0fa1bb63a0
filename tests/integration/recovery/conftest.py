# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests of this folder, put right before each: a run of a playbook costs seconds, a reset a fifth of one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster
from lab.vpc import Lab


@pytest.fixture(scope="package")
def settled() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"r{os.getpid()}-", with_ssh=True) as lab:
        cluster = Cluster(lab)
        cluster.settle()
        yield cluster


@pytest.fixture
def cluster(settled: Cluster) -> Cluster:
    settled.reset()
    return settled
