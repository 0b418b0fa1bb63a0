# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to an address, from values alone; and that every interrupted plan is finished by the next."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    AddAddress,
    AddRoute,
    AddRule,
    Announce,
    Bounce,
    CheckUnclaimed,
    DeleteRoute,
    DeleteRule,
    RefreshAddress,
    RemoveAddress,
    SetUp,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import is_fresh, plan
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan_back import plan_back
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import advice, standing
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState

VIP, VIP6 = Address.parse("10.1.0.10/24"), Address.parse("fd00:1::10/64")


def held(cidr: str, **more: Any) -> LinkAddress:
    return LinkAddress(Address.parse(cidr), **more)


def link(name: str, *addresses: LinkAddress, up: bool = True, carrier: bool = True, **more: Any) -> Link:
    return Link(name, 2 + int(name[-1]), f"02:00:00:00:00:0{name[-1]}", up, carrier, addresses=addresses, **more)


def net(*links: Link, routes: tuple[KernelRoute, ...] = (), rules: tuple[KernelRule, ...] = ()) -> NetState:
    return NetState(links, routes, rules)


WANT, WANT6 = Desired(VIP, "eth0"), Desired(VIP6, "eth0")
ASK, ADD, TELL = CheckUnclaimed(VIP, "eth0"), AddAddress(VIP, "eth0"), Announce(VIP, "eth0", 3)


@pytest.mark.parametrize(
    ("desired", "links", "expected"),
    [
        pytest.param(WANT, [link("eth0")], (ASK, ADD, TELL), id="new"),
        pytest.param(replace(WANT, check_unique=False), [link("eth0")], (ADD, TELL), id="new-unchecked"),
        pytest.param(replace(WANT, announce=0), [link("eth0")], (ASK, ADD), id="new-silent"),
        pytest.param(WANT, [link("eth0", arp=False)], (ADD,), id="no-arp"),
        pytest.param(WANT6, [link("eth0")], (CheckUnclaimed(VIP6, "eth0"), AddAddress(VIP6, "eth0"), Announce(VIP6, "eth0", 3)), id="new-v6"),
        pytest.param(WANT, [link("eth0", held("10.1.0.10/24"))], (), id="there"),
        pytest.param(
            WANT,
            [link("eth0", held("10.1.0.10/16"))],
            (ADD, TELL, RemoveAddress(Address.parse("10.1.0.10/16"), "eth0")),
            id="wrong-prefix-never-missing",
        ),
        pytest.param(
            WANT6,
            [link("eth0", held("fd00:1::10/128"))],
            (RemoveAddress(Address.parse("fd00:1::10/128"), "eth0"), AddAddress(VIP6, "eth0"), Announce(VIP6, "eth0", 3)),
            id="wrong-prefix-v6",
        ),
        pytest.param(
            WANT6,
            [link("eth0", held("fd00:1::10/64", dadfailed=True))],
            (CheckUnclaimed(VIP6, "eth0"), RemoveAddress(VIP6, "eth0"), AddAddress(VIP6, "eth0"), Announce(VIP6, "eth0", 3)),
            id="dad-failed",
        ),
        pytest.param(
            WANT, [link("eth0"), link("eth1", held("10.1.0.10/24"))], (RemoveAddress(VIP, "eth1"), ADD, TELL), id="moved-never-on-two-links"
        ),
        pytest.param(
            WANT, [link("eth0", held("10.1.0.10/24")), link("eth1", held("10.1.0.10/24"))], (RemoveAddress(VIP, "eth1"),), id="on-two-links"
        ),
        pytest.param(WANT, [link("eth0", up=False, carrier=False)], (SetUp("eth0"), ASK, ADD, TELL), id="link-down"),
        pytest.param(
            replace(WANT, leave_up=True),
            [link("eth0", up=False, carrier=False)],
            (SetUp("eth0", stays=True), ASK, ADD, TELL),
            id="link-down-and-left-up",
        ),
        pytest.param(WANT, [link("eth0", held("10.1.0.10/24"), carrier=False)], (Bounce("eth0"),), id="no-carrier"),
        pytest.param(replace(WANT, require_up=False), [link("eth0", carrier=False)], (ASK, ADD, TELL), id="dead-link-accepted"),
        pytest.param(
            replace(WANT, present=False), [link("eth0", held("10.1.0.10/16"))], (RemoveAddress(Address.parse("10.1.0.10/16"), "eth0"),), id="absent"
        ),
        pytest.param(replace(WANT, present=False), [link("eth0"), link("eth1", held("10.1.0.10/24"))], (), id="absent-elsewhere"),
        pytest.param(
            replace(WANT, present=False),
            [link("eth0", held("10.1.0.10/24"), held("10.1.0.11/24", secondary=True), promote_secondaries=False)],
            (RemoveAddress(VIP, "eth0", promote=True),),
            id="keeps-secondaries",
        ),
        pytest.param(
            replace(WANT, present=False),
            [link("eth0", held("10.1.0.9/24"), held("10.1.0.10/24", secondary=True), promote_secondaries=False)],
            (RemoveAddress(VIP, "eth0"),),
            id="a-secondary-takes-nothing-along",
        ),
        pytest.param(
            replace(WANT, valid_lft=100),
            [link("eth0", held("10.1.0.10/24", noprefixroute=True))],
            (RefreshAddress(VIP, "eth0", 100, True),),
            id="refresh",
        ),
    ],
)
def test_plan(desired: Desired, links: list[Link], expected: tuple[object, ...]) -> None:
    assert plan(desired, net(*links)) == expected


