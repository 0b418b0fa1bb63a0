# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker in a node's namespace: it renews, lets the address live as long as the lease, and gives both up in order."""

from __future__ import annotations

import signal
import time

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TABLE, TAG, Cluster
from lab.checker import Checker, write
from lab.control import Fault
from lab.waiting import until

TIMING = PROFILES["standard"]


def lifetime(cluster: Cluster) -> int:
    """Seconds that the address on node-a may still live; fails for one that lives for ever."""
    words = cluster.lab.node_a.namespace.ip("-o -4 addr show dev eth0").split()
    return int(words[words.index("valid_lft", words.index(cluster.lab.place.vip)) + 1].removesuffix("sec"))


def test_it_renews_and_the_address_lives_on(cluster: Cluster) -> None:
    node = cluster.lab.node_a
    cluster.put_in_service(node)
    first = cluster.record()
    assert first is not None
    assert first.holder == "node-a"
    again = cluster.lease(node)
    assert (again["changed"], again["renewed_by"]) == (False, "checker")
    assert cluster.module(node, "lease_address")["changed"] is False
    end = time.monotonic() + TIMING.ttl + 1  # longer than any one lease
    while time.monotonic() < end:
        assert 0 < lifetime(cluster) <= TIMING.hold
        time.sleep(0.1)
    last = cluster.record()
    assert last is not None
    assert (last.holder, last.epoch) == ("node-a", first.epoch)
    assert last.nonce != first.nonce
    status = cluster.module(node, "lease_info", store=STORE)["checker"]
    assert (status["held"], status["serving"], status["watching"], status["error"]) == (True, True, True, "")


