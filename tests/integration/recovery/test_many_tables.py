# SPDX-License-Identifier: GPL-3.0-or-later
"""The worked example with as many route tables as a large organisation has: one run, whatever their number."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, told
from lab.faults import strike
from lab.vpc import Lab

EXTRA = 250


@pytest.mark.scenario("F11")
def test_all_tables_are_repaired_by_one_run() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"m{os.getpid()}-", extra_tables=EXTRA) as lab:
        cluster = Cluster(lab)
        cluster.settle()
        cluster.reset()
        strike(lab, "wrong-route")
        broken = cluster.changes()
        assert len(broken) == 2 * (EXTRA + 3)

        run = cluster.recover(cluster.web)

        assert run.status == 0, run.message
        assert changed(run) == ["ec2_resource"]
        left = {subject: change for subject, change in broken.items() if subject[2] != lab.place.vip}
        assert cluster.changes() == left, "the other address, and everything else, is as it was"
        ours, theirs = cluster.interface("eth0"), cluster.interface("eth0", "node-b")
        entries = told(run, "ec2_resource").result["routes"]
        assert {(entry["before"], entry["after"]) for entry in entries if entry["destination"] == lab.place.vip} == {(theirs, ours)}
        asked = Counter(call.action for call in cluster.calls)
        assert asked["ReplaceRoute"] == EXTRA + 3
        pages = -(-(EXTRA + 4) // 100)  # with the VPC's main table, a hundred at a time
        assert asked["DescribeRouteTables"] <= 2 * pages
        vip, _vip6, neighbour, outside = cluster.clients
        cluster.assert_served(vip, neighbour, outside)