@pytest.mark.parametrize(
    ("wanted", "left", "fresh"),
    [
        (None, None, True),
        (None, 5, False),
        (5, None, False),
        (100, 100, True),
        (100, 90, True),
        (100, 89, False),
        (100, 101, False),
        (5, 4, True),
        (5, 3, False),
        (1, 0, True),
    ],
)
def test_lifetimes(wanted: int | None, left: int | None, fresh: bool) -> None:
    assert is_fresh(wanted, left) is fresh


def test_a_link_that_may_not_be_brought_up_is_an_error() -> None:
    for dead, told in ((link("eth0", up=False), "eth0 is down"), (link("eth0", carrier=False), "no carrier")):
        with pytest.raises(Refused, match=told):
            plan(replace(WANT, bring_up=False), net(dead))
    with pytest.raises(NotFound, match="no link eth7"):
        plan(replace(WANT, interface="eth7"), net(link("eth0")))


def test_a_bounce_knows_what_the_kernel_will_drop() -> None:
    foreign = KernelRoute("10.9.0.0/16", "eth0", "10.1.0.1", protocol="3")
    both = KernelRoute("10.8.0.0/16", None, protocol="3", hops=(("eth1", None), ("eth0", None)))
    routes = (foreign, both, KernelRoute("10.1.0.0/24", "eth0", protocol="2"), KernelRoute("10.7.0.0/16", "eth1", protocol="3"))
    v6 = held("fd00::2/64")
    (bounce, *_rest) = plan(WANT, net(link("eth0", v6, held("10.1.0.2/24"), carrier=False), routes=routes))
    assert bounce == Bounce("eth0", (v6,), (foreign, both))


DEFAULT = KernelRoute("default", "eth0", "10.0.0.1", protocol="3")
WANT1 = Desired(Address.parse("10.7.0.10/32"), "eth1")
TWO = (link("eth0", held("10.0.0.2/24")), link("eth1", held("10.0.1.2/24"), held("10.7.0.10/32")))


