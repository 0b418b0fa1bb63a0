# SPDX-License-Identifier: GPL-3.0-or-later
"""A rule and a table of its own for an address where a default route, or a route to its network, leads elsewhere (DESIGN.md section 3). Pure.

Without them replies from the address leave by another link: the wrong one, and after a swap perhaps a dead one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, Link, parse_ip
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import Action, AddRoute, AddRule, DeleteRoute, DeleteRule
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import KERNEL_PROTOCOL, MAIN_TABLE, OUR_PROTOCOL, Desired, NetState

if TYPE_CHECKING:
    import netaddr

#: Before the main table's rule (32766) and before what cloud agents add (10000 and up).
PRIORITY = 7200
_TABLES = range(7200, 8200)


@dataclass(frozen=True)
class SourceRoute:
    """What stands or should stand: the rule, and the routes of its table that are ours."""

    rule: KernelRule
    routes: tuple[KernelRoute, ...]

    @property
    def default(self) -> KernelRoute | None:
        """The table's default route."""
        return next((route for route in self.routes if route.destination == "default"), None)


def is_needed(desired: Desired, net: NetState) -> bool:
    """Whether a best default route of the address's family leaves by another link, also as one of several; or there is none."""
    best = _best(_defaults(net, desired.address.version))
    return not best or any(route.links != {desired.interface} for route in best)


def near_is_needed(desired: Desired, net: NetState) -> bool:
    """Whether the best route to the address's own network leaves by another link: the node's own address in that network is there."""
    near = [route for route in net.routes if route.destination == str(desired.address.network) and route.version == desired.address.version]
    best = _best([route for route in near if not _goes_with(desired.address, route, net)])
    return bool(best) and desired.interface not in best[0].links  # of equal ones the kernel takes the first


def _goes_with(address: Address, route: KernelRoute, net: NetState) -> bool:
    """Whether the route to the address's network is there because of the address alone, so that it goes with it."""
    if route.protocol != KERNEL_PROTOCOL:
        return route.protocol == OUR_PROTOCOL
    held = [held.address for link in net.links if link.name in route.links for held in link.addresses]
    return all(other.ip == address.ip or other.network != address.network for other in held)


def advice(desired: Desired, net: NetState) -> str | None:
    """What a person should be told: replies leave by another link, and no gateway is known to change that."""
    if not (desired.present and desired.source_route and is_needed(desired, net)) or find_gateway(desired, net):
        return None
    leading = {link for route in _best(_defaults(net, desired.address.version)) for link in route.links}
    others = sorted(link for link in leading if link and link != desired.interface)
    if not others:
        return None  # nothing leaves this host's networks anyway
    return (
        f"replies from {desired.address.host} leave by {others[0]}, the default route's link, not by {desired.interface}, "
        f"and no gateway of {desired.interface} is known: set gateway, or source_route to none if that is meant"
    )


def find_gateway(desired: Desired, net: NetState) -> str | None:
    """The option, else a default route's gateway on that link in a foreign table, else the one that our own table has."""
    if desired.gateway is not None:
        return desired.gateway
    known = sorted(
        _defaults(net, desired.address.version),
        key=lambda route: (route.protocol == OUR_PROTOCOL, route.table != MAIN_TABLE, route.metric or 0, route.table),
    )
    own = standing(desired.address, net)
    for route in known:
        if route.protocol != OUR_PROTOCOL or (own is not None and route in own.routes):
            for link, gateway in route.ways:
                if link == desired.interface and gateway:
                    return gateway
    return None


def standing(address: Address, net: NetState) -> SourceRoute | None:
    """Our rule and table for the address as they are."""
    rules = own_rules(address, net)
    return SourceRoute(rules[0], own_routes(rules[0], net)) if rules else None


def plan_source_route(desired: Desired, net: NetState) -> tuple[Action, ...]:
    """Make the source route right, for an address that stands on its link in ``net``.

    Invariant: the rule is the anchor by which a table is known to be ours; it is added before the first route and deleted after
    the last, so whatever the interruption, no orphan is left. (A rule with an empty table falls through to the main one.) What is
    right is added before what is wrong is deleted.
    """
    gateway = find_gateway(desired, net)
    far = gateway is not None and is_needed(desired, net)
    if not (desired.source_route and (far or near_is_needed(desired, net))):
        return plan_removal(desired.address, net)
    own = own_rules(desired.address, net)
    good = [rule for rule in own if rule.plain and rule.priority == PRIORITY and not _used_by_others(rule.table, own, net)]
    actions: list[Action] = []
    rule = good[0] if good else _fresh_rule(desired.address, net)
    if not good:
        actions.append(AddRule(rule))
    wanted, there = _content(desired, net.link(desired.interface), gateway, rule.table), own_routes(rule, net)
    actions += [AddRoute(route) for route in wanted if _key(route) not in map(_key, there)]
    actions += [DeleteRoute(route) for route in there if _key(route) not in map(_key, wanted)]
    for wrong in own:
        if wrong != rule:
            actions += _remove(wrong, net, keep_routes=wrong.table == rule.table)
    return tuple(actions)


