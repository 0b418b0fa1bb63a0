# SPDX-License-Identifier: GPL-3.0-or-later
"""The resource names a route table that was deleted: the service moves and is repaired all the same, and no run is begun again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from harness.module import TREE
from lab.faults import TROUBLES
from lab.waiting import throughout, until

_CLIENT = "ansible_collections.holdfast.ha.plugins.module_utils._control.client"
_ASK = f"import json\nfrom {_CLIENT} import ask\nprint(json.dumps(ask('status', tag='{TAG}')))"
CHECKS = {"grace": 0, "interval": 1, "deep_interval": 1, "backoff": 1, "backoff_max": 1}


@pytest.fixture
def gone(shared: Cluster) -> Iterator[str]:
    """The id of the table, among those of the resource."""
    place = shared.lab.place
    table = str(shared.lab.ec2.create_route_table(VpcId=place.vpc_id)["RouteTable"]["RouteTableId"])
    shared.lab.ec2.delete_route_table(RouteTableId=table)
    tables = [*(one for _machine, one in place.route_tables), table]
    shared.reset(peers=True, reporting={"checks": CHECKS}, ec2={"route_tables": tables, "elastic_ip": place.elastic_ip})
    yield table
    shared.stop()


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    node = cluster.lab.machines[name]
    told: dict[str, Any] = json.loads(node.namespace.run("python3", "-c", _ASK, env={**node.environment, "PYTHONPATH": str(TREE)}).stdout)
    return told


def test_it_is_in_service_and_repaired_and_a_person_is_told(shared: Cluster, gone: str, tmp_path: Path) -> None:
    line = f"There is no route table {gone} in this region and account; take it out of route_table_ids (route_tables of a resource), or check region"
    for name in ("node-a", "node-b"):
        until(lambda node=name: status(shared, node)["ready"], 30, f"{name} is not ready", every=0.2)
    run = shared.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert (run.status == 0, run.message) == (False, f"web is in service on node-b, but: {line}")
    shared.all_on("node-b")
    checker, total = shared.checkers["node-b"], len(shared.lab.place.route_tables)

    def is_told(name: str) -> bool:
        told = status(shared, name)
        seen = (told["health"], told["faults"], told["reasons"])
        return bool(told["in_service"] and told["phase"] == "watching" and seen == ("unknown", [], [line]))

    until(lambda: is_told("node-b"), 60, "the reason is not told", every=0.2)
    assert status(shared, "node-b")["advice"] == "do what the reason says; no run can repair that"
    shown = status(shared, "node-b")["ec2"]
    assert (shown["routes_right"], shown["routes_total"], shown["elastic_ip_right"], shown["error"]) == (total, total + 1, True, "")

    def runs() -> int:
        return len(checker.seen("run started"))

    before = runs()
    throughout(lambda: runs() == before, 4, "a run is started for what no run can repair")

    TROUBLES["wrong-route"].strike(shared.lab)
    until(lambda: runs() > before, 30, "nothing is done about the other tables")
    until(lambda: shared.where()["routes"] == {"node-b"}, 60, "the other tables are not repaired", every=0.2)
    until(lambda: is_told("node-b"), 60, "it does not come to rest", every=0.2)
    after = runs()
    throughout(lambda: runs() == after, 4, "a run is started again and again")
    shared.all_on("node-b")
    assert line in str(status(shared, "node-b")["last_recovery"]["message"])

    checker.stop()  # it hands the lease over, and node-a takes over by itself
    until(lambda: is_told("node-a"), 90, "node-a does not take it over, or does not come to rest", every=0.2)
    shared.all_on("node-a")
    assert line in str(status(shared, "node-a")["last_recovery"]["message"])
