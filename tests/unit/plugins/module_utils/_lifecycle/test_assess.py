# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look makes of what it sees, and which of the kernel's messages are worth one."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.netlink import ANYTHING, Change, change_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Address,
    Dependent,
    Ec2Parts,
    Eni,
    EniAddress,
    Health,
    Link,
    LinkAddress,
    LocalEni,
    Resource,
    Route,
    RouteState,
    RouteTable,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import Ec2CheckResult, judge, look_at_dependents, look_at_kernel
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._net.lifetime import message
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import DEL_ADDRESS, DEL_ROUTE, NEW_ADDRESS, messages
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import OUR_PROTOCOL, NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource

VIP = Address.parse("10.1.0.10/32")
UP = Link("eth0", 2, "02:00:00:00:00:01", True, True, addresses=(LinkAddress(VIP),))
PARTS = Ec2Parts(("all",), "203.0.113.5")
RESOURCE = Resource("web", VIP, "eth0", ec2=PARTS)
KNOWN = EffectiveResource("web", VIP, "eth0", None, True, RESOURCE)
ENI = Eni(
    "eni-01234567", "02:00:00:00:00:01", "vpc-1", "subnet-1", False, (EniAddress("10.0.1.10", True, "203.0.113.5", "eipalloc-1", "eipassoc-1"),)
)
HERE = LocalEni("eni-01234567", ENI.mac, "eth0", 0, "subnet-1", "vpc-1")
RIGHT = tuple(RouteTable(f"rtb-{n}", "vpc-1", (Route(f"rtb-{n}", "10.1.0.10/32", ENI.id), Route(f"rtb-{n}", "10.0.0.0/16", "local"))) for n in "ab")


@pytest.mark.parametrize(
    ("link", "faults"),
    [
        (UP, ()),
        (replace(UP, addresses=()), (Fault.ADDRESS,)),
        (replace(UP, addresses=(LinkAddress(replace(VIP, prefixlen=24)),)), (Fault.ADDRESS,)),
        (replace(UP, addresses=(LinkAddress(VIP, dadfailed=True),)), (Fault.ADDRESS,)),
        (replace(UP, carrier=False), (Fault.LINK,)),
        (replace(UP, admin_up=False), (Fault.LINK,)),
        (replace(UP, carrier=False, addresses=()), (Fault.LINK, Fault.ADDRESS)),
        (replace(UP, name="eth1"), (Fault.LINK, Fault.ADDRESS)),
    ],
)
def test_the_kernel(link: Link, faults: tuple[str, ...]) -> None:
    look = look_at_kernel(KNOWN, NetState((link,)), held=True, elsewhere=False)
    assert look.faults == faults
    assert look.health is (Health.FAILED if faults else Health.HEALTHY)
    assert bool(look.reasons) == bool(faults)


INSIDE, SIX = Address.parse("10.0.1.50/32"), Address.parse("2001:db8::50/128")
TASKS = Dependent("assign", None, "/etc/holdfast/hooks/assign.yml")


@pytest.mark.parametrize(
    ("address", "eni", "dependents", "told"),
    [
        (VIP, ENI, (), False),
        (INSIDE, ENI, (), True),
        (SIX, ENI, (), True),
        (INSIDE, ENI, (Dependent("web", "nginx.service", None),), True),
        (INSIDE, ENI, (TASKS,), False),
        (INSIDE, replace(ENI, addresses=(*ENI.addresses, EniAddress("10.0.1.50"))), (), False),
        (INSIDE, replace(ENI, prefixes=("10.0.1.48/28", "2001:db8::/80")), (), False),
        (SIX, replace(ENI, ipv6_addresses=("2001:db8:0::50",)), (), False),
    ],
)
def test_an_address_of_the_vpc_that_ec2_does_not_deliver(address: Address, eni: Eni, dependents: tuple[Dependent, ...], told: bool) -> None:
    """Without route table entries. It is no fault, as no run on any node would change it."""
    parts = Ec2Parts(None, None)
    known = EffectiveResource("web", address, "eth0", None, True, Resource("web", address, "eth0", ec2=parts, dependents=dependents))
    look = judge(known, parts, replace(HERE, vpc_cidrs=("10.0.0.0/16", "2001:db8::/56")), eni, None).look
    assert (look.health, look.faults) == (Health.UNKNOWN if told else Health.HEALTHY, ())
    assert [f"no packet for {address.host}: it lies inside the VPC" in reason for reason in look.reasons] == [True] * told


def test_a_standby_should_have_the_address_nowhere() -> None:
    net = NetState((UP,))
    assert look_at_kernel(KNOWN, net, held=False, elsewhere=True).faults == (Fault.STRAY,)
    assert look_at_kernel(KNOWN, net, held=False, elsewhere=False).faults == ()  # nobody holds it: not ours to remove
    assert look_at_kernel(KNOWN, NetState((replace(UP, addresses=()),)), held=False, elsewhere=True).faults == ()


def wrong(number: int, **changes: Any) -> tuple[RouteTable, ...]:
    """`RIGHT` with a changed entry in one table."""
    tables = list(RIGHT)
    table = tables[number]
    tables[number] = replace(table, routes=(replace(table.routes[0], **changes), *table.routes[1:]))
    return tuple(tables)