class TestSourceRoute:
    def test_rule_first_then_the_links_network_then_the_default(self) -> None:
        rule, near, default = plan(replace(WANT1, gateway="10.0.1.1"), net(*TWO, routes=(DEFAULT,)))
        assert isinstance(rule, AddRule)
        assert rule.rule.source == "10.7.0.10"
        assert rule.rule.protocol == "72"
        assert 7200 <= rule.rule.table < 8200
        assert isinstance(near, AddRoute)
        assert near.route.destination == "10.0.1.0/24"
        assert isinstance(default, AddRoute)
        assert default.route.gateway == "10.0.1.1"
        assert default.route.table == rule.rule.table

    def test_a_gateway_outside_the_links_networks_is_declared_to_be_on_link(self) -> None:
        actions = plan(replace(WANT1, gateway="10.99.0.1"), net(*TWO, routes=(DEFAULT,)))
        assert isinstance(actions[-1], AddRoute)
        assert actions[-1].route.words == ("onlink",)

    @pytest.mark.parametrize("links", [TWO, (link("eth0"), link("eth1", held("10.7.0.10/32")))])
    def test_none_on_the_default_link(self, links: tuple[Link, ...]) -> None:
        assert plan(WANT1, net(*links, routes=(replace(DEFAULT, interface="eth1"),))) == ()

    def test_the_gateway_is_found_in_any_foreign_table_of_that_link(self) -> None:
        other = KernelRoute("default", "eth1", "10.0.1.254", table=500, protocol="3")
        (_rule, _near, default) = plan(WANT1, net(*TWO, routes=(DEFAULT, other)))
        assert isinstance(default, AddRoute)
        assert default.route.gateway == "10.0.1.254"

    def test_no_gateway_known_is_said_and_nothing_done(self) -> None:
        state = net(*TWO, routes=(DEFAULT,))
        assert plan(WANT1, state) == ()
        assert "set gateway" in (advice(WANT1, state) or "")
        assert advice(WANT1, net(*TWO)) is None, "no default route at all: nothing leaves anyway"
        assert advice(replace(WANT1, source_route=False), state) is None

    def test_tables_of_others_are_stepped_over(self) -> None:
        free = net(*TWO, routes=(DEFAULT,))
        want = replace(WANT1, gateway="10.0.1.1")
        first = plan(want, free)[0]
        assert isinstance(first, AddRule)
        taken = replace(free, routes=(DEFAULT, KernelRoute("10.3.0.0/16", "eth1", table=first.rule.table, protocol="3")))
        looked_up = replace(free, rules=(KernelRule(100, "10.0.0.9", first.rule.table),))
        for state in (taken, looked_up):
            other = plan(want, state)[0]
            assert isinstance(other, AddRule)
            assert other.rule.table == first.rule.table + 1

    def test_wrong_content_is_corrected_and_foreign_content_left(self) -> None:
        want = replace(WANT1, gateway="10.0.1.1")
        state = net(*TWO, routes=(DEFAULT,))
        state = simulate(state, plan(want, state))
        mine = standing(WANT1.address, state)
        assert mine is not None
        stale = tuple(
            replace(route, gateway="10.0.1.66") if route in mine.routes and route.destination == "default" else route for route in state.routes
        )
        actions = plan(want, replace(state, routes=stale))
        assert [type(action) for action in actions] == [AddRoute, DeleteRoute]
        assert plan(want, simulate(replace(state, routes=stale), actions)) == ()
        foreign_rule = KernelRule(50, "10.7.0.10", 99)
        gone = plan(replace(want, present=False), replace(state, rules=(*state.rules, foreign_rule)))
        assert isinstance(gone[-1], DeleteRule)
        assert gone[-1].rule == mine.rule
        assert DeleteRule(foreign_rule) not in gone
        assert DeleteRoute(DEFAULT) not in gone
        assert {action.route for action in gone if isinstance(action, DeleteRoute)} == set(mine.routes), "no orphans"

    def test_the_source_route_of_another_address_is_left(self) -> None:
        other = replace(WANT1, address=Address.parse("10.7.0.11/32"), gateway="10.0.1.1")
        state = net(*TWO, routes=(DEFAULT,))
        state = simulate(state, plan(replace(WANT1, gateway="10.0.1.1"), state))
        both = simulate(state, plan(other, state))
        assert len(both.rules) == 2
        assert len({rule.table for rule in both.rules}) == 2
        back = simulate(both, plan(replace(other, present=False), both))
        assert set(back.rules) == set(state.rules)
        assert set(back.routes) == set(state.routes)


