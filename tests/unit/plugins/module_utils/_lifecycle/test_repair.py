# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a local recovery: tables, and a node in memory on which plans are carried out and interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, LinkAddress, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import ec2_repair, repair
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.repair import FAULTS, NotRepaired, Plan, Situation, plan_of
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import effective
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import probe_from, probe_of
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse

EIP, VIP, VIP6 = "203.0.113.5", "10.1.0.10/32", "fd00::10/128"
WEB: dict[str, Any] = {"tag": "web", "address": VIP, "interface": "eth0", "ec2": {"route_tables": "all", "elastic_ip": EIP}}
ON_EC2 = ("source_dest_check", "routes", "elastic_ip")


def observed(**more: Any) -> dict[str, Any]:
    """What ip_resource_info returns for web."""
    there = {"primary_interface": "eth0", "backup_interface": "eth1", "in_service": True, "recorded": True, "health": "healthy", "reasons": []}
    return {"tag": "web", "address": VIP, "info": "node-a eth0 10.1.0.10 ffffffff eth1", "lease": None, **there, **more}


def interfaces(*links: str) -> dict[str, Any]:
    """What ec2_local_eni_info returns."""
    listed = [
        {"interface": link, "gateway": f"10.0.{number}.1", "gateway_ipv6": None, "private_ip_addresses": [f"10.0.{number}.11"], "ipv6_addresses": []}
        for number, link in enumerate(links, 1)
    ]
    return {"changed": False, "network_interfaces": listed}


METADATA = interfaces("eth0", "eth1")
SILENT = {"changed": False, "msg": "Instance metadata does not answer", "errors": [{"kind": "service_error", "transient": True, "denied": False}]}


def situation(definition: Mapping[str, Any] | None = None, *, metadata: Mapping[str, Any] | None = None, **more: Any) -> Situation:
    definition, metadata = WEB if definition is None else definition, METADATA if metadata is None else metadata
    seen = observed(**{name: more.pop(name) for name in list(more) if name not in ("cluster", "check")})
    return Situation(definition, {**seen, "address": definition.get("address", VIP)}, metadata, **more)


def failure(*kinds: str, msg: str = "it failed", **more: Any) -> dict[str, Any]:
    """What a task returned that failed with errors of these kinds."""
    return {"failed": True, "msg": msg, "errors": [{"kind": kind} for kind in kinds], **more}


# --- which resources, on which node -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("tags", "chosen"), [([], [0, 1, 2]), (["web6"], [1]), (["db", "web"], [0, 2])])
def test_resources_that_are_recovered(tags: list[str], chosen: list[int]) -> None:
    assert repair.select(tags, ["web", "web6", "db"]) == chosen


def test_a_tag_that_no_resource_has_is_refused() -> None:
    with pytest.raises(HoldfastError, match=r"^No resource has the tag wbe, x; there is web, web6\.$"):
        repair.select(["web", "wbe", "x", "wbe"], ["web", "web6"])


OURS = {"cluster": "prod", "held": True, "holder": "node-a"}
THEIRS = {"cluster": "prod", "held": False, "holder": "node-b"}
NOBODYS = {"cluster": "prod", "held": False, "holder": ""}
SERVES, IDLE = {"in_service": True}, {"in_service": False, "recorded": False}
NONE_ANSWERED = "in service on none of the hosts that answered; "


@dataclass(frozen=True)
class Place:
    """One row: what is observed on node-a, where the plan is made, and on node-b; whether node-b is in the run, and whether a lease decides."""

    name: str
    here: Mapping[str, Any]
    there: Mapping[str, Any] | None = None
    alone: bool = False
    leased: bool = False
    chosen: bool = True
    serves: bool = False
    notice: str = ""
    refusal: str = ""


