# SPDX-License-Identifier: GPL-3.0-or-later
"""What would make the route entries of some destinations lead to one network interface. Pure.

Every action of a route plan changes exactly one entry of one table and builds on no other, so the plan may be carried out
in any order, in parallel, and be interrupted anywhere: planning again yields what is left. No action takes an entry away,
so at no instant has a client fewer routes than before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Union

try:
    import netaddr
except ImportError:  # reported by _run with missing_required_lib
    pass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Route, RouteState, RouteTable, parse_network, shown, text_table

#: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
MOST_ENTRIES = 1000

#: EC2's word for entries that came with the table.
_LOCAL_ORIGIN = "CreateRouteTable"
#: EC2's words for entries that a virtual private gateway or a route server put there. ReplaceRoute does not change such an entry.
_PROPAGATED_ORIGINS = ("EnableVgwRoutePropagation", "Advertisement")
#: The ids of network interfaces and instances begin so.
_MACHINES = ("eni-", "i-")
HOW_TO_REPLACE = "to replace an entry, name its table in route_table_ids (route_tables of a resource)"
#: At most so many entries are named in one message.
_MOST_NAMED = 5


@dataclass(frozen=True)
class DesiredRoutes:
    """What should be.

    :param destinations: Canonical CIDRs, see `parse_destinations`.
    :param target: The id of the network interface that they should lead to.
    :param table_ids: The tables to look at, one of which must exist at least; ``None``: every table of the VPC.
    :param vpc_id: The VPC that the tables must be of; ``None``: not known, so with ``table_ids`` it is not checked.
    :param missing: ``fail``, ``ignore`` or ``create``: what to do about a table without an entry.
    """

    destinations: tuple[str, ...]
    target: str
    table_ids: tuple[str, ...] | None = None
    vpc_id: str | None = None
    missing: str = "fail"


@dataclass(frozen=True)
class ReplaceRoute:
    """Point an entry that exists at a network interface."""

    route_table_id: str
    destination: str
    network_interface_id: str

    def __str__(self) -> str:
        return f"{self.route_table_id}: pointing {self.destination} at {self.network_interface_id}"


@dataclass(frozen=True)
class CreateRoute:
    """Add an entry where a table has none for the destination."""

    route_table_id: str
    destination: str
    network_interface_id: str

    def __str__(self) -> str:
        return f"{self.route_table_id}: adding {self.destination} to {self.network_interface_id}"


RouteAction = Union[ReplaceRoute, CreateRoute]
Tables = Sequence[RouteTable]


def parse_destinations(texts: Sequence[str]) -> tuple[str, ...]:
    """CIDRs in canonical form, in the order given. Raises `BadInput` for what is none, has host bits, or is there twice."""
    if not texts:
        raise BadInput("destinations: the list is empty; name at least one, such as 10.1.0.10/32", path="destinations")
    if len(texts) > MOST_ENTRIES:
        raise BadInput(f"destinations: {len(texts)} are more than the {MOST_ENTRIES} entries that a route table can have", path="destinations")
    found: dict[str, None] = {}
    for index, text in enumerate(texts):
        path = f"destinations/{index}"
        destination = str(parse_network(text, path))
        if destination in found:
            raise BadInput(f"{path}: {shown(text)} is in the list twice", path=path)
        found[destination] = None
    return tuple(found)


def in_order(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Entries in the order in which they apply: the longest prefix first, IPv4 before IPv6, prefix lists last."""
    return tuple(sorted(routes, key=_rank))


def _rank(route: Route) -> tuple[int, int, int, str]:
    if route.is_prefix_list or "/" not in route.destination:
        return (9, 0, 0, route.destination)
    network = netaddr.IPNetwork(route.destination)
    return (network.version, -network.prefixlen, network.first, route.origin)


def is_propagated(route: Route) -> bool:
    """Whether a gateway or a route server put the entry there. It is not ours to change. A table's own entry for the destination wins over it."""
    return route.origin in _PROPAGATED_ORIGINS


def entry(table: RouteTable, destination: str) -> Route | None:
    """The table's own entry for a destination."""
    return next((route for route in table.routes if route.destination == destination and not is_propagated(route)), None)


def may_replace(route: Route, wish: DesiredRoutes) -> bool:
    """Whether the wish includes an entry. An entry for a gateway, an endpoint or the like is included only where its table is named."""
    return wish.table_ids is not None or route.target.startswith(_MACHINES)


def left_alone(wish: DesiredRoutes, tables: Tables) -> tuple[Route, ...]:
    """The entries for the destinations that the wish does not include, see `may_replace`."""
    found = (entry(table, destination) for destination in wish.destinations for table in tables)
    return tuple(route for route in found if route is not None and not may_replace(route, wish))


def named(routes: Sequence[Route]) -> str:
    """Entries in words, for one line."""
    told = [f"{route.destination} in {route.route_table_id} ({route.target})" for route in routes[:_MOST_NAMED]]
    return ", ".join(told) + (f" and {len(routes) - _MOST_NAMED} more" if len(routes) > _MOST_NAMED else "")


def is_right(route: Route, wish: DesiredRoutes) -> bool:
    """Whether an entry leads to the wished target and can carry packets."""
    return route.target == wish.target and route.state is RouteState.ACTIVE


