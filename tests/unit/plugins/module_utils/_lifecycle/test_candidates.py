# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node is to be active, from reports: the choice and every refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import (
    Links,
    Report,
    Wish,
    choose,
    connected,
    is_transient,
    make_report,
    preference,
    questions,
    reached,
    takes_part,
)

CLUSTER = "web-prod"
WEB: dict[str, Any] = {"tag": "web", "address": "10.1.0.10/32", "interface": "eth0", "priority": {"node-a": 1, "node-b": 2}}
TRANSIENT, DENIED = {"kind": "unreachable", "transient": True, "denied": False}, {"kind": "denied", "transient": False, "denied": True}

A = Report(node="node-a", host="node-a", holder="node-a", held=True, recorded=True, watched=True, priority=1)
B = Report(node="node-b", host="node-b", holder="node-a", watched=True, priority=2)
C = Report(node="node-c", host="node-c", holder="node-a", watched=True)


def shown(**changes: Any) -> dict[str, Any]:
    """An entry of ip_resource_info's ``resources`` on a node that stands by."""
    lease = {
        "cluster": CLUSTER,
        "node": "node-b",
        "held": False,
        "holder": "node-a",
        "watching": True,
        "error": "",
        "ready": True,
        "takes_over": True,
    }
    links = {"primary_interface": "eth0", "primary_state": "up", "primary_switched_off": False, "backup_interface": "eth1", "backup_state": "up"}
    return {**links, "recorded": False, "lease": {**lease, **changes.pop("lease", {})}, **changes}


def reported(entry: dict[str, Any] | None, **results: Any) -> Report:
    given: dict[str, Any] = {"info": {"resources": [entry]} if entry else {}, "read": {}, "ec2": {}, "elastic_ip": {}, **results}
    return make_report("10.0.0.2", "", WEB, CLUSTER, **given)


# --- a report ---------------------------------------------------------------------------------------------------------


def test_a_node_that_is_ready() -> None:
    report = reported(shown(lease={"ttl": 8.0}))
    assert report == Report(node="node-b", host="10.0.0.2", holder="node-a", takes_over=True, watched=True, priority=2, ttl=8.0, peers=()), (
        "the checker knows the node's name"
    )
    assert make_report("10.0.0.2", "web2", WEB, CLUSTER, info={"resources": [shown()]}, read={}, ec2={}, elastic_ip={}).node == "web2"