PLACES = (
    Place("alone and unrecorded", IDLE, alone=True),
    Place("alone and in service", SERVES, alone=True, serves=True),
    Place("here", SERVES, IDLE, serves=True),
    Place("there", IDLE, SERVES, chosen=False),
    Place("on both", SERVES, SERVES, refusal="in service on node-a and node-b; limit the run to the one that should keep it"),
    Place("nowhere", IDLE, IDLE, refusal=f"{NONE_ANSWERED}limit the run to the node that should have it (--limit NODE)"),
    Place("the other is silent", IDLE, refusal=f"{NONE_ANSWERED}limit the run to the node that should have it (--limit NODE)"),
    Place("the other failed", SERVES, {}, serves=True),
    Place("a lease held here", {**SERVES, "lease": OURS}, {**SERVES, "lease": {**THEIRS, "holder": "node-a"}}, leased=True, serves=True),
    Place("a lease held there", {**SERVES, "lease": THEIRS}, {**SERVES, "lease": {**OURS, "holder": "node-b"}}, leased=True, chosen=False),
    Place("alone, a lease held here", {**SERVES, "lease": OURS}, alone=True, leased=True, serves=True),
    Place(
        "alone, a lease held there",
        {**SERVES, "lease": THEIRS},
        alone=True,
        leased=True,
        chosen=False,
        notice="node-b holds web: there is nothing to repair here",
    ),
    Place(
        "held and not recorded",
        {**SERVES, "recorded": None, "lease": OURS},
        alone=True,
        leased=True,
        refusal="its lease is held here, but it is not in service yet; run holdfast.ha.recover",
    ),
    Place(
        "nobody holds the lease",
        {**IDLE, "lease": NOBODYS},
        {**IDLE, "lease": NOBODYS},
        leased=True,
        refusal=f"{NONE_ANSWERED}run holdfast.ha.switchover -e tag=web -e to=NODE",
    ),
    Place("a checker of another cluster", {**SERVES, "lease": {**THEIRS, "cluster": "test"}}, alone=True, leased=True, serves=True),
    Place("no checker yet", SERVES, IDLE, leased=True, serves=True),
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_node_that_repairs(place: Place) -> None:
    seen: dict[str, Any] = {"node-a": {"resources": [observed(**place.here)]}}
    if place.there is not None:
        seen["node-b"] = {"resources": [observed(**place.there)]} if place.there else {"failed": True, "msg": "no Python"}

    def choose() -> repair.Choice:
        return repair.choose("web", "node-a", place.alone, seen, "prod" if place.leased else None)

    if place.refusal:
        with pytest.raises(HoldfastError) as refused:
            choose()
        assert refused.value.message == place.refusal
    else:
        assert choose() == repair.Choice(place.chosen, place.serves, place.notice)


# --- the first plan ---------------------------------------------------------------------------------------------------


def names(plan: Plan) -> list[str]:
    return list(plan.steps)


DRY = {"route_tables": "all"}
ADDRESS, LEASED, EC2 = ["ip_address", "ip_probe"], ["lease_address", "ip_probe"], ["ec2_resource"]


@pytest.mark.parametrize(
    ("now", "faults", "steps"),
    [
        (situation(), FAULTS, [*ADDRESS, *EC2]),
        (situation(), ["address"], ADDRESS),
        (situation(), ["routes"], EC2),
        (situation(), ["source_dest_check"], ["ec2_source_dest_check"]),
        (situation(), ["source_dest_check", "elastic_ip"], ["ec2_source_dest_check", *EC2]),
        (situation({**WEB, "ec2": {"elastic_ip": EIP}}), ["source_dest_check", "routes"], []),
        (situation({**WEB, "ec2": {"elastic_ip": EIP}}), ["source_dest_check"], []),
        (situation({**WEB, "ec2": {"elastic_ip": EIP}}), FAULTS, [*ADDRESS, *EC2]),
        (situation({**WEB, "ec2": {}}), FAULTS, ADDRESS),
        (situation({"tag": "web", "address": VIP, "interface": "eth0"}, metadata={}), FAULTS, ADDRESS),
        (situation(metadata=SILENT), FAULTS, ["ip_address"]),
        (situation(check=True), FAULTS, ["ip_address", *EC2]),
        (situation(cluster="prod", lease=OURS), FAULTS, [*LEASED, *EC2]),
        (situation(cluster="prod", lease=OURS, check=True), FAULTS, ["lease_address", *EC2]),
        (situation(cluster="prod", check=True), FAULTS, ["ip_address", *EC2]),
        (situation(cluster="prod"), FAULTS, [*LEASED, *EC2]),
    ],
)
def test_the_steps(now: Situation, faults: Any, steps: list[str]) -> None:
    assert names(repair.repair(now, faults)) == steps


def test_a_check_before_there_is_a_checker_says_what_it_leaves_out() -> None:
    assert repair.repair(situation(cluster="prod", check=True), FAULTS).notice.startswith("No checker watches the lease here yet.")
    assert repair.repair(situation(cluster="prod", check=True, lease=OURS), FAULTS).notice == ""
    assert repair.repair(situation(cluster="prod"), FAULTS).notice == ""


def test_the_options_of_each_step() -> None:
    web = {**WEB, "label": "vip", "probe": {"tries": 5, "require": "all"}}
    assert repair.repair(situation(web), FAULTS).steps == {
        "ip_address": {"address": VIP, "interface": "eth0", "gateway": "10.0.1.1", "label": "vip"},
        "ip_probe": {"address": "10.0.1.11", "interface": "eth0", "targets": ["10.0.1.1"], "tries": 5, "require": "all"},
        "ec2_resource": {
            "interface": "eth0",
            "destinations": ["10.1.0.10/32"],
            "disable_source_dest_check": True,
            "public_ip": EIP,
            "preferred_private_ip_address": "10.1.0.10",
        },
    }
    leased = repair.repair(situation(cluster="prod", lease=OURS, primary_interface="eth1"), ["address"])
    assert leased.steps["lease_address"] == {"cluster": "prod", "tag": "web", "gateway": "10.0.2.1"}
    given = repair.repair(situation({**WEB, "gateway": "10.0.1.254", "probe": {"targets": ["10.0.1.9"]}}), ["address"])
    assert given.steps["ip_address"]["gateway"] == "10.0.1.254"
    assert given.steps["ip_probe"]["targets"] == ["10.0.1.9"]
    bare = repair.repair(situation({"tag": "web", "address": "10.0.1.20/24", "interface": "eth0"}, metadata={}), FAULTS)
    assert bare.steps == {
        "ip_address": {"address": "10.0.1.20/24", "interface": "eth0"},
        "ip_probe": {"address": "10.0.1.20/24", "interface": "eth0"},
    }
    six = repair.repair(situation({**WEB, "address": "fd00:0::10/64", "ec2": DRY}), ["routes"])
    assert six.steps["ec2_resource"]["destinations"] == ["fd00::10/128"]


def test_options_of_aws_are_no_part_of_a_plan() -> None:
    """The role gives them to the modules: Ansible removes secrets from what a module returns."""
    web = {**WEB, "ec2": {**WEB["ec2"], "missing": "create", "vpc_id": "vpc-1", "region": "eu-west-1", "external_id": "vip"}}
    options = repair.repair(situation(web), FAULTS).steps["ec2_resource"]
    assert (options["missing"], options["vpc_id"]) == ("create", "vpc-1")
    assert not {"region", "external_id"} & set(options)


@pytest.mark.parametrize(
    ("ec2", "address", "held"),
    [
        ({"elastic_ip": EIP}, VIP, ("10.0.1.11/24",)),
        ({"elastic_ip": EIP}, "10.0.1.20/24", ("10.0.1.11/24", "10.0.1.20/24")),
        ({"route_tables": "all"}, VIP, ("10.1.0.10/32", "10.0.1.11/24")),
        ({"route_tables": "all", "elastic_ip": EIP}, VIP, ("10.0.1.11/24",)),
        ({"route_tables": "all"}, VIP6, ("fd00:1::11/64", "fd00::10/128")),
        (None, "10.0.1.20/24", ("10.0.1.11/24", "10.0.1.20/24")),
    ],
)
@pytest.mark.parametrize("defined", [(), ("10.0.1.9",)])
def test_a_recovery_probes_as_the_checker_does(ec2: Any, address: str, held: tuple[str, ...], defined: tuple[str, ...]) -> None:
    """The one reads the addresses of an interface from instance metadata, the other from the kernel."""
    web = {"tag": "web", "address": address, "interface": "eth0", **({"ec2": ec2} if ec2 else {})}
    if ":" not in address:
        web["probe"] = {"targets": list(defined)}
    link = Link("eth0", 2, "02:00:00:00:00:01", True, True, addresses=tuple(LinkAddress(Address.parse(one)) for one in held))
    known = effective("web", parse(web), None)
    source = probe_from(known, link)
    probe = probe_of(known, link, known.resource.probe if known.resource else Probe())

    own = [one.partition("/")[0] for one in held if one != address]
    eni = {"interface": "eth0", "gateway": "10.0.1.1", "gateway_ipv6": None}
    listed = {"private_ip_addresses": [one for one in own if ":" not in one], "ipv6_addresses": [one for one in own if ":" in one]}
    planned = repair.repair(situation(web, metadata={"network_interfaces": [{**eni, **listed}]} if ec2 else {}), ["address"]).steps["ip_probe"]
    assert planned["address"].partition("/")[0] == source.host
    assert tuple(planned.get("targets", ())) == probe.targets


def test_a_link_is_not_probed_from_the_protected_address_that_ec2_delivers_to_it() -> None:
    listed = {"interface": "eth0", "gateway": "10.0.1.1", "private_ip_addresses": ["10.0.1.20", "10.0.1.11"]}
    now = situation({**WEB, "address": "10.0.1.20/24"}, metadata={"network_interfaces": [listed]})
    assert repair.repair(now, FAULTS).steps["ip_probe"]["address"] == "10.0.1.11"


# --- what follows from an answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["command_failed", "not_converged", "not_found", "probe_failed"])
def test_another_interface_may_cure_it(kind: str) -> None:
    now = situation(cluster="prod", lease=OURS)
    plan = repair.after_address(now, replace(repair.repair(now, ["address"]), lacking=("kept",), again=True), failure(kind))
    assert names(plan) == ["ip_swap_interface", "lease_address", "ec2_resource"], "everything follows, whatever was asked for"
    assert plan.steps["ip_swap_interface"] == {"tag": "web", "to": "eth1", "gateway": "10.0.2.1", "targets": ["10.0.2.1"]}
    assert plan.steps["lease_address"]["gateway"] == "10.0.2.1"
    assert plan.steps["ec2_resource"]["interface"] == plan.interface == "eth1"
    assert plan.steps["ec2_resource"]["disable_source_dest_check"] is True
    assert (plan.lacking, plan.again) == (("kept",), True)


def test_a_check_before_there_is_a_checker_moves_the_address_without_a_lease() -> None:
    now = situation(cluster="prod", check=True)
    assert names(repair.after_address(now, repair.repair(now, FAULTS), failure("not_converged"))) == ["ip_swap_interface", "ec2_resource"]


@pytest.mark.parametrize(
    ("backup", "kinds", "message"),
    [
        ("eth1", ["refused"], "it failed"),
        ("eth1", ["bad_input"], "it failed"),
        ("eth1", ["service_error"], "it failed"),
        ("eth1", [], "it failed"),
        (None, ["probe_failed"], "it failed (no backup interface is defined)"),
        (None, ["refused"], "it failed (no backup interface is defined)"),
    ],
)
def test_no_other_interface_cures_it(backup: str | None, kinds: list[str], message: str) -> None:
    now = situation(backup_interface=backup)
    with pytest.raises(NotRepaired) as stopped:
        repair.after_address(now, repair.repair(now, FAULTS), failure(*kinds))
    assert stopped.value.message == message
    assert stopped.value.returns == {"errors": [{"kind": kind} for kind in kinds]}


def test_the_text_of_a_failure_decides_nothing() -> None:
    now = situation()
    with pytest.raises(NotRepaired):
        repair.after_address(now, repair.repair(now, FAULTS), failure("refused", msg="command_failed: eth0 has no carrier"))


ASSOCIATED = {"changed": True, "elastic_ip": {"before": None, "after": {"private_ip_address": "10.0.1.11", "network_interface_id": "eni-1"}}}
ITSELF = {"changed": True, "elastic_ip": {"before": None, "after": {"private_ip_address": "10.1.0.10", "network_interface_id": "eni-1"}}}
SKIPPED = {"changed": False, "skipped": True}


def test_after_ec2_did_it_nothing_is_left() -> None:
    now = situation()
    plan = repair.repair(now, FAULTS)
    for answer in (ITSELF, {"changed": False}, {"changed": False, "elastic_ip": {"before": None, "after": None}}, SKIPPED):
        left = repair.after_ec2(now, plan, [SKIPPED, answer])
        assert (left.steps, left.refused, left.interface) == ({}, (), "eth0")


def test_replies_follow_an_elastic_ip_that_is_in_front_of_another_address() -> None:
    now = situation()
    left = repair.after_ec2(now, repair.repair(now, FAULTS), [SKIPPED, ASSOCIATED])
    assert left.steps == {"ip_source_route": {"address": "10.0.1.11", "interface": "eth0", "gateway": "10.0.1.1"}}


def test_what_was_refused_is_kept_until_all_else_was_tried() -> None:
    now = situation()
    plan = repair.repair(now, ["source_dest_check", "elastic_ip"])
    left = repair.after_ec2(now, plan, [failure("service_error", msg="no right to"), ASSOCIATED])
    assert names(left) == ["ip_source_route"]
    assert [one["msg"] for one in left.refused] == ["no right to"]
    with pytest.raises(NotRepaired) as stopped:
        repair.after_ec2(now, plan_of(left.as_dict()), [failure("command_failed", msg="no rule")])
    assert stopped.value.message == "no right to; no rule"
    errors = [{"kind": "service_error"}, {"kind": "command_failed"}]
    assert stopped.value.returns["errors"] == errors
    assert stopped.value.returns["only_ec2"] == {"web": errors}
    told = json.loads(json.dumps(stopped.value.returns["refused"]))
    assert [one["msg"] for one in told] == ["no right to", "no rule"]


def test_a_table_that_was_deleted_fails_nothing() -> None:
    now = situation()
    left = repair.after_ec2(now, repair.repair(now, FAULTS), [SKIPPED, {**failure("partly_missing", msg="no table"), **ITSELF}])
    assert (left.lacking, left.refused, left.steps) == (("no table",), (), {})
    assert repair.verified(now, left).lacking == ("no table",)
    assert repair.verified(replace(now, observed={**now.observed, "health": "failed"}), left).lacking == ("no table",)
    with pytest.raises(NotRepaired, match="no table; denied") as stopped:
        repair.after_ec2(now, repair.repair(now, FAULTS), [SKIPPED, failure("partly_missing", "service_error", msg="no table; denied")])
    assert stopped.value.returns["lacking"] == []


def test_silent_metadata_is_reported_once_the_address_is_back() -> None:
    now = situation(metadata=SILENT)
    plan = repair.repair(now, ["address"])
    assert names(plan) == ["ip_address"]
    assert [one["msg"] for one in plan.refused] == ["Instance metadata does not answer"]
    with pytest.raises(NotRepaired, match=r"^Instance metadata does not answer$") as stopped:
        repair.after_ec2(now, plan, [SKIPPED, SKIPPED])
    assert stopped.value.returns["only_ec2"] == {"web": SILENT["errors"]}


@pytest.mark.parametrize(
    ("more", "steps", "link"),
    [
        ({}, ["ip_swap_interface", "ec2_resource"], "eth1"),
        ({"in_service": False}, ["ip_swap_interface"], "eth1"),
        ({"backup_interface": None}, ["ip_swap_interface"], "eth0"),
        ({"metadata": SILENT}, ["ip_swap_interface"], "eth1"),
    ],
)
def test_a_move_by_hand(more: dict[str, Any], steps: list[str], link: str) -> None:
    plan = repair.move(situation(**more))
    assert (names(plan), plan.interface) == (steps, link)


@pytest.mark.parametrize(
    ("faults", "wanted"),
    [
        (["routes"], {"routes"}),
        (["source_dest_check"], {"source_dest_check", "routes"}),
        (["elastic_ip"], {"elastic_ip"}),
        ([], set(ON_EC2)),
        (["routes", "address"], set()),
        (["dependents"], set()),
        (["something new"], set()),
    ],
)
def test_what_a_run_that_waited_repairs_first(faults: list[str], wanted: set[str]) -> None:
    assert ec2_repair.ordered_on_ec2(faults) == wanted


@pytest.mark.parametrize(
    ("failed", "incomplete", "leased", "message", "proceed"),
    [
        ({"web": "no"}, {}, False, "web: no", False),
        ({"web": "no"}, {}, True, "web: no", True),
        ({}, {"db": "no table"}, False, "db: no table", True),
        ({"web": "no"}, {"db": "no table"}, False, "db: no table; web: no", False),
        ({"web": "no"}, {"db": "no table"}, True, "db: no table; web: no", True),
    ],
)
def test_the_report(failed: dict[str, str], incomplete: dict[str, str], leased: bool, message: str, proceed: bool) -> None:
    with pytest.raises(NotRepaired) as told:
        repair.report(failed, incomplete, "prod" if leased else None)
    assert (told.value.message, told.value.returns) == (message, {"proceed": proceed})


def test_a_recovery_that_repaired_all_reports_nothing() -> None:
    repair.report({}, {}, None)


# --- the status -------------------------------------------------------------------------------------------------------

COMPARED: dict[str, Any] = {
    "source_dest_check": {"before": True, "after": False},
    "routes": [
        {"destination": "10.1.0.10/32", "route_table_id": "rtb-1", "before": "eni-2", "after": "eni-1"},
        {"destination": "10.1.0.10/32", "route_table_id": "rtb-2", "before": "igw-1", "after": "igw-1"},
        {"destination": "10.1.0.100/32", "route_table_id": "rtb-1", "before": "eni-2", "after": "eni-1"},
    ],
    "elastic_ip": {"before": {"network_interface_id": "eni-2"}, "after": {"network_interface_id": "eni-1"}},
}
APP = {**WEB, "dependents": [{"name": "app", "service": "app.service"}, {"name": "warm", "tasks": "/etc/warm.yml"}]}


def test_the_entry_of_the_status() -> None:
    entry = repair.status_entry(situation(APP), COMPARED, {"app.service": "active"})
    assert entry["node"] == "node-a"
    assert entry["ec2"] == {
        "error": "",
        "routes": COMPARED["routes"][:1],
        "source_dest_check": True,
        "elastic_ip": EIP,
        "elastic_ip_before": "eni-2",
        "elastic_ip_after": "eni-1",
        "elastic_ip_right": False,
    }
    assert entry["dependents"] == [{"name": "app", "kind": "service", "state": "active"}, {"name": "warm", "kind": "tasks", "state": "unknown"}]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (SKIPPED, ""),
        (failure("service_error", msg="no reply"), "no reply"),
        (failure("partly_missing", msg="no table"), ""),
        (failure("partly_missing", "service_error", msg="both"), "both"),
        (failure(msg="MODULE FAILURE"), "MODULE FAILURE"),
    ],
)
def test_why_ec2_is_not_known(answer: dict[str, Any], error: str) -> None:
    entry = repair.status_entry(situation(), answer, {})
    assert entry["ec2"]["error"] == error
    assert entry["ec2"]["elastic_ip_right"] is True


