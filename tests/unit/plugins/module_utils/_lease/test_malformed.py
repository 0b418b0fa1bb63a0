# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store must never do: end the process, or let a malformed answer pass for an empty store. With a real HTTP server in place of etcd."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import CorruptRecord, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Contact, Identity, Intent, Reading, State
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store, StoreUnreachable, parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.fake_etcd import HEADER, FakeEtcd

DEEP = "[" * 100_000
MINE = Record("me", 7, "boot.old.3")


@pytest.fixture(scope="module")
def serving() -> Iterator[FakeEtcd]:
    with FakeEtcd() as made:
        yield made


@pytest.fixture
def etcd(serving: FakeEtcd) -> FakeEtcd:
    serving.replies, serving.headers = {}, []
    return serving


def key(value: str | None = None) -> dict[str, Any]:
    """The reply to a range with one key."""
    text = json.dumps(MINE.as_dict()) if value is None else value
    return kvs([{"mod_revision": "7", "value": base64.b64encode(text.encode()).decode()}])


def connect(*endpoints: str, timeout: float = 5.0, **more: str) -> EtcdStore:
    return EtcdStore.connect(parse_store({"type": "etcd", "endpoints": list(endpoints), **more}), timeout)


def kvs(value: object) -> dict[str, Any]:
    return {"header": HEADER, "kvs": value}


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no JSON",
        DEEP,
        "null",
        "[1]",
        "{}",
        {"kvs": []},
        {"header": {}},
        {"header": None},
        {"header": [1]},
        {"header": "x"},
        {"header": {"cluster_id": "x"}},
        {"header": {"cluster_id": "0"}},
        {"header": {"cluster_id": "9" * 5000}},
        {"header": {"cluster_id": "²"}},
        {"header": {"cluster_id": True}},
        {"header": {"cluster_id": 1.5}},
        kvs({"0": 1}),
        kvs([1]),
        kvs("x"),
        kvs([None]),
        kvs(7),
        kvs([{"value": "e30="}]),
        kvs([{"value": "e30=", "mod_revision": "many"}]),
        kvs([{"value": "e30=", "mod_revision": "0"}]),
        kvs([{"value": "e30=", "mod_revision": "-7"}]),
        kvs([{"value": "e30=", "mod_revision": ["7"]}]),
        kvs([{"value": None, "mod_revision": "7"}]),
        kvs([{"value": 5, "mod_revision": "7"}]),
        kvs([{"value": {}, "mod_revision": "7"}]),
    ],
    ids=lambda reply: str(reply)[:40],
)
def test_a_malformed_reply_to_a_read_is_no_answer(etcd: FakeEtcd, reply: object) -> None:
    """Neither a crash nor an empty store: a node that took it for a missing record would take the lease."""
    etcd.answer("range", reply)
    with pytest.raises(StoreUnreachable, match="something that is not etcd's"):
        connect(etcd.url).read("c/t")


@pytest.mark.parametrize(
    "reply",
    [
        DEEP,
        {"succeeded": True},
        {"succeeded": True, "header": {"cluster_id": "1"}},
        {"succeeded": True, "header": {**HEADER, "revision": "x"}},
        {"succeeded": True, "header": {**HEADER, "revision": None}},
        {"succeeded": "yes", "header": HEADER},
        {"succeeded": [], "header": HEADER},
        {"succeeded": False},
        {},
    ],
    ids=lambda reply: str(reply)[:40],
)
def test_a_write_without_a_proper_reply_is_ambiguous(etcd: FakeEtcd, reply: object) -> None:
    etcd.answer("txn", reply)
    with pytest.raises(StoreUnreachable) as caught:
        connect(etcd.url).write("c/t", 0, MINE)
    assert caught.value.ambiguous


@pytest.mark.parametrize("code", [[], {}, "x", 1e400, None])
@pytest.mark.parametrize("status", [400, 404, 503])
def test_an_error_of_any_form_is_an_error(etcd: FakeEtcd, code: object, status: int) -> None:
    etcd.answer("range", {"code": code, "message": ["a", {}]}, status)
    with pytest.raises(StoreUnreachable):
        connect(etcd.url).read("c/t")


@pytest.mark.parametrize(
    "value", [DEEP, "[1]", "", '{"epoch": ' + "9" * 5000 + "}", '{"holder": {"a": 1}}', '{"valid_for": 1e400}'], ids=lambda one: one[:20]
)
def test_a_malformed_value_concerns_its_lease_alone(etcd: FakeEtcd, value: str) -> None:
    etcd.answer("range", key(value))
    with pytest.raises(CorruptRecord, match="the lease record /holdfast/c/t in etcd is not one of ours"):
        connect(etcd.url).read("c/t")
    etcd.answer("range", key())
    assert connect(etcd.url).read("c/u").record == MINE