def scene(chance: random.Random) -> tuple[Desired, NetState]:
    """Any state that a host can be in, and any wish."""
    vip = chance.choice([VIP, VIP6])
    links = []
    for name in ("eth0", "eth1", "eth2"):
        entries = [held(f"10.{name[-1]}.0.2/24"), held(f"fd00:{name[-1]}::2/64")] if chance.random() < 0.7 else []
        for prefixlen in (vip.prefixlen, 128 if vip.version == 6 else 32):
            if chance.random() < 0.3 and not (vip.version == 6 and any(entry.address.ip == vip.ip for entry in entries)):
                lifetime = chance.choice([None, 5, 50, 100])
                entries.append(LinkAddress(Address(vip.ip, prefixlen), lifetime, lifetime, dadfailed=vip.version == 6 and chance.random() < 0.3))
        up = chance.random() < 0.8
        links.append(
            link(name, *entries, up=up, carrier=up and chance.random() < 0.8, promote_secondaries=chance.random() < 0.5, arp=chance.random() < 0.9)
        )
    hop = "10.9.0.1" if vip.version == 4 else "fe80::1"
    routes = [
        KernelRoute("default", name, hop, table, "3", metric=chance.choice([None, 100]), version=vip.version)
        for name in ("eth0", "eth1", "eth2")
        for table in (254, 500)
        if chance.random() < 0.3
    ]
    rules = []
    for priority in (7200, 7200, 9000):
        if chance.random() < 0.3:
            table = chance.choice([7300, 7301, 500])
            rules.append(KernelRule(priority, vip.host, table, chance.choice(["72", "3"]), vip.version))
            if chance.random() < 0.7:
                routes.append(KernelRoute("default", chance.choice(["eth0", "eth1"]), hop, table, "72", version=vip.version))
    desired = Desired(
        vip,
        chance.choice(["eth0", "eth1", "eth2"]),
        present=chance.random() < 0.8,
        valid_lft=chance.choice([None, 100]),
        check_unique=chance.random() < 0.5,
        source_route=chance.random() < 0.8,
        gateway=chance.choice([None, hop]),
    )
    single = {(route.table, route.metric): route for route in routes}  # the kernel holds one default of a metric in a table
    return desired, NetState(tuple(links), tuple(single.values()), tuple(dict.fromkeys(rules)))


def foreign(state: NetState, vip: Address) -> tuple[object, ...]:
    """What no plan may change."""
    return (
        sorted(f"{one.name} {entry.address}" for one in state.links for entry in one.addresses if entry.address.ip != vip.ip),
        {route for route in state.routes if route.protocol != "72"},
        {rule for rule in state.rules if rule.protocol != "72"},
    )


@pytest.mark.parametrize("seed", range(600))
def test_every_interrupted_plan_is_finished_by_the_next(seed: int) -> None:
    desired, start = scene(random.Random(seed))
    actions = plan(desired, start)
    for done in range(len(actions) + 1):
        state = simulate(start, actions[:done])
        assert len(list(state.places(desired.address))) <= max(len(list(start.places(desired.address))), 1) + 1
        state = simulate(state, plan(desired, state))
        assert plan(desired, state) == (), (seed, done)
        places = [(place.name, entry.address) for place, entry in state.places(desired.address)]
        if desired.present:
            assert places == [(desired.interface, desired.address)]
        else:
            assert desired.interface not in [name for name, _held in places]
        assert foreign(state, desired.address) == foreign(start, desired.address)


@pytest.mark.parametrize("seed", range(600))
def test_it_is_never_added_to_one_link_while_it_is_on_another(seed: int) -> None:
    desired, state = scene(random.Random(seed))
    for action in plan(desired, state):
        if isinstance(action, AddAddress):
            assert {place.name for place, _held in state.places(desired.address)} <= {desired.interface}
        state = simulate(state, (action,))


@pytest.mark.parametrize("seed", range(300))
def test_whatever_was_done_can_be_put_back(seed: int) -> None:
    desired, start = scene(random.Random(seed))
    actions = plan(desired, start)
    for done in range(len(actions) + 1):
        now = simulate(start, actions[:done])
        back = simulate(now, plan_back(desired.address, start, now, 3))
        assert sorted(f"{p.name} {e.address}" for p, e in back.places(desired.address)) == sorted(
            f"{p.name} {e.address}" for p, e in start.places(desired.address)
        )
        assert set(back.rules) == set(start.rules), (seed, done)
        assert set(back.routes) == set(start.routes), (seed, done)
        assert plan_back(desired.address, start, start, 3) == ()