def test_only_of_a_resource_in_service_more_is_read() -> None:
    steps, units = repair.reads(situation(APP, metadata={}))
    assert (list(steps), units) == (["ec2_resource"], ["app.service"])
    assert repair.reads(situation(APP, in_service=False)) == ({}, [])
    assert repair.status_entry(situation(APP, in_service=False), SKIPPED, {})["dependents"] == []
    assert repair.reads(Situation({}, observed())) == ({}, [])


# --- plans that are carried out ---------------------------------------------------------------------------------------


class Interrupted(Exception):
    """The run ended here."""


@dataclass
class Node:
    """One node and what EC2 knows of it. ``refuses``: the steps that EC2 refuses, by module. ``budget``: after so many steps the run ends."""

    dead: frozenset[str] = frozenset()
    address_on: str | None = None
    recorded: tuple[str, str | None] = ("eth0", "eth1")
    checked: dict[str, bool] = field(default_factory=lambda: {"eth0": True, "eth1": True})
    route: str = "elsewhere"
    elastic_ip: str = "elsewhere"
    replies: str | None = None
    metadata: bool = True
    refuses: frozenset[str] = frozenset()
    budget: int = 1000
    done: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def look(self) -> Situation:
        primary, backup = self.recorded
        healthy = self.address_on == primary
        return situation(
            primary_interface=primary,
            backup_interface=backup,
            health="healthy" if healthy else "failed",
            reasons=[] if healthy else [f"{VIP} is not on {primary}"],
            metadata=METADATA if self.metadata else SILENT,
        )

    def do(self, step: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Carry a step out, as its module would."""
        if self.budget == 0:
            raise Interrupted
        self.budget -= 1
        self.done.append(step)
        if step in self.refuses:
            return failure("service_error", msg=f"{step} was refused")
        before = (self.address_on, self.recorded, dict(self.checked), self.route, self.elastic_ip, self.replies)
        answer: dict[str, Any] = getattr(self, f"_{step}")(**options)
        if (self.address_on, self.recorded, self.checked, self.route, self.elastic_ip, self.replies) != before:
            self.changes.append(step)
        return answer

    def _ip_address(self, interface: str, **_options: Any) -> dict[str, Any]:
        if interface in self.dead:
            return failure("not_converged", msg=f"{interface} has no carrier")
        self.address_on = interface
        return {}

    def _ip_probe(self, interface: str, **_options: Any) -> dict[str, Any]:
        return failure("probe_failed") if interface in self.dead else {}

    def _ip_swap_interface(self, to: str, **_options: Any) -> dict[str, Any]:
        if to in self.dead:
            return failure("not_converged", msg=f"{to} has no carrier")
        if self.recorded[0] != to:
            self.recorded = to, self.recorded[0]
        self.address_on = to
        return {}

    def _ec2_source_dest_check(self, interface: str, enabled: bool) -> dict[str, Any]:
        self.checked[interface] = enabled
        return {}

    def _ec2_resource(self, interface: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        if "destinations" in options:
            if options["disable_source_dest_check"]:
                self.checked[interface] = False
            self.route = interface
        if "public_ip" in options:
            self.elastic_ip = interface
            answer["elastic_ip"] = {"after": {"private_ip_address": {"eth0": "10.0.1.11", "eth1": "10.0.2.11"}[interface]}}
        return answer

    def _ip_source_route(self, interface: str, **_options: Any) -> dict[str, Any]:
        self.replies = interface
        return {}

    def assert_right(self, link: str) -> None:
        assert (self.recorded[0], self.address_on, self.route, self.elastic_ip, self.replies) == (link,) * 5
        assert not self.checked[link]


def recover(node: Node, faults: Any = FAULTS, *, broke: Callable[[int], None] = lambda turn: None) -> Plan:
    """One run, in the order of the role's task files. ``broke`` is called after the steps of each turn."""
    plan = repair.repair(node.look(), faults)
    for turn in range(2):
        now = node.look()
        plan = _carry_out(node, now, _over_the_wire(plan))
        broke(turn)
        plan = repair.verified(node.look(), plan)
        if not plan.steps:
            break
    return plan


def _over_the_wire(plan: Plan) -> Plan:
    return plan_of(json.loads(json.dumps(plan.as_dict())))


def _carry_out(node: Node, now: Situation, plan: Plan) -> Plan:
    for step in ("ip_address", "lease_address", "ip_probe"):
        answer = node.do(step, plan.steps[step]) if step in plan.steps else SKIPPED
        if answer.get("failed"):
            plan = _over_the_wire(repair.after_address(now, plan, answer))
            for moving in ("ip_swap_interface", "lease_address"):
                if moving in plan.steps:
                    answer = node.do(moving, plan.steps[moving])
                    if answer.get("failed"):
                        raise NotRepaired(answer["msg"])
            break
    answers = [node.do(step, plan.steps[step]) if step in plan.steps else SKIPPED for step in ("ec2_source_dest_check", "ec2_resource")]
    plan = _over_the_wire(repair.after_ec2(now, plan, answers))
    if "ip_source_route" in plan.steps:
        repair.after_ec2(now, plan, [node.do("ip_source_route", plan.steps["ip_source_route"])])
    return plan


TROUBLES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing is here": ({}, "eth0"),
    "only the address is gone": ({"route": "eth0", "elastic_ip": "eth0", "checked": {"eth0": False, "eth1": True}, "replies": "eth0"}, "eth0"),
    "only EC2 points elsewhere": ({"address_on": "eth0"}, "eth0"),
    "the interface is dead": ({"dead": frozenset({"eth0"}), "address_on": "eth0"}, "eth1"),
    "the interface is dead and the address gone": ({"dead": frozenset({"eth0"})}, "eth1"),
}


