# SPDX-License-Identifier: GPL-3.0-or-later
"""What the router should do, worked out from a picture of the VPC: values in, values out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.forwarding import BLACKHOLE, EDGE_TABLE, Forwarding, PortRoute, plan, port_name, table_number
from lab.view import ElasticIpView, InstanceView, InterfaceView, RouteView, SubnetView, VpcView

ENI_A, ENI_B = "eni-00000000000000aaa", "eni-00000000000000bbb"
LOCAL = (RouteView("10.0.0.0/16", "local", "active"), RouteView("2001:db8::/56", "local", "active"))


def interface(identity: str, address: str, ipv6: str, instance: str | None, check: bool = True) -> InterfaceView:
    return InterfaceView(identity, "02:00:00:00:00:01", "subnet-1", (address,), (ipv6,), check, instance, 0 if instance else None)


def vpc(*routes: RouteView, check: bool = True) -> VpcView:
    subnet = SubnetView("subnet-1", "10.0.1.0/24", "2001:db8:0:1::/64", "x", "rtb-1", (*LOCAL, *routes))
    both = (interface(ENI_A, "10.0.1.11", "2001:db8:0:1::b", "i-a", check), interface(ENI_B, "10.0.1.21", "2001:db8:0:1::15", "i-b", check))
    running = (InstanceView("i-a", "running"), InstanceView("i-b", "running"))
    return VpcView("vpc-1", "r", "10.0.0.0/16", "2001:db8::/56", (subnet,), both, (ElasticIpView("203.0.113.5", ENI_A, "10.0.1.11"),), running)


def hops(view: VpcView, live: set[str], table: int = table_number("subnet-1")) -> dict[str, str]:
    return {route.destination: route.hop for route in plan(view, live).routes if route.table == table}


def to(identity: str, gateway: str = "169.254.1.1") -> str:
    return f"via {gateway} dev {port_name(identity)} onlink"


@pytest.mark.parametrize(
    ("route", "live", "hop"),
    [
        (RouteView("10.1.0.10/32", ENI_A, "active"), {ENI_A}, to(ENI_A)),
        (RouteView("fd00:1::10/128", ENI_A, "active"), {ENI_A}, to(ENI_A, "fe80::2")),
        (RouteView("10.1.0.10/32", ENI_A, "active"), {ENI_B}, BLACKHOLE),
        (RouteView("10.1.0.10/32", ENI_A, "blackhole"), {ENI_A}, BLACKHOLE),
        (RouteView("10.1.0.10/32", "eni-of-no-machine", "active"), {ENI_A}, BLACKHOLE),
        (RouteView("10.1.0.10/32", "nat-1", "active"), {ENI_A}, BLACKHOLE),
        (RouteView("0.0.0.0/0", "igw-1", "active"), {ENI_A}, "dev inet"),
        (RouteView("::/0", "igw-1", "active"), {ENI_A}, "dev inet"),
        (RouteView("0.0.0.0/0", "igw-1", "blackhole"), {ENI_A}, BLACKHOLE),
    ],
)
def test_a_route_entry(route, live, hop):
    assert hops(vpc(route), live)[route.destination] == hop


def test_without_a_default_entry_nothing_leaves():
    found = hops(vpc(), {ENI_A})
    assert (found["0.0.0.0/0"], found["::/0"]) == (BLACKHOLE, BLACKHOLE)


def test_local_reaches_interfaces_one_by_one_and_nothing_else():
    found = hops(vpc(), {ENI_A})
    assert found["10.0.1.11/32"] == to(ENI_A)
    assert found["2001:db8:0:1::b/128"] == to(ENI_A, "fe80::2")
    assert found["10.0.0.0/16"] == BLACKHOLE
    assert "10.0.1.21/32" not in found


def test_a_longer_entry_takes_addresses_away_from_local():
    """A middlebox route for a whole subnet: its packets go to the middlebox, not to their addresses."""
    found = hops(vpc(RouteView("10.0.1.0/24", ENI_B, "active")), {ENI_A, ENI_B})
    assert found["10.0.1.0/24"] == to(ENI_B)
    assert "10.0.1.11/32" not in found
    assert found["2001:db8:0:1::b/128"] == to(ENI_A, "fe80::2")


def test_prefix_lists_are_left_out():
    assert hops(vpc(RouteView("pl-1234", ENI_A, "active")), {ENI_A}) == hops(vpc(), {ENI_A})


def test_a_stopped_instance_is_not_there():
    view = replace(vpc(RouteView("10.1.0.10/32", ENI_A, "active")), instances=(InstanceView("i-a", "stopped"), InstanceView("i-b", "running")))
    found = hops(view, {ENI_A, ENI_B})
    assert found["10.1.0.10/32"] == BLACKHOLE
    assert set(hops(view, {ENI_A, ENI_B}, EDGE_TABLE)) == {"10.0.1.21/32", "2001:db8:0:1::15/128"}
    assert "203.0.113.5" not in plan(view, {ENI_A, ENI_B}).rules


def test_only_checked_interfaces_are_checked():
    port = port_name(ENI_A)
    assert f'"{port}" . 10.0.1.11' in plan(vpc(), {ENI_A}).rules
    assert f'"{port}" . 2001:db8:0:1::b' in plan(vpc(), {ENI_A}).rules
    assert f'"{port}" .' not in plan(vpc(check=False), {ENI_A}).rules


def test_an_elastic_ip_is_translated_both_ways():
    rules = plan(vpc(), {ENI_A}).rules
    assert "203.0.113.5 : 10.0.1.11" in rules
    assert "10.0.1.11 : 203.0.113.5" in rules


@pytest.mark.parametrize("association", [(None, None), (ENI_B, "10.0.1.11"), (ENI_A, "10.0.1.99")])
def test_an_elastic_ip_without_a_home_is_not_translated(association):
    view = replace(vpc(), elastic_ips=(ElasticIpView("203.0.113.5", *association),))
    assert "203.0.113.5" not in plan(view, {ENI_A, ENI_B}).rules


def test_from_one_state_to_the_next_only_what_differs_is_touched_and_replaced_in_place():
    kept, old = PortRoute(4, 7, "10.0.0.1/32", "dev a"), PortRoute(4, 7, "10.0.0.2/32", "dev a")
    new, gone = replace(old, hop=BLACKHOLE), PortRoute(6, 7, "fd00::1/128", "dev a")
    assert Forwarding(frozenset({kept, new})).batch_after(Forwarding(frozenset({kept, old, gone}))) == (
        "route replace blackhole 10.0.0.2/32 table 7",
        "route del fd00::1/128 table 7",
    )
    state = Forwarding(frozenset({kept, new}))
    assert state.batch_after(state) == ()


def test_names_fit_and_differ():
    assert port_name(ENI_A) != port_name(ENI_B)
    assert len(port_name(ENI_A)) <= 15
    assert table_number("subnet-1") != table_number("subnet-2")
