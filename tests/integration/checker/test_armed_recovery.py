# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker, its armed run and the collection's own recover, in the VPC in a box: what is broken on EC2 comes first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.leash import below
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness.module import TREE
from lab.checker import Checker, write
from lab.control import Fault
from lab.faults import strike
from lab.vpc import Lab
from lab.waiting import until

from .test_leash import alive

PATIENCE = 240.0


@pytest.fixture
def log_of_runs(tmp_path: Path) -> Path:
    return tmp_path / "ansible.log"


@pytest.fixture
def cluster(log_of_runs: Path) -> Iterator[Cluster]:
    """node-a watches, with an armed run; the lease is free, so that it takes it by itself."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"ar{os.getpid()}-") as lab:
        made = Cluster(lab)
        try:
            made.reset()
            made.stop()
            seen = made.store.read(f"{CLUSTER}/{TAG}")
            assert seen.record is not None
            assert made.store.write(f"{CLUSTER}/{TAG}", seen.token, Record("", seen.record.epoch + 1, "free")) is not None
            node = lab.node_a
            shared = {"holdfast_cluster": CLUSTER, "holdfast_node": node.name, "holdfast_store": STORE, "holdfast_resources": [made.resource]}
            write(node, "/etc/holdfast/variables.json", shared)
            command = str(Path(sys.executable).with_name("ansible-playbook"))
            settings = {
                "cluster": CLUSTER,
                "store": STORE,
                "triggers": [{"type": "playbook", "command": command, "armed": True, "timeout": PATIENCE}],
                "checks": {"interval": 1, "deep_interval": 2},
            }
            environment = {"ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_LOG_PATH": str(log_of_runs)}
            made.checkers[node.name] = Checker(node, settings, [made.resource], environment).start()
            yield made
        finally:
            made.stop()


def test_faults_on_ec2_are_repaired_first_by_the_run_that_waited(cluster: Cluster, log_of_runs: Path) -> None:
    node = cluster.lab.node_a
    checker = cluster.checkers[node.name]
    until(lambda: checker.seen("run ended"), PATIENCE, "the resource was not taken over")
    assert checker.seen("run ended")[0]["ok"], checker.events
    until(lambda: len(checker.seen("run ended")) == len(checker.seen("run started")), PATIENCE, "the runs did not end")
    cluster.all_on(node.name)
    begun, read = len(checker.seen("run started")), len(log_of_runs.read_text())
    strike(cluster.lab, "wrong-route")
    until(lambda: cluster.where()["routes"] == {node.name}, PATIENCE, "the routes were not repaired")
    until(lambda: len(checker.seen("run ended")) > begun, PATIENCE, f"the run did not end: {checker.events}")
    started, ended = checker.seen("run started")[begun], checker.seen("run ended")[begun]
    assert (started["armed"], ended["ok"]) == (True, True), (started, ended)
    assert ended["changes"] == ["Let route table entries and Elastic IP lead here"]
    waited, *tasks = log_of_runs.read_text()[read:].split("TASK [")
    assert "changed: [localhost]" in waited, "it was not repaired by the task that had waited"
    order = [next(number for number, task in enumerate(tasks) if name in task) for name in ("Leave out nodes", "Verify")]
    assert order == sorted(order), tasks
    for interface in node.place.interfaces:  # what EC2 refuses this node is left to the whole repair, which tells of it
        cluster.lab.control.faults.inject(Fault("deny", "ReplaceRoute", source=interface.address))
    strike(cluster.lab, "wrong-route")
    refused = until(lambda: next((one for one in checker.seen("run ended") if not one["ok"]), None), PATIENCE, "nothing was told of the refusal")
    assert refused is not None
    assert "nothing was released" in refused["message"], refused
    assert "what could not be repaired: " in refused["message"]
    assert "ReplaceRoute" in refused["message"].partition("what could not be repaired: ")[2]
    cluster.lab.control.faults.clear()
    until(lambda: cluster.where()["routes"] == {node.name}, PATIENCE, "the routes were not repaired once EC2 let them be")
    assert len(checker.seen("run killed")) == 0
    tree = [checker.pid, *below(checker.pid)]
    assert len(tree) > 2, "a run waits"
    checker.kill()
    until(lambda: not any(map(alive, tree)), 30, "something outlived the checker")