def cut_short() -> Iterator[Any]:
    for name, (state, link) in TROUBLES.items():
        for steps in range(7):
            yield pytest.param(state, link, steps, id=f"{name}, cut after {steps}")


@pytest.mark.parametrize(("state", "link", "steps"), list(cut_short()))
def test_a_plan_made_again_gives_what_is_left(state: dict[str, Any], link: str, steps: int) -> None:
    fresh = {**state, "checked": dict(state["checked"])} if "checked" in state else dict(state)
    node = Node(**fresh, budget=steps)
    try:
        recover(node)
    except Interrupted:
        pass
    assert node.route == "elsewhere" or state.get("route") or not node.checked[node.route], "packets would be dropped"
    changed = list(node.changes)
    node.budget = 1000

    recover(node)

    node.assert_right(link)
    first, second = changed, node.changes[len(changed) :]
    assert not set(first) & set(second), "something that was done was done again"
    before = len(node.changes)
    recover(node)
    assert node.changes[before:] == [], "the run after it changes nothing"


def test_what_breaks_during_a_run_is_repaired_once() -> None:
    node = Node()

    def once(turn: int) -> None:
        if turn == 0:
            node.address_on = None

    recover(node, broke=once)
    node.assert_right("eth0")

    def ever(_turn: int) -> None:
        node.address_on = None

    with pytest.raises(NotRepaired, match=r"^still not healthy after recovery: 10\.1\.0\.10/32 is not on eth0$"):
        recover(node, broke=ever)