def plan_removal(address: Address, net: NetState) -> tuple[Action, ...]:
    """Delete our rules and tables for the address; the rule last. Also a table whose rule somebody else has deleted."""
    rules = own_rules(address, net)
    if not rules:
        return tuple(map(DeleteRoute, own_routes(_fresh_rule(address, net), net)))
    return tuple(action for rule in rules for action in _remove(rule, net, keep_routes=False))


def _remove(rule: KernelRule, net: NetState, *, keep_routes: bool) -> list[Action]:
    shared = any(other != rule and other.table == rule.table and other.version == rule.version for other in net.rules)
    routes: list[Action] = [] if keep_routes or shared else [DeleteRoute(route) for route in own_routes(rule, net)]
    return [*routes, DeleteRule(rule)]


def _content(desired: Desired, link: Link, gateway: str | None, table: int) -> tuple[KernelRoute, ...]:
    networks = _connected(link, desired.address.version)
    near = [KernelRoute(str(network), link.name, None, table, OUR_PROTOCOL, version=desired.address.version) for network in networks]
    if gateway is None:  # what is not near falls through to the main table
        return tuple(near)
    hop = parse_ip(gateway, "gateway")
    reached = any(hop in network for network in networks) or hop.is_link_local()
    default = KernelRoute("default", link.name, gateway, table, OUR_PROTOCOL, version=desired.address.version, words=() if reached else ("onlink",))
    return (*near, default)


def _connected(link: Link, version: int) -> list[netaddr.IPNetwork]:
    """The networks that are directly on the link, the most specific first."""
    width = 32 if version == 4 else 128
    held = {entry.address for entry in link.addresses if entry.address.version == version and entry.scope == "global"}
    return sorted({address.network for address in held if address.prefixlen < width}, key=lambda network: (-network.prefixlen, network))


def _fresh_rule(address: Address, net: NetState) -> KernelRule:
    return KernelRule(PRIORITY, address.host, _free_table(address, net), OUR_PROTOCOL, address.version)


def _free_table(address: Address, net: NetState) -> int:
    """The table at the checksum of the address, or the next that nobody uses: the same one on every run.

    No rule leads to a table of ours that lost its own, so it is used again.
    """
    rules = {rule.table for rule in net.rules if rule.version == address.version}
    foreign = {route.table for route in net.routes if route.version == address.version and route.protocol != OUR_PROTOCOL}
    start = zlib.crc32(address.host.encode()) % len(_TABLES)
    for step in range(len(_TABLES)):
        table = _TABLES[(start + step) % len(_TABLES)]
        if table not in rules and table not in foreign:
            return table
    return _TABLES[start]  # a thousand tables in use: no host of this world


def _used_by_others(table: int, own: list[KernelRule], net: NetState) -> bool:
    version = own[0].version
    looked_up = any(rule.table == table and rule not in own and rule.version == version for rule in net.rules)
    return looked_up or any(route.table == table and route.version == version and route.protocol != OUR_PROTOCOL for route in net.routes)


def own_rules(address: Address, net: NetState) -> list[KernelRule]:
    """The rules of this collection for the address."""
    return [rule for rule in net.rules if rule.protocol == OUR_PROTOCOL and rule.version == address.version and rule.source == address.host]


def own_routes(rule: KernelRule, net: NetState) -> tuple[KernelRoute, ...]:
    """The routes of this collection in the rule's table."""
    return tuple(route for route in net.routes if route.table == rule.table and route.version == rule.version and route.protocol == OUR_PROTOCOL)


def _key(route: KernelRoute) -> tuple[str, str | None, str | None]:
    return route.destination, route.interface, route.gateway


def _defaults(net: NetState, version: int) -> list[KernelRoute]:
    return [route for route in net.routes if route.destination == "default" and route.version == version]


def _best(routes: list[KernelRoute]) -> list[KernelRoute]:
    """Those of the main table with the lowest metric."""
    main = [route for route in routes if route.table == MAIN_TABLE]
    best = min((route.metric or 0 for route in main), default=0)
    return [route for route in main if (route.metric or 0) == best]
