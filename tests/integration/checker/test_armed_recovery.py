# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker, its armed run and the collection's own recover, in the VPC in a box: what is broken on EC2 comes first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, Cluster
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
def cluster() -> Iterator[Cluster]:
    """Nothing in service, and no checker."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"ar{os.getpid()}-") as lab:
        made = Cluster(lab)
        try:
            made.reset()
            made.stop()
            yield made
        finally:
            made.stop()


def watch(cluster: Cluster, log_of_runs: Path, *more: dict[str, Any], **trigger: Any) -> Checker:
    """node-a watches the resource and ``more``, with an armed run; the leases are free, so that it takes them by itself."""
    resources = [cluster.resource, *more]
    for resource in resources:
        key = f"{CLUSTER}/{resource['tag']}"
        seen = cluster.store.read(key)
        epoch = seen.record.epoch + 1 if seen.record else 1
        assert cluster.store.write(key, seen.token, Record("", epoch, "free")) is not None
    node = cluster.lab.node_a
    shared = {"holdfast_cluster": CLUSTER, "holdfast_node": node.name, "holdfast_store": STORE, "holdfast_resources": resources}
    write(node, "/etc/holdfast/variables.json", shared)
    command = str(Path(sys.executable).with_name("ansible-playbook"))
    settings = {
        "cluster": CLUSTER,
        "store": STORE,
        "triggers": [{"type": "playbook", "command": command, "armed": True, "timeout": PATIENCE, **trigger}],
        "checks": {"interval": 1, "deep_interval": 2},
    }
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_LOG_PATH": str(log_of_runs)}
    checker = cluster.checkers[node.name] = Checker(node, settings, resources, environment).start()
    return checker


@pytest.mark.scenario("A1", "A6")
def test_faults_on_ec2_are_repaired_first_by_the_run_that_waited(cluster: Cluster, log_of_runs: Path) -> None:
    node, checker = cluster.lab.node_a, watch(cluster, log_of_runs)
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


def test_what_waits_for_its_turn_is_led_by_the_run_before_it(cluster: Cluster, log_of_runs: Path) -> None:
    lab, place = cluster.lab, cluster.lab.place
    six = {"tag": "six", "address": place.vip6, "interface": "eth0", "ec2": {"route_tables": "all"}}
    checker = watch(cluster, log_of_runs, six, at_once=1)

    def each(what: str) -> list[Any]:
        return [one[what] for one in checker.ask("status")["resources"]]

    until(lambda: each("in_service") == [True, True], PATIENCE, "they were not taken over")
    until(lambda: set(each("phase")) == {"watching"} and set(each("health")) == {"healthy"}, PATIENCE, "they do not come to rest")
    until(lambda: (checker.ask("status")["armed"] or {}).get("waiting"), PATIENCE, "no run waits")
    for tag in ("web", "six"):
        checker.ask("pause", tag=tag)
    strike(lab, "wrong-route")
    until(lambda: each("faults") == [["routes"], ["routes"]], PATIENCE, "the routes are not seen to be wrong")
    begun = len(checker.seen("run ended"))
    for tag in ("six", "web"):
        checker.ask("resume", tag=tag)
    until(lambda: len(checker.seen("run ended")) == begun + 2, PATIENCE, "the runs did not end")
    first, second = checker.seen("run ended")[begun:]
    assert (first["ok"], second["ok"]) == (True, True)
    assert first["changes"] == [f"Let route table entries and Elastic IP lead here, for {second['tag']} too"]
    assert second["changes"] == [], "it was for its own run to do"
    targets = {route.target for subnet in lab.view.subnets for route in subnet.routes if route.destination in (place.vip, place.vip6)}
    assert targets == {lab.node_a.place.interface("eth0").id}
