# SPDX-License-Identifier: GPL-3.0-or-later
"""The network as it would be after some actions. Pure; used by check mode, by plans that build on earlier steps, and by tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    Action,
    AddAddress,
    AddRoute,
    AddRule,
    Bounce,
    DeleteRoute,
    DeleteRule,
    RefreshAddress,
    RemoveAddress,
    SetUp,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState, network_metric, preferred_lft


def simulate(net: NetState, actions: tuple[Action, ...]) -> NetState:
    """``net`` after ``actions``, all of which succeed. Routes that the kernel adds and drops by itself are left as they are."""
    for action in actions:
        net = _step(net, action)
    return net


def _step(net: NetState, action: Action) -> NetState:
    if isinstance(action, (SetUp, Bounce)):
        return _on(net, action.interface, lambda link: replace(link, admin_up=True, carrier=True))
    if isinstance(action, AddAddress):
        return _on(net, action.interface, lambda link: _added(link, action))
    if isinstance(action, RefreshAddress):
        return _on(net, action.interface, lambda link: _refreshed(link, action))
    if isinstance(action, RemoveAddress):
        return _on(net, action.interface, lambda link: _removed(link, action))
    if isinstance(action, AddRoute):
        new = action.route
        kept = (r for r in net.routes if (r.destination, r.table, r.version, r.metric) != (new.destination, new.table, new.version, new.metric))
        return replace(net, routes=(*kept, new))
    if isinstance(action, DeleteRoute):
        return replace(net, routes=tuple(route for route in net.routes if route != action.route))
    if isinstance(action, AddRule):
        return replace(net, rules=(*net.rules, action.rule))
    if isinstance(action, DeleteRule):
        return replace(net, rules=tuple(rule for rule in net.rules if rule != action.rule))
    return net  # asking and announcing change nothing here


def _on(net: NetState, name: str, change: Callable[[Link], Link]) -> NetState:
    return replace(net, links=tuple(change(link) if link.name == name else link for link in net.links))


def _added(link: Link, action: AddAddress) -> Link:
    same = [held for held in link.addresses if held.address.network == action.address.network and held.address != action.address]
    new = LinkAddress(
        action.address,
        action.valid_lft,
        preferred_lft(action.address, action.valid_lft),
        secondary=action.address.version == 4 and any(not held.secondary for held in same),
        dynamic=action.valid_lft is not None,
        label=action.label,
        metric=network_metric(action.address),
    )
    kept = tuple(held for held in link.addresses if held.address != action.address)
    return replace(link, addresses=(*kept, new))


def _refreshed(link: Link, action: RefreshAddress) -> Link:
    def renewed(held: LinkAddress) -> LinkAddress:
        if held.address != action.address:
            return held
        preferred = preferred_lft(held.address, action.valid_lft)
        return replace(held, valid_lft=action.valid_lft, preferred_lft=preferred, dynamic=action.valid_lft is not None)

    return replace(link, addresses=tuple(renewed(held) for held in link.addresses))


def _removed(link: Link, action: RemoveAddress) -> Link:
    gone = next((held for held in link.addresses if held.address == action.address), None)
    kept = [held for held in link.addresses if held.address != action.address]
    if gone is None or gone.secondary or gone.address.version == 6:
        return replace(link, addresses=tuple(kept))
    family = [held for held in kept if held.secondary and held.address.network == action.address.network]
    if not (action.promote or link.promote_secondaries):
        kept = [held for held in kept if held not in family]
    elif family:
        kept[kept.index(family[0])] = replace(family[0], secondary=False)
    return replace(link, addresses=tuple(kept))
