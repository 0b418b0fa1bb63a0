# SPDX-License-Identifier: GPL-3.0-or-later
"""A lease in etcd uses one connection for all of its calls, and all leases of a process share one login. Real HTTP on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreRefused, StoreUnreachable, parse_store
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.fake_etcd import HEADER, FakeEtcd

RECORD = Record("node-a", 3, "n.1")
#: Seconds for one call.
LIMIT = 1.0


@pytest.fixture
def etcd() -> Iterator[FakeEtcd]:
    with FakeEtcd(keeps=True) as made:
        made.answer("range", {"header": HEADER})
        made.answer("status", {"header": HEADER})
        made.answer("txn", {"header": HEADER, "succeeded": True})
        made.answer("authenticate", {"header": HEADER, "token": "first"})
        yield made


def store(etcd: FakeEtcd, **user: str) -> EtcdStore:
    return EtcdStore.connect(parse_store({"type": "etcd", "endpoints": [etcd.url], **user}), LIMIT)


def test_all_calls_of_a_lease_use_one_connection(etcd: FakeEtcd) -> None:
    one = store(etcd)
    for _time in range(5):
        assert one.read("c/t").record is None
        assert one.write("c/t", 0, RECORD) is not None
    assert (len(etcd.asked), etcd.connections) == (10, 1)


def test_a_restart_of_etcd_between_two_calls_costs_none_of_them(etcd: FakeEtcd) -> None:
    one = store(etcd)
    for calls in range(1, 4):
        assert one.write("c/t", 0, RECORD) is not None
        etcd.hang_up()
        time.sleep(0.05)  # the kernel has it; a packet on a real network takes as long
        assert (len(etcd.asked), etcd.connections) == (calls, calls)
    etcd.answer("txn", {"header": HEADER})
    assert one.write("c/t", 0, RECORD) is None, "a refusal leaves no doubt, since nothing was sent before"


def test_a_read_without_a_reply_is_sent_again_on_a_new_connection(etcd: FakeEtcd) -> None:
    one = store(etcd)
    one.read("c/t")
    etcd.mute = 1
    assert one.read("c/t").record is None
    assert (etcd.asked, etcd.connections) == (["range"] * 3, 2)


def test_a_write_without_a_reply_may_have_taken_effect(etcd: FakeEtcd) -> None:
    """It is sent again. If that one is refused, the first one may be the cause."""
    one = store(etcd)
    one.read("c/t")
    etcd.mute = 1
    assert one.write("c/t", 0, RECORD) is not None
    etcd.mute = 1
    etcd.answer("txn", {"header": HEADER})
    with pytest.raises(StoreUnreachable) as caught:
        one.write("c/t", 0, RECORD)
    assert caught.value.ambiguous
    assert one.write("c/t", 0, RECORD) is None, "no doubt is left over"


def test_a_new_connection_without_a_reply_is_an_error(etcd: FakeEtcd) -> None:
    one = store(etcd)
    one.read("c/t")
    etcd.mute = 2
    with pytest.raises(StoreUnreachable) as caught:
        one.write("c/t", 0, RECORD)
    assert caught.value.ambiguous
    assert etcd.asked == ["range", "txn", "txn"]


@pytest.mark.parametrize("answer", [{"header": {**HEADER, "cluster_id": "7"}}, {"kvs": []}, "no json"], ids=["another etcd", "no etcd", "no JSON"])
def test_a_connection_to_somebody_else_is_not_kept(etcd: FakeEtcd, answer: object) -> None:
    """The name may lead elsewhere for a moment. The next call asks for its address again."""
    one = store(etcd)
    one.read("c/t")
    etcd.answer("range", answer)
    for calls in (1, 2):
        with pytest.raises(StoreUnreachable):
            one.read("c/t")
        assert etcd.connections == calls
    etcd.answer("range", {"header": HEADER})
    assert one.read("c/t").record is None
    assert etcd.connections == 3


def test_a_server_that_keeps_no_connections_is_asked_on_new_ones() -> None:
    with FakeEtcd() as etcd:
        etcd.answer("range", {"header": HEADER})
        one = store(etcd)
        for _time in range(3):
            one.read("c/t")
        assert etcd.connections == 3


def test_the_limit_counts_for_each_call_anew(etcd: FakeEtcd) -> None:
    one = store(etcd)
    begun = time.monotonic()
    while time.monotonic() < begun + 1.5 * LIMIT:
        one.read("c/t")
        time.sleep(LIMIT / 4)
    assert etcd.connections == 1


def in_threads(stores: list[EtcdStore]) -> list[ServiceError]:
    """Read by all at the same time; what went wrong."""
    failed: list[ServiceError] = []

    def read(one: EtcdStore) -> None:
        try:
            one.read("c/t")
        except ServiceError as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def test_all_leases_share_one_login(etcd: FakeEtcd) -> None:
    etcd.slow = 0.1
    first = store(etcd, username="holdfast", password="word")
    stores = [first, *(first.sibling() for _number in range(30))]
    assert in_threads(stores) == []
    assert (etcd.asked.count("authenticate"), etcd.asked.count("range")) == (1, 31)
    assert etcd.connections == 31
    etcd.answer("range", {"code": 16, "message": "etcdserver: invalid auth token"}, 401)
    etcd.answer("authenticate", {"header": HEADER, "token": "second"})
    assert len(in_threads(stores)) == 31  # not even the new token is accepted
    etcd.answer("range", {"header": HEADER})
    etcd.asked.clear()
    assert in_threads(stores) == []
    assert etcd.headers[-1] == "second"
    assert etcd.asked.count("authenticate") <= 1


def test_a_wrong_password_is_told_by_all(etcd: FakeEtcd) -> None:
    etcd.slow = 0.1
    etcd.answer("authenticate", {"code": 3, "message": "etcdserver: authentication failed, invalid user ID or password"}, 400)
    first = store(etcd, username="holdfast", password="wrong")
    failed = in_threads([first, *(first.sibling() for _number in range(10))])
    assert len(failed) == 11
    assert etcd.asked.count("authenticate") <= 2
    assert all(isinstance(error, StoreRefused) and "does not accept the user and password" in error.message for error in failed), failed
