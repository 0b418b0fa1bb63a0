# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of failover_plan as the role asks for them: from plain values to plain values, one after another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._modules.failover_plan import DECISIONS, decide

WEB = {"tag": "web", "address": "10.1.0.10/32", "fence": "source_dest_check", "ec2": {"route_tables": "all", "elastic_ip": "198.51.100.7"}}
HOSTS = ["node-a", "node-b"]


def info(node: str) -> dict[str, Any]:
    """A result of ip_resource_info; node-a is active."""
    active = node == "node-a"
    lease = {"cluster": "c", "node": node, "held": active, "serving": active, "holder": "node-a", "watching": True, "error": "", "ready": not active}
    shown = {"primary_interface": "eth0", "primary_state": "up", "backup_interface": None, "backup_state": None, "recorded": active, "lease": lease}
    return {"resources": [shown], "changed": False}


def facts(host: str, **more: Any) -> dict[str, Any]:
    """What the role passes each time."""
    run = {
        "tag": "web",
        "tags": ["db", "web"],
        "store": "etcd",
        "operation": "failover",
        "cluster": "c",
        "resource": WEB,
        "host": host,
        "node": "",
        "hosts": HOSTS,
        "all_hosts": HOSTS,
    }
    wish = {
        "check": False,
        "forks": 5,
        "to": "",
        "wait": 0,
        "automatic": False,
        "expired": False,
        "powered_off": "",
        "handoff_to": "",
        "instances": {},
    }
    results: dict[str, Any] = {
        "info": info(host),
        "read": {"skipped": True},
        "ec2": {"before": False},
        "elastic_ip": {},
        "held": {},
        "joined": {},
        "quieted": None,
    }
    plans: dict[str, Any] = {"report": {}, "plan": {}, "activation": {"steps": [], "unfenced": []}, "fence": {}}
    return {**run, **wish, **results, **plans, **more}