@pytest.mark.parametrize(
    ("entry", "results", "reasons"),
    [
        (None, {"info": {"msg": "resource/tag: wrong"}}, ("resource/tag: wrong",)),
        (None, {}, ("see above",)),
        (shown(lease={"cluster": "other"}), {}, ("no checker watches the lease there",)),
        ({**shown(), "lease": None}, {}, ("no checker watches the lease there",)),
        ({**shown(), "lease": None}, {"read": {"msg": "etcd cannot be reached"}}, ("etcd cannot be reached",)),
        (shown(lease={"cluster": "", "error": "no reply within 5 s"}), {}, ("no reply within 5 s",)),
        (shown(lease={"watching": False, "error": "etcd cannot be reached"}), {}, ("its checker has trouble: etcd cannot be reached",)),
        (shown(primary_state="down", backup_state="down"), {}, ("eth0 and eth1 are down",)),
        (shown(primary_state="down", backup_interface=None, backup_state=None), {}, ("eth0 is down",)),
        (shown(primary_state="down", backup_state="down", primary_switched_off=True), {}, ()),
        (shown(primary_state="down"), {}, ()),
        (shown(primary_state="down", recorded=True), {}, ("eth0 and eth1 are down",)),
        (shown(), {"ec2": {"msg": "UnauthorizedOperation"}}, ("EC2: UnauthorizedOperation",)),
        (shown(), {"elastic_ip": {"msg": "has one already", "errors": [DENIED]}}, ("EC2: has one already",)),
        (shown(), {"elastic_ip": {"msg": "no reply", "errors": [TRANSIENT]}}, ()),
        (shown(lease={"ready": False, "ready_reason": "it is paused"}), {}, ("it is paused",)),
        (shown(lease={"ready": False}), {}, ("its checker says that it is not ready",)),
        (shown(lease={"ready": False, "held": True}), {}, ()),
        (shown(lease={"ready": False, "ready_reason": "it is paused"}), {"ec2": {"msg": "denied"}}, ("EC2: denied",)),
    ],
)
def test_why_a_node_cannot_take_over(entry: dict[str, Any] | None, results: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert reported(entry, **results).reasons == reasons


def test_what_is_not_known_of_a_node_is_its_trouble() -> None:
    assert reported(shown()).trouble == ""
    assert reported(None, info={"msg": "wrong"}).trouble == "wrong"
    assert reported(shown(lease={"cluster": "", "error": "no reply"})).trouble == "no reply", "its checker may have the address up"


def test_the_record_counts_where_no_checker_knows_the_holder() -> None:
    record = {"holder": "node-x", "handoff_to": "-", "ttl": 20.0}
    report = reported({**shown(), "lease": None}, read={"record": record})
    assert (report.holder, report.held_back, report.ttl) == ("node-x", True, 20.0)
    assert reported({**shown(), "lease": None}, read={"record": None}).holder == ""


def test_the_interface_whose_check_is_off() -> None:
    assert reported(shown(), ec2={"before": False}).check_off == "eth0"
    assert reported(shown(primary_state="down"), ec2={"before": False}).check_off == "eth1"
    assert reported(shown(), ec2={"before": True}).check_off == ""
    assert reported(shown()).check_off == ""


@pytest.mark.parametrize(
    ("entry", "parts", "expected"),
    [
        (shown(), {}, (False, False, False, "eth0")),
        (shown(lease={"holder": None}), {}, (True, False, False, "eth0")),
        ({**shown(), "lease": None}, {}, (True, False, False, "eth0")),
        (shown(), {"route_tables": "all"}, (False, True, False, "eth0")),
        (shown(primary_state="down"), {"elastic_ip": "198.51.100.7"}, (False, True, True, "eth1")),
        (shown(lease={"held": True}), {"elastic_ip": "198.51.100.7"}, (False, True, False, "eth0")),
        (None, {"elastic_ip": "198.51.100.7"}, (False, False, False, "")),
    ],
)
def test_what_else_is_asked(entry: dict[str, Any] | None, parts: dict[str, Any], expected: tuple[bool, bool, bool, str]) -> None:
    asked = questions({**WEB, "ec2": parts}, CLUSTER, {"resources": [entry] if entry else []})
    assert (asked.lease, asked.ec2, bool(asked.elastic_ip), asked.interface) == expected


def test_how_the_elastic_ip_would_be_associated() -> None:
    """With the private address that the definition names, and else preferably with the protected one."""
    wanted = {"interface": "eth0", "public_ip": "198.51.100.7", "preferred_private_ip_address": "10.1.0.10"}
    for more in ({}, {"private_ip_address": "10.0.1.20"}):
        resource = {**WEB, "address": "10.1.0.10/32", "ec2": {"elastic_ip": "198.51.100.7", **more}}
        assert questions(resource, CLUSTER, {"resources": [shown()]}).elastic_ip == {**wanted, **more}


@pytest.mark.parametrize(
    ("result", "answered"),
    [
        ({"resources": []}, True),
        ({"msg": "resource/tag: wrong", "failed": True}, True),
        ({"unreachable": True, "msg": "Permission denied"}, False),
        ({"timedout": {"period": 10}, "msg": "x"}, False),
        ({"msg": "The ping action failed to execute in the expected time frame (10) and was terminated"}, False),
        ({"msg": "Timed out waiting for SSH"}, False),
    ],
)
def test_who_answers(result: dict[str, Any], answered: bool) -> None:
    assert reached(result) is answered
    assert takes_part(result, [result, {}], ["node-a"]) is answered


@pytest.mark.parametrize(
    ("result", "answered"),
    [({"ping": "pong"}, True), ({"skipped": True}, True), ({"failed": True, "msg": "python3: not found"}, False), ({"unreachable": True}, False)],
)
def test_a_node_on_which_no_module_runs_takes_no_part(result: dict[str, Any], answered: bool) -> None:
    assert takes_part(result, [result, {}], ["node-a"], connected) is answered


def test_a_run_without_any_answer_is_refused() -> None:
    silent = {"unreachable": True, "msg": "Permission denied"}
    with pytest.raises(Refused, match=r"^node-a, node-b cannot be reached, so nothing was done; .* ansible_user \(Permission denied\)$"):
        takes_part(silent, [silent, silent], ["node-a", "node-b"])


@pytest.mark.parametrize(
    ("links", "spare", "down", "unusable"),
    [
        (Links("eth0", "eth1", backup_up=True), "", (), ()),
        (Links("eth0", "eth1", primary_up=False, backup_up=True), "eth1", (), ()),
        (Links("eth0", "eth1", primary_up=False), "", ("eth0", "eth1"), ("eth0", "eth1")),
        (Links("eth0", primary_up=False), "", ("eth0",), ("eth0",)),
        (Links("eth0", "eth1", primary_up=False, switched_off=True), "", ("eth0", "eth1"), ()),
        (Links("eth0", "eth1", primary_up=False, backup_up=True, recorded=True), "", ("eth0", "eth1"), ("eth0", "eth1")),
    ],
)
def test_which_interface_carries_the_address(links: Links, spare: str, down: tuple[str, ...], unusable: tuple[str, ...]) -> None:
    assert (links.spare, links.down, links.unusable) == (spare, down, unusable)


@pytest.mark.parametrize(
    ("errors", "transient"), [([], False), ([TRANSIENT], True), ([DENIED], False), ([TRANSIENT, DENIED], False), ([{"kind": "not_found"}], False)]
)
def test_what_may_pass_without_a_person(errors: list[dict[str, Any]], transient: bool) -> None:
    assert is_transient(errors) is transient


# --- the choice -------------------------------------------------------------------------------------------------------


def chosen(wish: Wish, *reports: Report, me: str = "") -> tuple[str, str, str]:
    """Holder, host of the active node, standby. All hosts come to the same choice."""
    hosts = [me] if me else [report.host for report in reports]
    choices = {
        (choice.holder, choice.active.host if choice.active else "", choice.standby.node)
        for host in hosts
        for choice in [choose(wish, host, reports)]
    }
    (choice,) = choices
    return choice


FAILOVER = Wish("web")
AUTOMATIC = Wish("web", automatic=True)


@pytest.mark.parametrize(
    ("wish", "reports", "expected"),
    [
        (FAILOVER, (A, B), ("node-a", "node-a", "node-b")),
        (FAILOVER, (A, C, B), ("node-a", "node-a", "node-b")),
        (FAILOVER, (A, replace(B, reasons=("eth0 is down",)), C), ("node-a", "node-a", "node-c")),
        (FAILOVER, (A, replace(B, priority=None), C), ("node-a", "node-a", "node-b")),
        (FAILOVER, (A, replace(B, priority=None), replace(C, priority=5)), ("node-a", "node-a", "node-c")),
        (Wish("web", to="node-c"), (A, B, C), ("node-a", "node-a", "node-c")),
        (Wish("web", to="10.0.0.3"), (A, B, replace(C, host="10.0.0.3")), ("node-a", "node-a", "node-c")),
        (Wish("web", to="node-a"), (A, B), ("node-a", "", "node-a")),
        (FAILOVER, (B, C), ("node-a", "", "node-b")),
        (FAILOVER, (replace(B, holder=""), replace(C, holder="")), ("", "", "node-b")),
        (FAILOVER, (replace(A, held=False, holder=""), replace(B, holder="")), ("", "", "node-a")),
        (AUTOMATIC, (A, B), ("node-a", "node-a", "node-b")),
        # What is held and not in service is put into service where it is held, unless that node's links are down.
        (AUTOMATIC, (replace(A, recorded=False), B), ("node-a", "", "node-a")),
        (AUTOMATIC, (replace(A, recorded=False, cut_off=True, reasons=("eth0 is down",)), B), ("node-a", "node-a", "node-b")),
        (FAILOVER, (replace(A, recorded=False), B), ("node-a", "node-a", "node-b")),
        (FAILOVER, (replace(A, held=False, holder="", held_back=True), replace(B, holder="")), ("", "", "node-a")),
        (AUTOMATIC, (A, replace(B, held_back=True)), ("node-a", "node-a", "node-b")),
    ],
)
def test_the_choice(wish: Wish, reports: tuple[Report, ...], expected: tuple[str, str, str]) -> None:
    assert chosen(wish, *reports) == expected


@pytest.mark.parametrize(
    ("wish", "reports", "refusal"),
    [
        (FAILOVER, (A,), "no node is ready to take web over, so nothing was released (another node cannot be reached, or is not in this run)"),
        (
            Wish("web", to="node-z"),
            (A, B),
            "no node is ready to take web over, so nothing was released (node-z cannot be reached, or is not in this run)",
        ),
        (
            FAILOVER,
            (A, replace(B, reasons=("eth0 is down", "EC2: denied")), replace(C, reasons=("it is paused",))),
            "no node is ready to take web over, so nothing was released (node-b: eth0 is down, EC2: denied; node-c: it is paused)",
        ),
        (
            FAILOVER,
            (replace(A, ec2_error="silent"), replace(B, ec2_error="silent", reasons=("EC2: silent",))),
            "no node is ready to take web over, so nothing was released (node-b: EC2: silent); whether the service works is unknown, as EC2 answers "
            "no node",
        ),
        (
            AUTOMATIC,
            (replace(A, held=False, holder="", held_back=True), replace(B, holder="")),
            "web was taken out of service, or could not be started, and waits for a person; see why, then "
            "holdfast.ha.switchover -e tag=web -e to=NODE",
        ),
        (
            AUTOMATIC,
            (replace(A, recorded=False, cut_off=True, reasons=("eth0 is down",)), replace(B, reasons=("it is paused",))),
            "no node is ready to take web over, so nothing was released (node-b: it is paused; node-a: eth0 is down)",
        ),
        (FAILOVER, (replace(A, trouble="no reply"), B), "node-a holds web and could not be looked at, so nothing was released: no reply"),
        (
            AUTOMATIC,
            (replace(A, ec2_error="EC2 cannot be reached", ec2_errors=(TRANSIENT,)), B),
            "whether web works is unknown, as EC2 does not answer node-a (EC2 cannot be reached), so nothing was released",
        ),
        (
            replace(AUTOMATIC, failed={"node-a": "no reply from EC2"}, only_ec2={"node-a": (TRANSIENT,)}),
            (A, B),
            "whether web works is unknown, as EC2 does not answer node-a (no reply from EC2), so nothing was released",
        ),
    ],
)
def test_a_refusal(wish: Wish, reports: tuple[Report, ...], refusal: str) -> None:
    for report in reports:
        with pytest.raises(Refused) as raised:
            choose(wish, report.host, reports)
        assert raised.value.message == refusal


@pytest.mark.parametrize(
    "wish",
    [
        replace(AUTOMATIC, failed={"node-a": "denied"}, only_ec2={"node-a": (DENIED,)}),
        replace(AUTOMATIC, failed={"node-a": "no reply, and the address is gone"}),
        Wish("web"),
    ],
)
def test_a_node_that_is_denied_or_broken_is_left_all_the_same(wish: Wish) -> None:
    """Silence of EC2 says nothing about the service; a denial, a fault beside it, or a person does."""
    silent = replace(A, ec2_error="EC2 cannot be reached", ec2_errors=(TRANSIENT,))
    assert chosen(wish, silent, B) == ("node-a", "node-a", "node-b")


# --- on the node itself -----------------------------------------------------------------------------------------------

ALONE = Wish("web", alone=True)


def peer(node: str, **changes: Any) -> dict[str, Any]:
    return {"node": node, "alive": True, "ready": True, "reason": "", "priority": None, "held": False, **changes}


def test_alone_it_releases_to_the_peer_that_is_ready() -> None:
    active = replace(A, peers=(peer("node-a"), peer("node-c"), peer("node-b", priority=2)))
    assert chosen(ALONE, active) == ("node-a", "node-a", "node-b")
    assert chosen(replace(ALONE, to="node-c"), active) == ("node-a", "node-a", "node-c")


@pytest.mark.parametrize(
    ("wish", "report", "refusal"),
    [
        (ALONE, A, "(no ready standby is known on this node; run this from a controller, against all nodes)"),
        (replace(ALONE, to="node-b"), A, "(no ready standby is known on this node; run this from a controller, against all nodes)"),
        (replace(ALONE, to="node-z"), replace(A, peers=(peer("node-b"),)), "(node-z is none of the nodes that this one hears of, node-b)"),
        (ALONE, replace(A, peers=(peer("node-b", alive=False),)), "(node-b: it is not heard of)"),
        (ALONE, replace(A, peers=(peer("node-b", ready=False, reason="it is paused"),)), "(node-b: it is paused)"),
        (ALONE, replace(A, peers=(peer("node-b", ready=False),)), "(node-b: it is not ready)"),
        (replace(ALONE, to="node-c"), B, "(node-c is another node; run this there, or from a controller)"),
        (replace(ALONE, to="node-c"), replace(B, peers=(peer("node-c"),)), "(node-c is another node; run this there, or from a controller)"),
        (ALONE, replace(B, reasons=("eth0 is down",), peers=(peer("node-c"),)), "(node-b: eth0 is down)"),
        (ALONE, replace(B, peers=(peer("node-a", held=True),)), "node-a holds web and is alive; run this on node-a, or from a controller"),
    ],
)
def test_alone_it_is_refused(wish: Wish, report: Report, refusal: str) -> None:
    with pytest.raises(Refused) as raised:
        choose(wish, report.host, [report])
    assert refusal in raised.value.message


def test_alone_it_takes_over_from_a_node_that_is_silent() -> None:
    assert chosen(ALONE, replace(B, peers=(peer("node-a", alive=False, held=True),))) == ("node-a", "", "node-b")
    assert chosen(replace(ALONE, to="node-b"), B) == ("node-a", "", "node-b")


def test_the_order_of_preference() -> None:
    assert sorted([("b", 2), ("c", None), ("a", None), ("d", 1)], key=lambda one: preference(one[1], one[0])) == [
        ("d", 1),
        ("b", 2),
        ("a", None),
        ("c", None),
    ]