def test_bytes_that_are_no_text_in_a_value(etcd: FakeEtcd) -> None:
    for encoded in ("####", "/w==", "a", "é"):
        etcd.answer("range", kvs([{"mod_revision": "7", "value": encoded}]))
        with pytest.raises(CorruptRecord):
            connect(etcd.url).read("c/t")


@pytest.mark.parametrize("token", [None, "", 5, ["a"], "a\nb", "a b", "é", "a\ud800", "x" * 10_000], ids=lambda token: ascii(token)[:20])
def test_a_malformed_token_is_neither_sent_nor_shown(etcd: FakeEtcd, token: object) -> None:
    etcd.answer("authenticate", {"header": HEADER, "token": token})
    etcd.answer("range", key())
    with pytest.raises(StoreUnreachable, match="authentication token is missing or malformed") as caught:
        connect(etcd.url, username="u", password="hidden").read("c/t")
    assert etcd.headers == ["None"], "the read went out all the same"
    assert "xxx" not in caught.value.message
    etcd.answer("authenticate", {"header": HEADER, "token": "secret.7"})
    assert connect(etcd.url, username="u", password="hidden").read("c/t").record == MINE


def test_another_endpoint_answers_in_place_of_a_wrong_server(etcd: FakeEtcd) -> None:
    """A web server that answers 200 to everything is among the endpoints."""
    with FakeEtcd() as wrong:
        wrong.answer("range", "{}")
        etcd.answer("range", key())
        assert connect(wrong.url, etcd.url).read("c/t").record == MINE


# ---- DynamoDB


class OneItem:
    """A client of DynamoDB with one item. ``item``: in DynamoDB's form."""

    def __init__(self, item: object) -> None:
        self.item = item

    def get_item(self, **words: object) -> dict[str, object]:
        return {"Item": self.item}


GOOD = {"lease": {"S": "c/t"}, "holder": {"S": "n1"}, "epoch": {"N": "7"}, "nonce": {"S": "a.b"}, "valid_for": {"N": "10"}}


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": {"N": "x"}},
        {"epoch": {"N": "9" * 5000}},
        {"epoch": {"N": "-"}},
        {"epoch": {"N": "1e400"}},
        {"epoch": {"N": 7}},
        {"epoch": {"N": None}},
        {"epoch": {}},
        {"epoch": None},
        {"epoch": "x"},
        {"epoch": {"L": [{"N": "7"}]}},
        {"holder": {"S": None}},
        {"holder": {"M": {}}},
        {"nonce": {"BOOL": True}},
        {"valid_for": {"N": "nan"}},
        {"valid_for": {"N": "inf"}},
        {"unfenced": {"N": "1"}},
        {"unfenced": {"S": "node-a,"}},
        {"unfenced": {"S": "node a"}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_malformed_item_of_dynamodb_is_a_corrupt_record(change: dict[str, object]) -> None:
    assert DynamoDbStore(OneItem(GOOD), "holdfast").read("c/t").record == Record("n1", 7, "a.b")
    with pytest.raises(CorruptRecord):
        DynamoDbStore(OneItem({**GOOD, **change}), "holdfast").read("c/t")


# ---- what is left, in the keeper


class Broken:
    """A store with a defect: it raises what no store may raise."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def read(self, key: str) -> Reading:
        self._fail()
        return Reading(Record("", 7, "far.s.2"), 1)

    def write(self, key: str, expected: object, record: Record) -> object:
        self._fail()
        return 2

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def keeper_of(store: Store) -> tuple[Keeper, list[tuple[str, str]]]:
    keeper, told = Keeper(store, "c/t", State(Identity("me", "boot"), "s", Timing()), lambda: 100.0), list[tuple[str, str]]()
    keeper.on_defect = lambda cause, where: told.append((cause, where))
    keeper.tell(Intent.CLAIM)
    return keeper, told


@pytest.mark.parametrize(
    "error", [KeyError("secret"), RecursionError(), TypeError("secret"), RuntimeError("secret"), UnicodeError("secret")], ids=repr
)
def test_a_defect_of_a_store_is_an_error_and_is_told_once(error: Exception) -> None:
    store = Broken(error)
    keeper, told = keeper_of(store)
    keeper.turn()
    assert (keeper.state.contact, keeper.state.seen) == (Contact.LOST, None)
    assert isinstance(keeper.error, HoldfastError)
    assert keeper.error.retryable
    assert type(error).__name__ in keeper.error.message
    store.error = None
    keeper.look()
    keeper.turn()
    assert keeper.error is None
    store.error = error
    keeper.turn()
    assert [attempt.record.holder for attempt in keeper.state.open] == ["me"], "a write that it is not certain of is found by reading"
    assert [cause for cause, _where in told] == [type(error).__name__]
    assert "secret" not in str(told)
    assert "secret" not in str(keeper.error)
    assert all(where.startswith("test_malformed.py:") for _cause, where in told)


def test_the_end_of_the_process_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        keeper_of(Broken(KeyboardInterrupt()))[0].turn()
