# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is refused in one line, before anything is changed: by the checker, and by the playbooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import LabEtcd
from lab.checker import Checker
from lab.control import Call
from lab.playbook import PlaybookRun, run_playbook
from lab.router import API_ADDRESS
from lab.waiting import until

SECRET = "wJalrXUtnFEMIverysecret"
NOWHERE = f"http://{API_ADDRESS}:9"


@pytest.fixture(scope="module")
def etcd(shared: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabEtcd]:
    with LabEtcd(shared.lab.router.namespace, tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="module")
def bare(shared: Cluster) -> Cluster:
    """No checker runs, and nothing is in service."""
    shared.reset()
    shared.stop()
    return shared


# --- the checker ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "resource", "cause"),
    [
        ({"timing": {"ttl": 5}}, {}, "R + 2C + 1 = 2 + 2*1.5 + 1 = 6 s is more than T(1-rho) - D - stop_budget = 5*0.98 - 2 - 0 = 2.9 s"),
        ({"timing": {"profile": "fast", "renew": 2}}, {}, "R + 2C + 1 = 2 + 2*0.5 + 1 = 4 s is more than T(1-rho)"),
        ({}, {"stop_budget": 5}, "raise ttl to at least 13.3, or lower the others"),
        ({"store": {"type": "none"}, "nodes": ["node-a", "node-b"]}, {}, "type none is for one node"),
        ({"store": None}, {}, "no store is set"),
        ({"store": {"type": "dynamodb"}}, {}, "store.table: a store of type dynamodb needs it"),
        ({"store": {"type": "etcd", "endpoints": [NOWHERE], "username": "holdfast"}}, {}, "username and password belong together"),
    ],
)
def test_a_checker_that_cannot_work_does_not_start(bare: Cluster, settings: dict[str, Any], resource: dict[str, Any], cause: str) -> None:
    node = bare.lab.node_a
    checker = Checker(node, {"cluster": CLUSTER, "store": STORE, **settings}, [{**bare.web, **resource}])
    with pytest.raises(RuntimeError, match="ended with 78"):
        checker.start()
    assert len(checker.other) == 1
    assert checker.other[0].startswith("holdfast-checker: ")
    assert cause in checker.other[0]
    assert not bare.has_address(node)


#: Stores that are well described and do not work: (settings, what is said).
_DEAD = {
    "table missing": ({"type": "dynamodb", "table": "no-such-table"}, "the lease table no-such-table does not exist"),
    "dynamodb unreachable": ({**STORE, "endpoint_url": NOWHERE}, f"cannot reach {NOWHERE}"),
    "dynamodb credentials": ({**STORE, "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": SECRET}, "AWS does not accept these credentials"),
    "etcd unreachable": ({"type": "etcd", "endpoints": [NOWHERE]}, "etcd cannot be reached"),
    "etcd credentials": ({"type": "etcd", "password": SECRET}, "etcd does not accept the user and password"),
}


def _store(name: str, etcd: LabEtcd) -> dict[str, Any]:
    given = _DEAD[name][0]
    return {**etcd.settings, **given} if given["type"] == "etcd" and "endpoints" not in given else given


@pytest.mark.parametrize("name", sorted(_DEAD))
def test_a_checker_whose_store_does_not_work_says_so_and_takes_nothing(bare: Cluster, etcd: LabEtcd, name: str) -> None:
    """It runs on, as the store may come back; until then it says in one line what is wrong."""
    node = bare.lab.node_a
    checker = Checker(node, {"cluster": CLUSTER, "store": _store(name, etcd)}, [bare.web]).start()
    try:
        told = [until(lambda: checker.ask("status", tag=TAG)["error"], 20, "no error in its status")]
        if "unreachable" not in name:  # that may pass, so an acquisition waits for it
            told.append(checker.ask("acquire", tag=TAG, wait=1)["message"])
        for line in told:
            assert _DEAD[name][1] in line
            assert "\n" not in line
        status = checker.ask("status", tag=TAG)
        assert (status["held"], status["serving"]) == (False, False)
        assert not bare.has_address(node)
        assert SECRET not in repr([told, status, checker.events, checker.other])
    finally:
        checker.kill()