def plan_routes(wish: DesiredRoutes, tables: Tables) -> tuple[RouteAction, ...]:
    """The actions that are left; empty when all is right.

    Raises `NotFound` for entries that should be there, or if no table is, `BadInput` for a destination inside the VPC, `Refused` for
    a table of another VPC: all before anything is changed.
    """
    _check_tables(wish, tables)
    _check_outside(wish, tables)
    _check_replaceable(wish, tables)
    if wish.missing == "fail":
        _check_present(wish, tables)
    actions: list[RouteAction] = []
    for table in tables:
        for destination in wish.destinations:
            route = entry(table, destination)
            if route is None and wish.missing == "create":
                actions.append(CreateRoute(table.id, destination, wish.target))
            elif route is not None and may_replace(route, wish) and not is_right(route, wish):
                actions.append(ReplaceRoute(table.id, destination, wish.target))
    return tuple(actions)


def lost(wish: DesiredRoutes, tables: Tables) -> tuple[str, ...]:
    """The tables that are named and do not exist."""
    return tuple(sorted(set(wish.table_ids or ()) - {table.id for table in tables}))


def without_tables(ids: Sequence[str]) -> str:
    """That they do not exist, in one line."""
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    names = ", ".join(ids[:_MOST_NAMED]) + more
    return f"There is no route table {names} in this region and account; take it out of route_table_ids (route_tables of a resource), or check region"


def _check_tables(wish: DesiredRoutes, tables: Tables) -> None:
    gone = lost(wish, tables)
    if gone and not tables:
        raise NotFound(without_tables(gone), route_table_ids=list(gone))
    if not tables:
        raise NotFound(f"VPC {wish.vpc_id} has no route table, or these credentials do not see it; check vpc_id and region", vpc_id=wish.vpc_id)
    foreign = sorted(table.id for table in tables if wish.vpc_id and table.vpc_id != wish.vpc_id)
    if foreign:
        message = f"{', '.join(foreign)}: not a route table of {wish.vpc_id}, the VPC of {wish.target}; take it out of route_table_ids"
        raise Refused(message, route_table_ids=foreign)


def _check_outside(wish: DesiredRoutes, tables: Tables) -> None:
    """The VPC's networks are the destinations of its tables' local entries; EC2 always delivers those itself."""
    networks = {route.destination for table in tables for route in table.routes if route.target == "local" or route.origin == _LOCAL_ORIGIN}
    for destination in wish.destinations:
        for network in sorted(networks):
            if netaddr.IPNetwork(destination) in netaddr.IPNetwork(network):
                message = f"destinations: {destination} lies inside the VPC's own {network}; choose an address outside the VPC"
                raise BadInput(message, destination=destination)


def _check_replaceable(wish: DesiredRoutes, tables: Tables) -> None:
    """Raises `NotFound` where each entry for a destination is one to leave alone, and none will be added beside them."""
    left = left_alone(wish, tables)
    for destination in dict.fromkeys(route.destination for route in left):
        mine = [route for route in left if route.destination == destination]
        found = [table for table in tables if entry(table, destination) is not None]
        if len(mine) == len(tables if wish.missing == "create" else found) and wish.missing != "ignore":
            message = f"No entry for {destination} leads to a network interface: {named(mine)}; {HOW_TO_REPLACE}"
            raise NotFound(message, destination=destination)


def _check_present(wish: DesiredRoutes, tables: Tables) -> None:
    for destination in wish.destinations:
        without = [table.id for table in tables if entry(table, destination) is None]
        if wish.table_ids is None:
            if len(without) == len(tables):
                lists = any(route.is_prefix_list and route.target.startswith(_MACHINES) for table in tables for route in table.routes)
                hint = " (an entry whose destination is a prefix list does not count)" if lists else ""
                message = f"No route table of {tables[0].vpc_id} has an entry for {destination}{hint}; add one by hand, or set missing=create"
                raise NotFound(message, destination=destination)
        elif without:
            message = f"{', '.join(without)}: no entry for {destination}; add it by hand, or set missing=create or missing=ignore"
            raise NotFound(message, destination=destination)


def absent(wish: DesiredRoutes, tables: Tables) -> tuple[str, ...]:
    """The destinations for which no table has an entry."""
    return tuple(destination for destination in wish.destinations if all(entry(table, destination) is None for table in tables))


def simulate_routes(tables: Tables, actions: Sequence[RouteAction]) -> tuple[RouteTable, ...]:
    """The tables as they would be after ``actions``."""
    wanted = {(action.route_table_id, action.destination): action for action in actions}
    return tuple(_simulated(table, [action for (table_id, _destination), action in wanted.items() if table_id == table.id]) for table in tables)


def _simulated(table: RouteTable, actions: Sequence[RouteAction]) -> RouteTable:
    routes = list(table.routes)
    for action in actions:
        old = entry(table, action.destination)
        if old is None:
            routes.append(Route(table.id, action.destination, action.network_interface_id))
        else:
            routes[routes.index(old)] = replace(old, target=action.network_interface_id, state=RouteState.ACTIVE)
    return replace(table, routes=in_order(routes))


def routes_table(tables: Tables) -> str:
    """The tables as text for the diff, in the form of scenarios.md A. Entries that carry no packets are marked."""
    rows = [(table.id, route.destination, _target(route)) for table in tables for route in table.routes]
    return text_table(("table", "destination", "target"), rows)


def _target(route: Route) -> str:
    return route.target if route.state is RouteState.ACTIVE else f"{route.target} ({route.state.value})"