def test_killed_the_address_goes_by_itself_and_the_standby_may_take_over(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    refused = cluster.lease(b)
    assert refused["failed"]
    assert "held by node-a" in refused["msg"]
    cluster.checkers["node-a"].kill()
    killed = time.monotonic()
    taken = cluster.lease(b, wait=30)
    assert not taken["failed"], taken
    assert not cluster.has_address(a), "node-b has the lease, and the address is still on node-a"
    assert time.monotonic() - killed < TIMING.ttl * (1 + TIMING.rho) + TIMING.renew + 3
    assert cluster.module(b, "lease_address")["interface"] == "eth0"


def test_stopped_it_finds_out_that_it_lost_the_lease_and_brings_nothing_back(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    checker = cluster.checkers["node-a"]
    checker.send(signal.SIGSTOP)
    cluster.put_in_service_after(b, 30)
    assert not cluster.has_address(a)
    checker.send(signal.SIGCONT)
    until(lambda: checker.seen("lost") or checker.exit_code is not None, 10, "node-a did not notice")
    assert not cluster.has_address(a)
    assert cluster.holder() == "node-b"


@pytest.mark.scenario("F12")
def test_sigterm_takes_the_address_down_and_then_lets_the_lease_go(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    cluster.checkers["node-a"].stop()
    assert cluster.checkers["node-a"].exit_code == 0
    assert not cluster.has_address(a)
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", "")
    assert cluster.lease(b)["holder"] == "node-b"  # at once


def test_a_hand_off_is_for_one_node(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    released = cluster.lease(a, state="released", handoff_to="node-b")
    assert (released["holder"], released["renewed_by"]) == ("", None)
    assert not cluster.has_address(a)
    assert "handed off to node-b" in cluster.lease(a)["msg"]
    assert cluster.lease(b)["holder"] == "node-b"


def test_started_anew_it_goes_on_with_its_lease(cluster: Cluster) -> None:
    a = cluster.lab.node_a
    cluster.put_in_service(a)
    epoch = cluster.record()
    cluster.checkers["node-a"].kill()
    cluster.checkers["node-a"].start()
    until(lambda: cluster.checkers["node-a"].seen("resumed"), 5, "it did not resume")
    end = time.monotonic() + TIMING.ttl
    while time.monotonic() < end:
        assert cluster.has_address(a)
        time.sleep(0.2)
    record = cluster.record()
    assert record is not None
    assert epoch is not None
    assert (record.holder, record.epoch) == ("node-a", epoch.epoch)


def test_an_address_left_on_a_node_that_does_not_hold_the_lease_is_removed(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.checkers["node-b"].kill()
    b.hold(cluster.lab.place.vip, "eth1")
    cluster.put_in_service(a)
    cluster.checkers["node-b"].start()
    until(lambda: not cluster.has_address(b), 5, "the address is still on node-b")
    assert "node-a holds the lease" in cluster.checkers["node-b"].seen("removed")[0]["reason"]


def test_a_store_that_is_silent_costs_the_lease_in_time(cluster: Cluster) -> None:
    a = cluster.lab.node_a
    cluster.put_in_service(a)
    cluster.lab.control.faults.inject(Fault("silent", "dynamodb:*"))
    begin = time.monotonic()
    until(lambda: not cluster.has_address(a), TIMING.ttl, "the address is still there")
    assert time.monotonic() - begin > TIMING.hold - TIMING.renew - 2, "given up although the lease was still good"
    until(lambda: cluster.checkers["node-a"].seen("lost"), 5, "nothing was said")


def test_somebody_else_took_the_lease(cluster: Cluster) -> None:
    """By hand, or a restored backup: the checker steps down as soon as it sees it."""
    a = cluster.lab.node_a
    cluster.put_in_service(a)
    until(cluster.take_by_hand, 5, "the record could not be written")
    until(lambda: not cluster.has_address(a), 2 * TIMING.renew + 1, "the address is still there")
    assert "node-x holds the lease" in cluster.checkers["node-a"].seen("lost")[0]["reason"]


def test_its_record_is_deleted(cluster: Cluster) -> None:
    """By somebody who cleans up: the holder puts it back with a higher epoch, and serves on."""
    a = cluster.lab.node_a
    cluster.put_in_service(a)
    before = cluster.record()
    assert before is not None
    cluster.lab.control.client("dynamodb").delete_item(TableName=TABLE, Key={"lease": {"S": f"{CLUSTER}/{TAG}"}})
    back = until(cluster.record, 2 * TIMING.renew + 2, "it was not put back")
    assert (back.holder, back.epoch > before.epoch) == ("node-a", True)
    assert cluster.has_address(a)
    assert "was deleted; it is put back" in cluster.checkers["node-a"].seen("notice")[0]["text"]
    status = cluster.module(a, "lease_info", store=STORE)["checker"]
    assert (status["held"], status["serving"], status["epoch"]) == (True, True, back.epoch)


def test_its_record_is_damaged(cluster: Cluster) -> None:
    """Who holds it cannot be told, so the address goes in time, nobody takes the lease, and it says what to do. Deleted, it is taken anew."""
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    before = cluster.record()
    assert before is not None
    table = cluster.lab.control.client("dynamodb")
    key = {"lease": {"S": f"{CLUSTER}/{TAG}"}}
    table.put_item(TableName=TABLE, Item={**key, "holder": {"S": "node-a"}, "epoch": {"S": "x"}})
    until(lambda: not cluster.has_address(a), TIMING.ttl, "the address is still there")
    until(lambda: cluster.checkers["node-a"].seen("lost"), 3 * TIMING.ttl, "it goes on with a lease that it cannot renew")
    answer = cluster.lease(b, wait=5)
    assert answer["failed"]
    assert "is not one of ours (epoch is 'x'), so nobody may take it" in answer["msg"]
    told = cluster.module(a, "lease_address")
    assert told["failed"]
    assert "delete the record (aws dynamodb delete-item" in cluster.module_of(a, "ip_resource_info")["resources"][0]["lease"]["error"]
    table.delete_item(TableName=TABLE, Key=key)
    cluster.put_in_service_after(b, 30)
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.epoch > before.epoch) == ("node-b", True)


def test_the_address_needs_the_lease(cluster: Cluster) -> None:
    answer = cluster.module(cluster.lab.node_a, "lease_address")
    assert "acquire it with holdfast.ha.lease first" in answer["msg"]
    cluster.checkers["node-a"].stop()
    answer = cluster.module(cluster.lab.node_a, "lease_address")
    assert "no checker on this host watches the lease web-prod/web" in answer["msg"]


def test_another_holder_of_the_address_is_refused(cluster: Cluster) -> None:
    a = cluster.lab.node_a
    cluster.lab.router.impersonate(a.place.interface("eth0").id, cluster.lab.place.vip.partition("/")[0])
    assert not cluster.lease(a)["failed"]
    answer = cluster.module(a, "lease_address")
    assert "is in use by" in answer["msg"]
    assert not cluster.has_address(a)


def test_the_socket_is_private(cluster: Cluster) -> None:
    assert cluster.lab.node_a.run("stat", "-c", "%a %U", "/run/holdfast/checker.sock").stdout == "600 root\n"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"store": {"type": "none"}, "nodes": ["node-a", "node-b"]}, "type none is for one node"),
        ({"store": None}, "no store is set"),
        ({"timing": "slow"}, "'slow' is none of fast, standard"),
        ({"peer": []}, "'peer' is not known here"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_in_one_line(cluster: Cluster, change: dict[str, object], cause: str) -> None:
    cluster.checkers["node-a"].stop()
    with pytest.raises(RuntimeError, match=f"ended with 78: holdfast-checker: /etc/holdfast/checker.json: .*{cause}"):
        Checker(cluster.lab.node_a, {"cluster": CLUSTER, "store": STORE, **change}, [cluster.web]).start()


def test_a_configuration_that_others_may_read_is_refused(cluster: Cluster) -> None:
    cluster.checkers["node-a"].stop()
    write(cluster.lab.node_a, "/etc/holdfast/checker.json", {"cluster": CLUSTER})
    cluster.lab.node_a.run("chmod", "0640", "/etc/holdfast/checker.json")
    with pytest.raises(RuntimeError, match="set its mode to 0600"):
        cluster.checkers["node-a"].start()