# --- the playbooks, on the node itself ------------------------------------------------------------------------------------


def play(cluster: Cluster, playbook: str, store: object, **variables: Any) -> PlaybookRun:
    """On node-a, without SSH, which has the resource's definition as the checker has it."""
    node = cluster.lab.node_a
    shared = {"holdfast_cluster": CLUSTER, "holdfast_node": node.name, "holdfast_store": store, "holdfast_resources": [cluster.web], "tag": TAG}
    given = {name: value for name, value in {**shared, **variables}.items() if value is not None}
    return run_playbook(playbook, given, where=node.namespace, environment=node.environment)


def refused(cluster: Cluster, run: PlaybookRun, cause: str) -> None:
    """It failed for that cause, told in one line, and changed nothing."""
    print(f"{run.seconds:.1f} s: {run.message}")
    assert run.status != 0
    assert cause in run.message
    assert "\n" not in run.message
    assert [task.task for task in run.changed] == []
    assert [call.action for call in cluster.lab.control.calls.mutating() if call.service == "ec2" or (call.effective and not _renews(call))] == []
    assert SECRET not in repr(run)
    assert "Traceback" not in run.other


def _renews(call: Call) -> bool:
    """A checker's own renewal, which goes on all the time."""
    return call.action == "PutItem" and call.params["Item"].get("holder", {}).get("S") == "node-a"


@pytest.mark.parametrize("name", ["dynamodb unreachable", "etcd credentials"])
def test_a_playbook_whose_store_does_not_work(bare: Cluster, etcd: LabEtcd, name: str) -> None:
    """The checker of the node has the same store, as an installation would."""
    bare.lab.control.calls.reset()
    store = _store(name, etcd)
    checker = Checker(bare.lab.node_a, {"cluster": CLUSTER, "store": store}, [bare.web]).start()
    try:
        until(lambda: checker.ask("status", tag=TAG)["error"], 20, "no error in its status")
        refused(bare, play(bare, "switchover", store, to="node-a"), _DEAD[name][1])
        assert not bare.has_address(bare.lab.node_a)
    finally:
        checker.kill()


@pytest.fixture(scope="module")
def in_service(bare: Cluster) -> Iterator[Cluster]:
    """The address and the lease on node-a, whose checker hears of no other node."""
    checker = Checker(bare.lab.node_a, {"cluster": CLUSTER, "store": STORE}, [bare.web]).start()
    bare.checkers["node-a"] = checker
    bare.put_in_service(bare.lab.node_a)
    yield bare
    bare.stop()


@pytest.mark.parametrize(
    ("playbook", "changes", "cause"),
    [
        ("switchover", {"store": None, "to": "node-b"}, "there is no store of leases, so nothing can be failed over; set holdfast_store"),
        ("failover", {}, "no node is ready to take web over, so nothing was released (no ready standby is known on this node"),
        ("switchover", {}, "Say to which node: -e to=NODE"),
    ],
)
def test_a_playbook_that_cannot_be_meant(in_service: Cluster, playbook: str, changes: dict[str, Any], cause: str) -> None:
    before = in_service.record()
    in_service.lab.control.calls.reset()
    given = {"store": STORE, **changes}
    refused(in_service, play(in_service, playbook, given.pop("store"), **given), cause)
    after = in_service.record()
    assert before is not None
    assert after is not None
    assert (after.holder, after.epoch) == (before.holder, before.epoch)
    assert in_service.has_address(in_service.lab.node_a)


@pytest.mark.parametrize(("name", "words"), [("switchover", {"tag": TAG, "to": "node-b"}), ("failover", {"tag": TAG}), ("recover", {})])
def test_a_run_that_reaches_no_node_fails(cluster: Cluster, tmp_path: Path, name: str, words: dict[str, str]) -> None:
    """A job template, a pipeline or a rulebook goes by the exit code."""
    run = cluster.play(name, tmp_path, **words, ansible_user="nobody-of-that-name")
    assert run.status != 0
    assert "node-a, node-b cannot be reached, so nothing was done; see to the network, to SSH and to ansible_user" in run.message