@pytest.mark.parametrize(
    ("eni", "tables", "faults", "right"),
    [
        (ENI, RIGHT, (), 2),
        (ENI, wrong(0, target="eni-89abcdef"), (Fault.ROUTES,), 1),
        (ENI, wrong(1, state=RouteState.BLACKHOLE), (Fault.ROUTES,), 1),
        (ENI, wrong(1, state=RouteState.FILTERED), (Fault.ROUTES,), 1),
        (replace(ENI, source_dest_check=True), RIGHT, (Fault.SOURCE_DEST_CHECK,), 2),
        (replace(ENI, addresses=(EniAddress("10.0.1.10", True),)), RIGHT, (Fault.ELASTIC_IP,), 2),
        (replace(ENI, addresses=(EniAddress("10.0.1.10", True, "203.0.113.9", "eipalloc-9", "x"),)), RIGHT, (Fault.ELASTIC_IP,), 2),
        (
            replace(ENI, addresses=(EniAddress("10.0.1.10", True), EniAddress("10.0.1.11", False, "203.0.113.5", "e", "x"))),
            RIGHT,
            (Fault.ELASTIC_IP,),
            2,
        ),
    ],
)
def test_ec2(eni: Eni, tables: tuple[RouteTable, ...], faults: tuple[str, ...], right: int) -> None:
    sight = judge(KNOWN, PARTS, HERE, eni, tables)
    assert (sight.faults, sight.routes_right, sight.routes_total) == (faults, right, 2)
    assert len(sight.reasons) == len(faults)
    assert sight.look.health is (Health.FAILED if faults else Health.HEALTHY)


@pytest.mark.parametrize("change", [{"target": "tgw-1"}, {"target": "vpce-1", "state": RouteState.BLACKHOLE}, {"origin": "Advertisement"}])
def test_an_entry_that_a_recovery_leaves_alone_is_no_fault(change: dict[str, Any]) -> None:
    sight = judge(KNOWN, PARTS, HERE, ENI, wrong(0, **change))
    assert (sight.faults, sight.routes_right, sight.routes_total) == ((), 1, 1)


def test_an_entry_for_a_gateway_is_a_fault_where_its_table_is_named() -> None:
    parts = replace(PARTS, route_tables=("rtb-a", "rtb-b"))
    sight = judge(KNOWN, parts, HERE, ENI, wrong(0, target="tgw-1"))
    assert (sight.faults, sight.routes_right, sight.routes_total) == ((Fault.ROUTES,), 1, 2)


def test_many_wrong_tables_are_told_in_few_words() -> None:
    tables = tuple(RouteTable(f"rtb-{n}", "vpc-1", (Route(f"rtb-{n}", "10.1.0.10/32", "eni-89abcdef"),)) for n in range(250))
    sight = judge(KNOWN, PARTS, HERE, ENI, tables)
    assert (sight.faults, sight.routes_right, sight.routes_total, len(sight.reasons)) == ((Fault.ROUTES,), 0, 250, 6)
    assert sight.reasons[-1] == "and in 245 more route tables"


def test_an_api_in_trouble_is_not_a_fault() -> None:
    look = Ec2CheckResult("no reply", elastic_ip="203.0.113.5").look
    assert (look.health, look.faults) == (Health.UNKNOWN, ())


def test_an_address_going_is_told() -> None:
    ((_kind, body),) = messages(message(VIP, 2, 7))
    gone, there = change_of(DEL_ADDRESS, body), change_of(NEW_ADDRESS, body)
    assert gone is not None
    assert there is not None
    assert (gone.index, gone.gone, there.gone) == (2, True, False)
    assert gone.held is not None
    assert (gone.held.address, gone.held.valid_lft) == (VIP, 7)


@pytest.mark.parametrize(("protocol", "worth"), [(int(OUR_PROTOCOL), ANYTHING), (2, None), (186, None)])
def test_of_routes_only_our_own_matter(protocol: int, worth: Change | None) -> None:
    assert change_of(DEL_ROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 254, protocol, 0, 1, 0)) is worth


@pytest.mark.parametrize(
    ("states", "meant", "health", "reasons"),
    [
        ({"a.service": "active", "b.service": "reloading"}, True, Health.HEALTHY, ()),
        ({"a.service": "active", "b.service": "failed"}, True, Health.FAILED, ("b.service is failed",)),
        ({"a.service": "inactive"}, False, Health.UNKNOWN, ("a.service is inactive: it was stopped on purpose",)),
        ({"a.service": "activating"}, True, Health.UNKNOWN, ("a.service is activating",)),
        ({"a.service": "unknown"}, True, Health.UNKNOWN, ("a.service is unknown",)),
    ],
)
def test_dependents(states: dict[str, str], meant: bool, health: Health, reasons: tuple[str, ...]) -> None:
    look = look_at_dependents(states, meant_to_run=meant)
    assert look is not None
    assert (look.health, look.reasons) == (health, reasons)
    assert look.faults == ((Fault.DEPENDENTS,) if health is Health.FAILED else ())


def test_without_units_nothing_is_said_of_dependents() -> None:
    assert look_at_dependents({}, meant_to_run=True) is None
