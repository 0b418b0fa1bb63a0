# SPDX-License-Identifier: GPL-3.0-or-later
"""Route entries that lead to one network interface: what `converge` drives for ec2_route_target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, PartlyMissing
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Route, RouteState
from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe, plan
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import Parallel, write_route
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import DesiredRoutes, RouteAction, Tables


class RouteTargets:
    """The reconciler of `DesiredRoutes`.

    :param client: See `ec2_client`.
    :param wish: What should be.
    :param warn: Tells the user something that is no error.
    """

    def __init__(self, client: Any, wish: DesiredRoutes, warn: Callable[[str], None] = lambda text: None) -> None:
        self._client = client
        self._wish = wish
        self._warn = warn
        self._write: Parallel[RouteAction] = Parallel(lambda action: write_route(client, action))

    def observe(self) -> Tables:
        if self._wish.vpc_id is None and self._wish.table_ids is None:  # once: an interface stays in its VPC
            self._wish = replace(self._wish, vpc_id=observe.network_interface(self._client, self._wish.target).vpc_id)
        return observe.route_tables(self._client, vpc_id=self._wish.vpc_id, ids=self._wish.table_ids)

    def plan(self, state: Tables) -> tuple[RouteAction, ...]:
        return plan.plan_routes(self._wish, state)

    def simulate(self, state: Tables, actions: tuple[RouteAction, ...]) -> Tables:
        return plan.simulate_routes(state, actions)

    def apply(self, actions: tuple[RouteAction, ...]) -> tuple[Attempt[RouteAction], ...]:
        return self._write(actions)

    def unseen(self, state: Tables, action: RouteAction) -> HoldfastError | None:
        """Why a write that was accepted does not show, where ``state`` tells it."""
        table = next((table for table in state if table.id == action.route_table_id), None)
        route = plan.entry(table, action.destination) if table else None
        if route is None or route.target != action.network_interface_id or route.state is not RouteState.BLACKHOLE:
            return None
        return NotConverged(
            f"{action.route_table_id}: {action.destination} leads to {action.network_interface_id} and is a black hole all the same: "
            "that interface is not attached to a running instance; attach it, or start the instance"
        )

    def lacking(self, state: Tables) -> tuple[HoldfastError, ...]:
        """That tables do not exist which are named: the others are attended to all the same."""
        gone = plan.lost(self._wish, state)
        return (PartlyMissing(plan.without_tables(gone), route_table_ids=list(gone)),) if gone else ()

    def table(self, state: Tables) -> str:
        return plan.routes_table(state)

    def result(self, run: Run[Tables, RouteAction]) -> dict[str, object]:
        for destination in plan.absent(self._wish, run.after):
            if self._wish.missing == "ignore":
                self._warn(f"No route table has an entry for {destination}, so nothing leads there; set missing=create to add one")
        left = plan.left_alone(self._wish, run.after)
        if left:
            self._warn(f"Left unchanged, since it leads to no network interface: {plan.named(left)}; {plan.HOW_TO_REPLACE}")
        return {"routes": rows(run.before, run.after, run.errors)}


def rows(before: Tables, after: Tables, errors: Mapping[RouteAction, HoldfastError]) -> list[dict[str, object]]:
    """Every entry of every table, by table id and then as `plan.in_order` has it; ``None`` where there was or is no such entry."""
    old, new = _entries(before), _entries(after)
    causes = {(action.route_table_id, action.destination, False): error.message for action, error in errors.items()}
    lost = {key: Route(key[0], key[1], "none") for key in causes}
    known = {**lost, **old, **new}
    in_table_order = sorted(plan.in_order(known.values()), key=lambda route: route.route_table_id)
    return [
        {
            "route_table_id": key[0],
            "destination": key[1],
            "before": old[key].target if key in old else None,
            "after": new[key].target if key in new else None,
            "error": causes.get(key),
        }
        for key in map(_key, in_table_order)
    ]


_Key = tuple[str, str, bool]


def _key(route: Route) -> _Key:
    return (route.route_table_id, route.destination, plan.is_propagated(route))


def _entries(tables: Tables) -> dict[_Key, Route]:
    return {_key(route): route for table in tables for route in table.routes}
