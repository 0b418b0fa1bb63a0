# SPDX-License-Identifier: GPL-3.0-or-later
"""Put an address back where it was. Pure."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    Action,
    AddAddress,
    AddRoute,
    AddRule,
    Announce,
    DeleteRoute,
    DeleteRule,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.plan import foreign_routes_from, removal
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import own_routes, own_rules
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState


def plan_back(address: Address, before: NetState, now: NetState, announcements: int) -> tuple[Action, ...]:
    """The actions that give the address the places and the source route in ``now`` that it had in ``before``; empty when it has.

    The link's own state is not looked at: the address goes back to a dead link too. Order as in `plan.plan`: it leaves where
    it should not be before it is added, and the rule of a source route is there before its routes and after them.
    """
    was = [(link.name, held) for link, held in before.places(address)]
    there = {(link.name, held.address) for link, held in now.places(address)}
    back = [(name, held) for name, held in was if (name, held.address) not in there]
    actions: list[Action] = [
        removal(link, held, now) for link, held in now.places(address) if (link.name, held.address) not in {(name, old.address) for name, old in was}
    ]
    for name, held in back:
        label = held.label if held.label != name else None
        actions.append(AddAddress(held.address, name, held.valid_lft, foreign_routes_from(address, before), label))
        link = before.find(name)
        if announcements and link is not None and link.arp:
            actions.append(Announce(held.address, name, announcements))
    return (*actions, *_source_route_back(address, before, now, relinked={name for name, _held in back}))


def _source_route_back(address: Address, before: NetState, now: NetState, relinked: set[str]) -> list[Action]:
    """A route by a link that just got its address back is added again even if it was seen: the kernel may have dropped it since."""
    rules, rules_now = own_rules(address, before), own_rules(address, now)
    routes, routes_now = _routes(rules, before), _routes(rules_now, now)
    actions: list[Action] = [AddRule(rule) for rule in rules if rule not in rules_now]
    actions += [AddRoute(route) for route in routes if route not in routes_now or route.interface in relinked]
    actions += [DeleteRoute(route) for route in routes_now if route not in routes]
    return [*actions, *(DeleteRule(rule) for rule in rules_now if rule not in rules)]


def _routes(rules: list[KernelRule], net: NetState) -> list[KernelRoute]:
    return [route for rule in rules for route in own_routes(rule, net)]
