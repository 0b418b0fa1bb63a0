# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of two etcd clusters are two stores, in which two nodes could hold one lease: only one of them is asked, also after a restart."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreUnreachable, parse_store
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.fake_etcd import FakeEtcd


def member(cluster: str, holder: str) -> FakeEtcd:
    """A member of that cluster, in which that node holds the lease; every write succeeds there."""
    made, header = FakeEtcd(), {"cluster_id": cluster, "revision": "7"}
    value = base64.b64encode(json.dumps(Record(holder, 7, f"{holder}.s.1").as_dict()).encode()).decode()
    made.answer("range", {"header": header, "kvs": [{"mod_revision": "7", "value": value}]})
    made.answer("txn", {"header": header, "succeeded": True})
    made.answer("status", {"header": header})
    return made


@pytest.fixture
def ours() -> Iterator[FakeEtcd]:
    with member("111", "node-a") as made:
        yield made


@pytest.fixture
def foreign() -> Iterator[FakeEtcd]:
    with member("222", "node-b") as made:
        yield made


class Node:
    """What one node keeps, and what it tells. `store` is a process that begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []

    def store(self, *members: FakeEtcd) -> EtcdStore:
        memory = PersistentState(self.folder, self._log)
        return EtcdStore.connect(parse_store({"type": "etcd", "endpoints": [one.url for one in members]}), 5.0, memory.cluster_pin())

    def _log(self, event: str, **facts: Any) -> None:
        self.told.append(f"{event}: {facts['reason']}")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "states")


def holder(store: EtcdStore) -> str:
    record = store.read("c/t").record
    return record.holder if record is not None else "nobody"


def test_a_member_that_was_set_up_anew_is_passed_over_also_after_a_restart(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    assert holder(node.store(ours)) == "node-a"
    for _process in range(2):
        store = node.store(foreign, ours)
        for _read in range(3):
            assert holder(store) == "node-a"
    assert len(node.told) == 2, "once for each process"
    assert f"{foreign.url} answers for the etcd cluster 222, and the leases are in the cluster 111" in node.told[0]
    assert f"remove {node.folder}/etcd-cluster on each node" in node.told[0]


def test_alone_it_is_as_if_it_could_not_be_reached(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    node.store(ours).read("c/t")
    with pytest.raises(StoreUnreachable, match="answers for the etcd cluster 222"):
        node.store(foreign).read("c/t")
    with pytest.raises(StoreUnreachable) as caught:
        node.store(foreign).write("c/t", 0, Record("me", 1, "b.s.1"))
    assert caught.value.ambiguous


def test_nothing_is_written_where_another_cluster_has_answered(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    node.store(ours).read("c/t")
    store = node.store(foreign, ours)
    store.read("c/t")
    ours.replies.clear()
    with pytest.raises(StoreUnreachable):
        store.write("c/t", 0, Record("me", 1, "b.s.1"))
    assert "txn" in ours.asked
    assert "txn" not in foreign.asked


def test_a_member_that_has_come_back_is_asked_again(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    node.store(ours).read("c/t")
    store = node.store(foreign)
    with pytest.raises(StoreUnreachable):
        store.read("c/t")
    foreign.replies = ours.replies
    assert holder(store) == "node-a"
    assert store.write("c/t", 0, Record("me", 1, "b.s.1"))


def test_before_one_is_known_two_are_refused(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    """Two nodes that are installed with the same list, and ask it in another order, would each take the lease in another cluster."""
    for members in ((ours, foreign), (foreign, ours), (ours, ours, foreign)):
        with pytest.raises(StoreUnreachable, match="the endpoints answer for different clusters"):
            node.store(*members).read("c/t")
    with FakeEtcd() as dead:
        assert holder(node.store(dead, ours)) == "node-a", "who does not answer says nothing"


def test_an_operator_accepts_another_cluster(node: Node, ours: FakeEtcd, foreign: FakeEtcd) -> None:
    node.store(ours).read("c/t")
    (node.folder / "etcd-cluster").unlink()
    assert holder(node.store(foreign)) == "node-b"


@pytest.mark.parametrize("content", ["", "\n", "1\xff", "x" * 1000])
def test_a_file_that_is_damaged(node: Node, ours: FakeEtcd, content: str) -> None:
    """As if there were none."""
    node.folder.mkdir(mode=0o700)
    (node.folder / "etcd-cluster").write_text(content, encoding="latin-1")
    assert holder(node.store(ours)) == "node-a"
