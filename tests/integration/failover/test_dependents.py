# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependents that the playbooks start and stop, while the checker watches over them."""

from __future__ import annotations

import time
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import dependents
from lab.waiting import until

TIMING = PROFILES["standard"]
_MAY_RUN = f"/var/lib/holdfast/{TAG}.may_run"


def started(cluster: Cluster, folder: Path) -> Path:
    """node-a is active, by a takeover of its own, and has started its dependents. Returns their diary."""
    cluster.reset(peers=True, dependents=dependents(cluster, folder))
    cluster.checkers["node-b"].stop()
    cluster.put_in_service(cluster.lab.node_a)
    run = cluster.play_on(cluster.lab.node_a, "recover", tag=TAG)
    assert run.status == 0, run.message or run.other
    diary = folder / "diary"
    assert diary.read_text().splitlines() == ["first started node-a 1", "second started node-a 1"]
    assert cluster.lab.node_a.run("test", "-e", _MAY_RUN, check=False).returncode == 0
    return diary


def test_a_node_that_lost_the_lease_stops_them_by_its_playbook(cluster: Cluster, tmp_path: Path) -> None:
    """Also where the checker was away when the lease was lost."""
    diary = started(cluster, tmp_path)
    cluster.checkers["node-a"].kill()
    key = f"{CLUSTER}/{TAG}"
    old = cluster.record()
    assert old is not None
    thief = Record("node-x", old.epoch + 1, f"x.{time.monotonic_ns()}", "", 3600.0)
    assert cluster.store.write(key, cluster.store.read(key).token, thief) is not None
    cluster.checkers["node-a"].start()
    until(lambda: len(diary.read_text().splitlines()) == 4, 60, f"they are not stopped; {cluster.checkers['node-a'].events[-8:]}")
    assert [line.rpartition(" ")[0] for line in diary.read_text().splitlines()[2:]] == ["second stopped node-a", "first stopped node-a"]
    until(lambda: cluster.lab.node_a.run("test", "-e", _MAY_RUN, check=False).returncode, 30, "it still counts as if they may run")


def test_after_a_restart_of_the_machine_they_are_started_again(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody has taken over meanwhile: a cluster of which one node is up, or all of whose nodes lost their power."""
    diary = started(cluster, tmp_path)
    a = cluster.lab.node_a
    cluster.checkers["node-a"].kill()
    a.drop(cluster.lab.place.vip)
    a.run("sh", "-c", "rm -rf /run/holdfast/*")
    cluster.checkers["node-a"].start()
    until(lambda: len(diary.read_text().splitlines()) == 4, 120, f"they are not started; {cluster.checkers['node-a'].events[-8:]}")
    assert diary.read_text().splitlines()[2:] == ["first started node-a 1", "second started node-a 1"]
    until(lambda: cluster.module_of(a, "ip_resource_info")["resources"][0]["recorded"], 60, "it is not in service")
