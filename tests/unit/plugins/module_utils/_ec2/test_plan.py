# SPDX-License-Identifier: GPL-3.0-or-later
"""Route plans: values in, actions out."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Route, RouteState, RouteTable
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import (
    MOST_ENTRIES,
    CreateRoute,
    DesiredRoutes,
    ReplaceRoute,
    absent,
    entry,
    in_order,
    left_alone,
    parse_destinations,
    plan_routes,
    routes_table,
    simulate_routes,
)
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_route_target import rows

OURS, OLD = "eni-01234567", "eni-89abcdef"
VIP, OTHER = "10.1.0.10/32", "10.1.0.20/32"
BLACKHOLE = RouteState.BLACKHOLE


def table(name: str, *entries: tuple[str, str] | Route, vpc: str = "vpc-1") -> RouteTable:
    routes = [one if isinstance(one, Route) else Route(name, *one) for one in entries]
    return RouteTable(name, vpc, in_order([*routes, Route(name, "10.0.0.0/16", "local", origin="CreateRouteTable")]))


def wish(*destinations: str, **more: Any) -> DesiredRoutes:
    return DesiredRoutes(destinations or (VIP,), OURS, **{"vpc_id": "vpc-1", **more})


WORKED_EXAMPLE = (table("A", (VIP, OLD)), table("B", (VIP, OLD), (OTHER, OLD)))


def test_worked_example() -> None:
    actions = plan_routes(wish(), WORKED_EXAMPLE)
    assert actions == (ReplaceRoute("A", VIP, OURS), ReplaceRoute("B", VIP, OURS))
    after = simulate_routes(WORKED_EXAMPLE, actions)
    shown = [(row["route_table_id"], row["destination"], row["before"], row["after"]) for row in rows(WORKED_EXAMPLE, after, {})]
    assert shown == [
        ("A", VIP, OLD, OURS),
        ("A", "10.0.0.0/16", "local", "local"),
        ("B", VIP, OLD, OURS),
        ("B", OTHER, OLD, OLD),
        ("B", "10.0.0.0/16", "local", "local"),
    ]
    assert routes_table(after).splitlines() == [
        "table  destination   target",
        "A      10.1.0.10/32  eni-01234567",
        "A      10.0.0.0/16   local",
        "B      10.1.0.10/32  eni-01234567",
        "B      10.1.0.20/32  eni-89abcdef",
        "B      10.0.0.0/16   local",
    ]


@pytest.mark.parametrize("count", [1, 40, 250])
def test_each_of_many_tables_is_changed_once_and_nothing_else(count: int) -> None:
    tables = tuple(table(f"rtb-{number:08x}", (VIP, OLD), (OTHER, OLD), ("0.0.0.0/0", "igw-1")) for number in range(count))
    actions = plan_routes(wish(), tables)
    assert actions == tuple(ReplaceRoute(one.id, VIP, OURS) for one in tables)
    after = simulate_routes(tables, actions)
    changed = [row for row in rows(tables, after, {}) if row["before"] != row["after"]]
    assert [(row["route_table_id"], row["destination"]) for row in changed] == [(one.id, VIP) for one in tables]
    assert plan_routes(wish(), after) == ()


@pytest.mark.parametrize("missing", ["fail", "ignore", "create"])
def test_an_interrupted_plan_is_finished_by_the_next(missing: str) -> None:
    tables = (table("A", (VIP, OLD)), table("B", (VIP, OURS), ("fd00::10/128", OLD)), table("C", Route("C", VIP, OURS, BLACKHOLE)))
    asked = wish(VIP, "fd00::10/128", missing=missing)
    whole = plan_routes(asked, tables)
    end = simulate_routes(tables, whole)
    for length in range(len(whole) + 1):
        for done in combinations(whole, length):  # any subset: they run in parallel
            between = simulate_routes(tables, done)
            rest = plan_routes(asked, between)
            assert set(rest) == set(whole) - set(done)
            assert simulate_routes(between, rest) == end
    assert plan_routes(asked, end) == ()


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (Route("A", VIP, OLD), True),
        (Route("A", VIP, OURS), False),
        (Route("A", VIP, OURS, BLACKHOLE), True),
        (Route("A", VIP, OURS + "0"), True),  # a longer id that begins like ours is another interface
        (Route("A", VIP, "i-01234567"), True),
        (Route("A", VIP, OURS, RouteState.FILTERED), True),
    ],
)
def test_what_counts_as_wrong(present: Route, expected: bool) -> None:
    assert bool(plan_routes(wish(), (table("A", present),))) is expected


GATEWAYS = ("igw-1", "nat-1", "vpce-1", "tgw-1", "pcx-1", "cagw-1", "lgw-1", "eigw-1", "vgw-1", "arn:aws:networkmanager::1:core-network/c", "none")


@pytest.mark.parametrize("target", GATEWAYS)
@pytest.mark.parametrize("state", list(RouteState))
@pytest.mark.parametrize("missing", ["fail", "ignore", "create"])
def test_an_entry_for_a_gateway_is_replaced_only_in_a_table_that_is_named(target: str, state: RouteState, missing: str) -> None:
    kept = Route("B", VIP, target, state)
    tables = (table("A", (VIP, OLD)), table("B", kept))
    assert plan_routes(wish(missing=missing), tables) == (ReplaceRoute("A", VIP, OURS),)
    assert left_alone(wish(missing=missing), tables) == (kept,)
    asked = wish(table_ids=("A", "B"), missing=missing)
    assert plan_routes(asked, tables) == (ReplaceRoute("A", VIP, OURS), ReplaceRoute("B", VIP, OURS))
    assert left_alone(asked, tables) == ()


def test_a_plan_that_would_lead_nothing_here_is_refused() -> None:
    gateways, rest = (table("A", (VIP, "igw-1")), table("B", (VIP, "tgw-1"))), table("C")
    for missing, tables in (("fail", gateways), ("create", gateways), ("fail", (*gateways, rest))):
        with pytest.raises(NotFound, match=r"in A \(igw-1\).*in B \(tgw-1\).*name its table in route_table_ids"):
            plan_routes(wish(missing=missing), tables)
    assert plan_routes(wish(missing="ignore"), gateways) == ()
    assert plan_routes(wish(missing="create"), (*gateways, rest)) == (CreateRoute("C", VIP, OURS),)


def test_many_entries_are_counted_rather_than_named() -> None:
    tables = tuple(table(f"rtb-{number:08x}", (VIP, "igw-1")) for number in range(250))
    with pytest.raises(NotFound, match="and 245 more") as caught:
        plan_routes(wish(), tables)
    assert len(caught.value.message) < 400


def test_an_entry_by_prefix_list_is_named_as_no_entry() -> None:
    with pytest.raises(NotFound, match="prefix list does not count"):
        plan_routes(wish(), (table("A", ("pl-1234abcd", OLD)),))
    with pytest.raises(NotFound) as caught:  # that of a gateway endpoint is in nearly each table
        plan_routes(wish(), (table("A", ("pl-1234abcd", "vpce-1")),))
    assert "prefix list" not in caught.value.message


def test_a_black_hole_is_marked() -> None:
    assert f"{OURS} (blackhole)" in routes_table((table("A", Route("A", VIP, OURS, BLACKHOLE)),))
    assert f"{OURS} (filtered)" in routes_table((table("A", Route("A", VIP, OURS, RouteState.FILTERED)),))


@pytest.mark.parametrize("text", ["fd00:0:0::10/128", "FD00::0010/128", "fd00:0000:0000:0000:0000:0000:0000:0010/128"])
def test_ipv6_is_compared_parsed(text: str) -> None:
    assert parse_destinations([text]) == ("fd00::10/128",)
    assert plan_routes(wish(*parse_destinations([text])), (table("A", ("fd00::10/128", OURS)),)) == ()


def test_ipv6_is_replaced_like_ipv4() -> None:
    assert plan_routes(wish("fd00::10/128"), (table("A", ("fd00::10/128", OLD)),)) == (ReplaceRoute("A", "fd00::10/128", OURS),)


def test_prefix_lists_are_listed_untouched() -> None:
    tables = (table("A", (VIP, OLD), ("pl-1234abcd", OLD)),)
    after = simulate_routes(tables, plan_routes(wish(), tables))
    assert entry(after[0], "pl-1234abcd") == Route("A", "pl-1234abcd", OLD)
    assert [row["destination"] for row in rows(tables, after, {})] == [VIP, "10.0.0.0/16", "pl-1234abcd"]


@pytest.mark.parametrize(("target", "origin"), [("vgw-1", "EnableVgwRoutePropagation"), (OLD + "0", "Advertisement")])
def test_a_propagated_entry_is_not_ours(target: str, origin: str) -> None:
    propagated = Route("A", VIP, target, origin=origin)
    with pytest.raises(NotFound):
        plan_routes(wish(), (table("A", propagated),))
    both = (table("A", propagated, (VIP, OLD)),)
    after = simulate_routes(both, plan_routes(wish(), both))
    assert [(row["before"], row["after"]) for row in rows(both, after, {})][:2] in ([(OLD, OURS), (target, target)], [(target, target), (OLD, OURS)])


def test_missing_fail_in_the_whole_vpc_wants_one_entry_for_each_destination() -> None:
    tables = (table("A", (VIP, OLD)), table("B"))
    assert plan_routes(wish(), tables) == (ReplaceRoute("A", VIP, OURS),)
    with pytest.raises(NotFound, match=r"10\.1\.0\.20/32.*missing=create"):
        plan_routes(wish(VIP, OTHER), tables)


def test_missing_fail_in_named_tables_wants_it_in_each() -> None:
    tables = (table("A", (VIP, OLD)), table("B"))
    with pytest.raises(NotFound, match=r"^B: no entry for 10\.1\.0\.10/32"):
        plan_routes(wish(table_ids=("A", "B")), tables)


def test_missing_ignore_and_create() -> None:
    tables = (table("A", (VIP, OLD)), table("B"))
    assert plan_routes(wish(missing="ignore"), tables) == (ReplaceRoute("A", VIP, OURS),)
    assert plan_routes(wish(missing="create"), tables) == (ReplaceRoute("A", VIP, OURS), CreateRoute("B", VIP, OURS))
    assert absent(wish(VIP, OTHER, missing="ignore"), tables) == (OTHER,)


@pytest.mark.parametrize("inside", ["10.0.0.10/32", "10.0.0.0/16", "10.0.128.0/17", "fd00:1::5/128"])
@pytest.mark.parametrize("missing", ["fail", "ignore", "create"])
def test_inside_the_vpc_is_refused(inside: str, missing: str) -> None:
    local6 = Route("A", "fd00:1::/56", "local", origin="CreateRouteTable")
    with pytest.raises(BadInput, match="inside the VPC"):
        plan_routes(wish(inside, missing=missing), (table("A", local6, (inside, OLD)),))


def test_a_local_entry_that_leads_elsewhere_is_still_the_vpc() -> None:
    middlebox = Route("A", "10.9.0.0/16", OLD, origin="CreateRouteTable")
    with pytest.raises(BadInput):
        plan_routes(wish("10.9.0.1/32"), (table("A", middlebox, ("10.9.0.1/32", OLD)),))


@pytest.mark.parametrize(
    ("asked", "tables", "error", "words"),
    [
        (wish(table_ids=("Y", "Z")), (), NotFound, "no route table Y, Z .*take it out of route_table_ids"),
        (wish(), (), NotFound, "vpc-1 has no route table"),
        (wish(table_ids=("A",)), (table("A", (VIP, OLD), vpc="vpc-2"),), Refused, "A: not a route table of vpc-1"),
    ],
)
def test_tables_that_are_not_there_or_not_ours(asked: DesiredRoutes, tables: tuple[RouteTable, ...], error: type[HoldfastError], words: str) -> None:
    with pytest.raises(error, match=words):
        plan_routes(asked, tables)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["10.1.0.10"],
        ["10.1.0.10/24"],
        ["10.1.0.10/33"],
        ["10.1.0.010/32"],
        ["10.1/16"],
        ["fd00::/129"],
        [VIP, VIP],
        ["fd00::10/128", "fd00:0::10/128"],
        ["x" * 1_000_000],
        [""],
        ["$(id)/32"],
        [f"10.{number >> 8}.{number & 255}.0/24" for number in range(MOST_ENTRIES + 1)],
    ],
)
def test_bad_destinations(texts: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse_destinations(texts)
    assert len(caught.value.message) < 250
    assert "\n" not in caught.value.message


def test_rows_name_the_error_of_each_entry() -> None:
    tables = (table("A", (VIP, OLD)), table("B"))
    errors = {ReplaceRoute("A", VIP, OURS): NotFound("no"), CreateRoute("B", VIP, OURS): NotFound("never")}
    shown = [(row["route_table_id"], row["before"], row["after"], row["error"]) for row in rows(tables, tables, errors) if row["destination"] == VIP]
    assert shown == [("A", OLD, OLD, "no"), ("B", None, None, "never")]
