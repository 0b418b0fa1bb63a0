# SPDX-License-Identifier: GPL-3.0-or-later
"""Failover and switchover with the leases in a real etcd that asks for user and password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import PASSWORD, LabEtcd
from harness.marks import STALLS

pytestmark = STALLS


@pytest.fixture
def cluster(shared: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    shared.stop()
    with LabEtcd(shared.lab.router.namespace, tmp_path) as etcd:
        behind_etcd = Cluster(shared.lab, etcd.settings, etcd.store, timing="fast")
        behind_etcd.reset()
        try:
            yield behind_etcd
        finally:
            behind_etcd.stop()


def test_the_active_node_is_killed_and_the_way_back(cluster: Cluster, tmp_path: Path) -> None:
    a, epochs, runs = cluster.lab.node_a, [], []
    runs.append(cluster.switch("node-a", tmp_path))
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        for to in ("node-b", "node-a"):
            record = cluster.record()
            assert record is not None
            epochs.append(record.epoch)
            prober.wait_until_answered(5)
            if to == "node-b":
                cluster.kill(a)
                runs.append(cluster.play("failover", tmp_path, tag=TAG))
                assert runs[-1].status == 0, runs[-1].message
            else:
                cluster.revive(a)
                runs.append(cluster.switch(to, tmp_path))
            cluster.all_on(to)
        report = prober.stop()
    last = cluster.record()
    assert last is not None
    assert sorted({*epochs, last.epoch}) == [*epochs, last.epoch], "an epoch did not rise"
    print("outages", [f"{one.ms:.0f} ms" for one in report.outages])
    told = json.dumps([run.other for run in runs] + [[*one.events, *one.other] for one in cluster.checkers.values()])
    told += json.dumps([[task.result for task in run.tasks] for run in runs], default=str)
    assert PASSWORD not in told
