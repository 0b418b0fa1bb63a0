# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks failover, switchover and recover from a controller over SSH, with real packets and dependents that keep a diary."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster


def test_the_first_time_and_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    cluster.all_on("node-a")
    again = cluster.switch("node-a", tmp_path)
    assert again.changed == ()
    cluster.all_on("node-a")
