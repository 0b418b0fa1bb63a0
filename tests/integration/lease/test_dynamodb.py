# SPDX-License-Identifier: GPL-3.0-or-later
"""The DynamoDB store against the lab's control plane and its faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import parse_store
from lab.control import ControlPlane, Fault

FIRST, SECOND = Record("n1", 1, "boot.a.0"), Record("n2", 2, "boot.b.0", ttl=12.5)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as control:
        DynamoDbStore(control.client("dynamodb"), "leases").create(pause=lambda _: time.sleep(0.05))
        yield control


@pytest.fixture
def store(plane: ControlPlane) -> Iterator[DynamoDbStore]:
    """As the setting makes it, with another service's endpoint in the environment."""
    who = plane.admin_credentials
    keys = {"access_key": who.access_key, "secret_key": who.secret_key, "region": plane.region}
    environ = {"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1", "AWS_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_DYNAMODB": plane.endpoint_url}
    yield DynamoDbStore.connect(parse_store({"type": "dynamodb", "table": "leases", **keys}), 1.5, environ)
    plane.faults.clear()


def test_compare_and_swap(store: DynamoDbStore) -> None:
    assert store.read("cas/t").record is None
    token = store.write("cas/t", None, FIRST)
    assert token
    assert store.write("cas/t", None, SECOND) is None
    assert store.read("cas/t").record == FIRST
    assert store.read("cas/t").token == token
    assert store.write("cas/t", token, SECOND)
    assert store.read("cas/t").record == SECOND
    assert store.write("cas/t", token, FIRST) is None


def test_a_renewal_in_the_same_epoch_voids_older_tokens(store: DynamoDbStore) -> None:
    old = store.write("renewed/t", None, FIRST)
    assert store.write("renewed/t", old, replace(FIRST, nonce="boot.a.1"))
    assert store.write("renewed/t", old, SECOND) is None
    assert store.write("renewed/t", (2, "boot.a.1"), SECOND) is None


@pytest.mark.parametrize(
    ("kind", "ambiguous", "message", "took_effect"),
    [
        ("lost_reply", True, "PutItem: no reply", True),
        ("lost_request", True, "PutItem: no reply", False),
        ("http500", True, "PutItem: AWS failed", False),
        ("throttle", False, "PutItem: AWS is throttling", False),
        ("deny", False, "add dynamodb:PutItem to its IAM policy", False),
        ("expired", False, "PutItem: the credentials or the request have expired", False),
        ("silent", True, "PutItem: no reply", None),
    ],
)
def test_faults_of_a_write(plane: ControlPlane, store: DynamoDbStore, kind: str, ambiguous: bool, message: str, took_effect: bool | None) -> None:
    """In doubt wherever the write may have arrived, and in no other case; one attempt, within its time."""
    key = f"fault/{kind.replace('_', '-')}"
    plane.faults.inject(Fault(kind, "dynamodb:PutItem", times=1))
    before, begin = len(plane.calls.all("PutItem")), time.monotonic()
    with pytest.raises(HoldfastError) as caught:
        store.write(key, None, FIRST)
    assert time.monotonic() - begin < 1.6
    assert message in caught.value.message
    assert caught.value.ambiguous is ambiguous
    plane.faults.clear()
    assert len(plane.calls.all("PutItem")) <= before + 1
    if took_effect is not None:
        assert (store.read(key).record == FIRST) is took_effect


def test_reads_are_consistent(plane: ControlPlane, store: DynamoDbStore) -> None:
    store.read("any/t")
    assert plane.calls.all("GetItem")[-1].params["ConsistentRead"] is True


def test_a_table_that_is_missing(plane: ControlPlane) -> None:
    missing = DynamoDbStore(plane.client("dynamodb"), "nowhere")
    for call in (lambda: missing.read("a/b"), lambda: missing.write("a/b", None, FIRST)):
        with pytest.raises(NotFound, match=r"^the lease table nowhere does not exist in eu-central-1; create it with lease_store"):
            call()
    assert missing.exists() is False


def test_creating_twice_at_once(plane: ControlPlane) -> None:
    table = DynamoDbStore(plane.client("dynamodb"), "twice")
    for _number in range(2):
        table.create(pause=lambda _: time.sleep(0.05))
    assert table.exists()
