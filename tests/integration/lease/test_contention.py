# SPDX-License-Identifier: GPL-3.0-or-later
"""Simultaneous starts on real stores: one winner each; everything that was seen is the history of one register with rising epochs."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import Gateway
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store
from ansible_collections.holdfast.ha.tests.integration.lease.contest import Arena
from ansible_collections.holdfast.ha.tests.integration.lease.servers import Etcd, LossyWire, dynalite
from lab.control import ControlPlane, Fault

pytestmark = pytest.mark.exclusivity

ROUNDS = 500


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    with Etcd(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as control:
        yield control


def _etcd(endpoints: list[str]) -> Callable[[], Store]:
    return lambda: EtcdStore(Gateway(endpoints, timeout=1.5))


def _dynamodb(url: str, table: str) -> Callable[[], Store]:
    """One client for all nodes: making one takes longer than a round, and threads may share it."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5, proxies={})
    client = boto3.session.Session().client(
        "dynamodb", region_name="eu-central-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x", config=config
    )
    DynamoDbStore(client, table).create(pause=lambda _: time.sleep(0.05))
    return lambda: DynamoDbStore(client, table)


def _plane(plane: ControlPlane, table: str) -> Callable[[], Store]:
    client = plane.client("dynamodb")
    DynamoDbStore(client, table).create(pause=lambda _: time.sleep(0.05))
    return lambda: DynamoDbStore(client, table)


def test_etcd(etcd: Etcd) -> None:
    outcome = Arena(_etcd(etcd.endpoints)).contests(ROUNDS)
    assert outcome.rounds == ROUNDS
    assert outcome.changes >= 2 * ROUNDS
    assert outcome.unsure == 0


def test_etcd_that_loses_replies(etcd: Etcd) -> None:
    wire = LossyWire(etcd.endpoints[0], share=0.25)
    try:
        outcome = Arena(_etcd([wire.url])).contests(100)
    finally:
        wire.stop()
    assert wire.lost > 50
    assert outcome.unsure > 30


def test_lab(plane: ControlPlane) -> None:
    outcome = Arena(_plane(plane, "fair")).contests(ROUNDS)
    assert outcome.rounds == ROUNDS
    assert outcome.changes >= 2 * ROUNDS


def test_lab_that_loses_replies(plane: ControlPlane) -> None:
    connect = _plane(plane, "lossy")
    arena, unsure = Arena(connect), 0
    for _number in range(5):
        plane.faults.inject(Fault("lost_reply", "dynamodb:PutItem", times=15))
        unsure = arena.contests(20, keys=2, missing=False).unsure
    plane.faults.clear()
    assert unsure > 30


@pytest.mark.skipif(shutil.which("npm") is None, reason="dynalite is installed by npm, and this machine has no npm")
def test_dynalite(tmp_path: Path) -> None:
    server, url = dynalite(tmp_path)
    try:
        outcome = Arena(_dynamodb(url, "fair")).contests(ROUNDS)
    finally:
        server.stop()
    assert outcome.rounds == ROUNDS
    assert outcome.changes >= 2 * ROUNDS


def test_etcd_cluster_whose_leader_is_paused(tmp_path: Path) -> None:
    """Contests go on while whichever member leads is stopped again and again."""
    with Etcd(tmp_path, members=3) as cluster:
        done = threading.Event()
        pauses = []

        def disturb() -> None:
            while not done.wait(0.6):
                leader = cluster.leader()
                if leader is None:
                    continue
                cluster.members[leader].signal(signal.SIGSTOP)
                pauses.append(leader)
                done.wait(1.2)
                cluster.members[leader].signal(signal.SIGCONT)

        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            arena, rounds = Arena(_etcd(cluster.endpoints)), 0
            while len(pauses) < 5 or rounds < 60:
                outcome = arena.contests(20, keys=2, missing=False)
                rounds += outcome.rounds
                assert rounds < 2000, "no leader was ever paused"
        finally:
            done.set()
            disturber.join()
    print(f"{rounds} starts, {outcome.changes} changes, {outcome.unsure} unsure, over {len(pauses)} pauses")
    assert outcome.changes >= 2 * rounds, "a start and a release each change the record"