def test_an_interface_that_dies_during_a_run_is_left_once() -> None:
    node = Node()

    def die(turn: int) -> None:
        if turn == 0:
            node.dead, node.address_on = frozenset({"eth0"}), None

    recover(node, broke=die)
    node.assert_right("eth1")

    def ever(_turn: int) -> None:
        node.dead, node.address_on = frozenset(), None

    with pytest.raises(NotRepaired, match="still not healthy"):
        recover(node, broke=ever)


def test_dead_interfaces_change_nothing_on_ec2() -> None:
    node = Node(dead=frozenset({"eth0", "eth1"}), address_on="eth0")
    with pytest.raises(NotRepaired, match="eth1 has no carrier"):
        recover(node)
    assert node.changes == []


@pytest.mark.parametrize("refused", ["ec2_resource", "ip_source_route"])
def test_a_refusal_leaves_the_address_repaired(refused: str) -> None:
    node = Node(refuses=frozenset({refused}))
    with pytest.raises(NotRepaired, match=f"{refused} was refused") as stopped:
        recover(node)
    assert node.address_on == "eth0"
    assert "only_ec2" in stopped.value.returns


def test_one_refusal_does_not_prevent_the_other_step() -> None:
    node = Node(refuses=frozenset({"ec2_source_dest_check"}))
    with pytest.raises(NotRepaired):
        recover(node, ["source_dest_check", "elastic_ip"])
    assert (node.elastic_ip, node.replies, node.route) == ("eth0", "eth0", "elsewhere")


def test_silent_metadata_does_not_prevent_the_repair_of_the_address() -> None:
    for dead, link in ((frozenset[str](), "eth0"), (frozenset({"eth0"}), "eth1")):
        node = Node(dead=dead, metadata=False)
        with pytest.raises(NotRepaired, match="Instance metadata"):
            recover(node)
        assert (node.address_on, node.recorded[0]) == (link, link)
        assert not any(step.startswith("ec2_") for step in node.done)