def asked(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """As Ansible passes it both ways."""
    answer = decide(name, json.loads(json.dumps(given)))
    assert json.loads(json.dumps(answer)) == answer
    return answer


def planned(host: str, **more: Any) -> dict[str, Any]:
    reports = [asked("report", facts(each)) for each in HOSTS]
    nothing = [{} for _host in HOSTS]
    given = {"reports": reports, "failed": nothing, "only_ec2": nothing, "report": reports[HOSTS.index(host)], **more}
    return {**facts(host), **given, "plan": asked("plan", {**facts(host), **given})}


def test_from_the_first_question_to_the_last_step() -> None:
    a, b = planned("node-a"), planned("node-b")
    assert asked("questions", {**facts("node-b"), "answer": {}, "answers": [{}, {}]}) == {
        "reached": True,
        "lease": False,
        "ec2": True,
        "elastic_ip": {"interface": "eth0", "public_ip": "198.51.100.7", "preferred_private_ip_address": "10.1.0.10"},
        "interface": "eth0",
    }
    assert (a["plan"]["holder"], a["plan"]["active"]["host"], a["plan"]["standby"]["host"]) == ("node-a", "node-a", "node-b")
    assert a["plan"]["steps"] == ["stop_dependents", "transfer", "record", "disassociate"]
    assert a["plan"]["lease"] == {"state": "released", "handoff_to": "node-b", "wait": 30.0}
    assert b["plan"]["steps"] == ["prepare", "transfer", "activate", "record"]
    held = {"renewed_by": "checker", "changed": True, "taken_from": "", "epoch": 7}
    assert asked("standby_prepared", a) == asked("standby_reached", a) == asked("released", {**b, "quieted": True}) == {}
    assert asked("join", {**b, "held": held, "quieted": True}) == {"join": False}
    assert asked("activate", {**b, "held": held}) == {"steps": ["address", "ec2"], "unfenced": [], "probe": {}}
    assert asked("ec2_failed", {**b, "failure": {"msg": "no reply", "errors": [{"transient": True, "denied": False}]}}) == {"pending": "no reply"}


def test_what_could_not_be_repaired_is_known_by_its_host_and_tag() -> None:
    transient = [{"kind": "unreachable", "transient": True, "denied": False}]
    given = {"automatic": True, "failed": [{"web": "no reply", "db": "x"}, {}], "only_ec2": [{"web": transient}, {}]}
    with pytest.raises(Refused, match=r"^whether web works is unknown, as EC2 does not answer node-a \(no reply\), so nothing was released$"):
        planned("node-b", **given)
    assert planned("node-b", **{**given, "only_ec2": [{"db": transient}, {}]})["plan"]["steps"]


@pytest.mark.parametrize(
    ("operation", "host", "steps"),
    [
        ("release", "node-a", ["stop_dependents", "transfer", "record", "disassociate"]),
        ("takeover", "node-b", ["prepare", "transfer", "activate", "record"]),
    ],
)
def test_one_half_alone(operation: str, host: str, steps: list[str]) -> None:
    assert planned(host, operation=operation)["plan"]["steps"] == steps


def test_the_result() -> None:
    b = planned("node-b")
    well = {**info("node-b")["resources"][0], "health": "healthy", "reasons": []}
    given = {**b, "info": {"resources": [well]}, "pending": "", "lacking": ["rtb-1 does not exist"]}
    assert asked("result", given) == {}
    assert failing("result", {**given, "activation": {"steps": ["ec2"]}}) == "web is in service on node-b, but: rtb-1 does not exist"
    assert "is held and up on node-b, but not all of EC2 leads there yet (no reply)" in failing("result", {**given, "pending": "no reply"})
    ill = {**given, "info": {"resources": [{**well, "health": "failed", "reasons": ["it is gone", "eth0 is down"]}]}}
    assert failing("result", ill) == "web on node-b is not as it should be: it is gone; eth0 is down"
    assert asked("result", {**ill, "check": True}) == {}


def test_whether_the_lease_is_still_held() -> None:
    b, held = planned("node-b"), {"epoch": 7}
    lease = {"cluster": "c", "held": True, "serving": True, "epoch": 7, "holder": "node-b", "error": ""}

    def with_lease(**changes: Any) -> dict[str, Any]:
        return {**b, "held": held, "info": {"resources": [{**info("node-b")["resources"][0], "lease": {**lease, **changes}}]}}

    assert asked("held", with_lease()) == {}
    for changes in ({"held": False}, {"serving": False}, {"epoch": 8}):
        assert failing("held", with_lease(**changes, holder="node-x")) == "the lease of web was lost on the way (node-x holds it)"
    assert failing("held", with_lease(held=False, error="etcd cannot be reached")).endswith("(etcd cannot be reached)")
    assert failing("held", with_lease(cluster="")).endswith("(nobody holds it)")
    record = {"holder": "node-b", "epoch": 7}
    assert asked("in_store", {**b, "held": held, "read": {"record": record}}) == {}
    assert failing("in_store", {**b, "held": held, "read": {"record": {**record, "epoch": 8}}}).endswith("(node-b holds it, epoch 8)")
    assert failing("in_store", {**b, "held": held, "read": {"record": {"holder": "", "epoch": 7}}}).endswith("(nobody holds it, epoch 7)")
    assert failing("in_store", {**b, "held": held, "read": {"record": None}}).endswith("(its record is gone)")
    assert asked("without_links", {**b, "down": ""}) == {}
    assert failing("without_links", {**b, "down": "eth0 is down"}) == (
        "web is held by node-b and not in service, as eth0 is down there; its checker goes on as soon as a link is back, or run holdfast.ha.recover"
    )


def test_who_acquired_it() -> None:
    a = planned("node-a")
    assert asked("new_holder", {**a, "read": {"record": {"holder": "node-c"}}}) == {"holder": "node-c"}
    for read in ({}, {"record": None}, {"record": {"holder": ""}}, {"record": {"holder": "node-a"}}):
        assert failing("new_holder", {**a, "read": read}).startswith("web was released to node-b, which has not taken it")


def failing(name: str, given: dict[str, Any]) -> str:
    with pytest.raises(Refused) as raised:
        asked(name, given)
    return raised.value.message


def test_what_a_person_is_told() -> None:
    a, b = planned("node-a"), planned("node-b")
    failure = {"msg": "app hangs", "failed": True}
    assert failing("kept", {**a, "failure": failure, "back": {"skipped": True}, "stopped": []}) == "web stays on node-a: app hangs"
    assert failing("not_acquired", {**b, "failure": failure, "quieted": False}) == "app hangs"
    for name in ("released", "join"):
        assert failing(name, {**b, "quieted": False, "held": {"changed": False}}).startswith("node-a could not release web in order")
    assert asked("join", {**b, "quieted": False, "held": {"changed": True}}) == {"join": False}
    assert failing("standby_prepared", {**a, "hosts": ["node-a"]}).startswith("node-b could not prepare for web")
    assert failing("standby_reached", {**a, "hosts": ["node-a"]}) == "node-b can no longer be reached, so nothing was released"
    released = {"record": {"holder": "", "handoff_to": "-"}}
    assert failing("joined", {**b, "done": {}, "read": released}).startswith("web was taken out of service meanwhile")
    assert asked("joined", {**b, "done": {"held": True}, "read": {"skipped": True}}) == asked("not_freed", {**a, "failure": failure}) == {}
    assert failing("not_freed", {**a, "failure": failure, "operation": "release"}).endswith("its Elastic IP still leads there: app hangs")
    rolled = {**b, "failure": failure, "freed": {"skipped": True}, "released": {"changed": True}}
    assert failing("rolled_back", rolled) == "web could not be brought into service on node-b, and is now in service nowhere: app hangs"
    due = {**rolled, "activation": {"steps": ["fence"], "unfenced": ["node-a"]}}
    for fence in ({}, {"failed": True, "interfaces": ["eni-a"]}):
        assert "node-a was not fenced" in failing("rolled_back", {**due, "fence": fence})
    assert "fenced" not in failing("rolled_back", {**due, "fence": {"interfaces": ["eni-a"]}})
    down = {"resources": [{**info("node-b")["resources"][0], "primary_state": "down"}]}
    assert failing("address_failed", {**b, "info": down, "failure": failure, "prepared": "eth0"}) == "app hangs"
    assert "cannot be reached" in failing("reachable", {"answer": {"unreachable": True}, "answers": [{"unreachable": True}], "all_hosts": HOSTS})


def test_what_cannot_be_meant_is_refused() -> None:
    given = {**facts("node-b"), "answer": {}, "answers": [{}]}
    assert failing("questions", {**given, "tag": "wbe"}) == "No resource has the tag wbe; there is db, web."
    assert failing("questions", {**given, "tags": []}) == "No resource has the tag web; there is none."
    assert failing("questions", {**given, "store": "none"}) == "there is no store of leases, so nothing can be failed over; set holdfast_store"


def test_every_decision_is_tried_here() -> None:
    """One that is added gets a row above."""
    tried = {
        "reachable",
        "questions",
        "report",
        "plan",
        "standby_prepared",
        "standby_reached",
        "released",
        "join",
        "joined",
        "activate",
        "address_failed",
        "ec2_failed",
        "not_freed",
        "kept",
        "not_acquired",
        "rolled_back",
        "held",
        "in_store",
        "without_links",
        "result",
        "new_holder",
    }
    assert set(DECISIONS) == tried
