# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that an address stands, or does not stand, where it should. Pure (the layer rule, DESIGN.md section 2)."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import LONGEST_LABEL, Address, KernelRoute, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    Action,
    AddAddress,
    Announce,
    Bounce,
    CheckUnclaimed,
    RefreshAddress,
    RemoveAddress,
    SetUp,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.simulate import simulate
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import plan_removal, plan_source_route
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import (
    KERNEL_PROTOCOL,
    OUR_PROTOCOL,
    Desired,
    NetState,
    precedes_own,
    preferred_lft,
)

#: A lifetime is renewed when more than one part in so many has gone ...
_PARTS = 10
#: ... and more than this many seconds have gone: the kernel counts in whole ones.
_GRAIN = 1


def plan(desired: Desired, net: NetState, *, unclaimed: bool = False) -> tuple[Action, ...]:
    """The actions, in order, that make ``net`` as ``desired`` says; empty when it is.

    Order, safe to interrupt anywhere: first the link, then the question whether another host has the address (both fail before
    anything else has changed); the address leaves every other link before it is added (never on two links at once), and on its
    own link an IPv4 address with the wrong prefix length is removed only after the right one is there; then the neighbours are
    told; last the source route, which needs the address's network. On removal the address goes first, its source route after.
    An IPv4 address that came to its link before the node's own one goes and comes back, as the node's own would go with it.

    :param unclaimed: The link has already been asked whether another host has the address, and none has.
    :raises NotFound: No such link.
    :raises Refused: The link is not up and may not be brought up.
    """
    link = net.link(desired.interface)
    if not desired.present:
        return _plan_absent(desired, net, link)
    actions = _plan_link(desired, net, link)
    actions += _plan_address(desired, net, link, unclaimed)
    return (*actions, *plan_source_route(desired, simulate(net, tuple(actions))))


def is_right(desired: Desired, held: LinkAddress) -> bool:
    """Whether this is the wanted address in working order, whatever its lifetime."""
    return held.address == desired.address and not held.dadfailed


def is_fresh(wanted: int | None, left: int | None) -> bool:
    """Whether a lifetime of ``left`` seconds may stand where ``wanted`` is asked for (``None``: for ever)."""
    if wanted is None or left is None:
        return wanted is left
    return left <= wanted and wanted - left <= max(_GRAIN, wanted / _PARTS)


def _plan_absent(desired: Desired, net: NetState, link: Link) -> tuple[Action, ...]:
    here = [held for place, held in net.places(desired.address) if place == link]
    if any(place != link for place, _held in net.places(desired.address)):
        return tuple(removal(link, held, net) for held in here)  # what stands elsewhere, and its source route, is not ours
    return (*(removal(link, held, net) for held in here), *plan_removal(desired.address, net))


def _plan_link(desired: Desired, net: NetState, link: Link) -> list[Action]:
    if link.up or not desired.require_up:
        return []
    if not desired.bring_up:
        state = "down" if not link.admin_up else "up but has no carrier"
        raise Refused(f"{link.name} is {state}, and bring_up is false; bring it up, or let this module do so", interface=link.name)
    if not link.admin_up:
        return [SetUp(link.name, desired.leave_up)]
    return [
        Bounce(
            link.name,
            tuple(held for held in link.addresses if held.address.version == 6 and not held.dadfailed),
            tuple(route for route in net.routes if route.protocol != KERNEL_PROTOCOL and link.name in route.links),
        )
    ]


def _plan_address(desired: Desired, net: NetState, link: Link, unclaimed: bool) -> list[Action]:
    places = list(net.places(desired.address))
    elsewhere = [(place, held) for place, held in places if place != link]
    right = [held for place, held in places if place == link and is_right(desired, held)]
    wrong = [held for place, held in places if place == link and not is_right(desired, held)]
    actions: list[Action] = [removal(place, held, net) for place, held in elsewhere]
    removals: list[Action] = [removal(link, held, net) for held in wrong]
    if right:
        held = right[0]
        if precedes_own(link, held):
            actions.append(removal(link, held, net))
            actions.append(AddAddress(desired.address, link.name, desired.valid_lft, restore=foreign_routes_from(desired.address, net)))
        elif not (is_fresh(desired.valid_lft, held.valid_lft) and is_fresh(preferred_lft(held.address, desired.valid_lft), held.preferred_lft)):
            actions.append(RefreshAddress(desired.address, link.name, desired.valid_lft, held.noprefixroute, held.metric))
        return actions + removals
    ours_already = any(not held.dadfailed for _link, held in places)
    ask = desired.check_unique and link.arp and not ours_already
    if ask and not unclaimed:
        actions.insert(0, CheckUnclaimed(desired.address, link.name))
    lost = foreign_routes_from(desired.address, net) if elsewhere or (wrong and desired.address.version == 6) else ()
    actions += removals if desired.address.version == 6 else []  # the kernel holds an IPv6 address only once per link
    suffix = desired.label or next(filter(None, (label_suffix(place, held) for place, held in places)), None)
    actions.append(AddAddress(desired.address, link.name, desired.valid_lft, lost, label_on(link.name, suffix)))
    if desired.announce and link.arp:
        actions.append(Announce(desired.address, link.name, desired.announce))
    return actions + (removals if desired.address.version == 4 else [])


def label_suffix(link: Link, held: LinkAddress) -> str | None:
    """What follows the interface's name in the label of the address; ``None`` where nothing does."""
    label = held.label or ""
    return label[len(link.name) :] or None if label.startswith(link.name) else None


def label_on(interface: str, suffix: str | None) -> str | None:
    """The label of an address on that interface; ``None`` where it has none of its own, or it would be too long."""
    return f"{interface}{suffix}" if suffix and len(interface) + len(suffix) <= LONGEST_LABEL else None


def removal(link: Link, held: LinkAddress, net: NetState) -> RemoveAddress:
    """Remove one address and nothing with it: not its secondaries, not the foreign routes of the link."""
    siblings = [other for other in link.addresses if other != held and other.address.version == held.address.version]
    primary = held.address.version == 4 and not held.secondary
    secondaries = any(other.secondary and other.address.network == held.address.network for other in siblings)
    lost: tuple[KernelRoute, ...] = ()
    if held.address.version == 4 and not siblings:  # the kernel drops every IPv4 route of a link that loses its last address
        lost = tuple(route for route in _foreign(net, 4) if route.interface == link.name and route.prefsrc != held.address.host)
    return RemoveAddress(held.address, link.name, primary and secondaries and not link.promote_secondaries, lost)


def foreign_routes_from(address: Address, net: NetState) -> tuple[KernelRoute, ...]:
    """Foreign routes that name the address as their source: the kernel drops them with it."""
    return tuple(route for route in _foreign(net, address.version) if route.prefsrc == address.host)


def _foreign(net: NetState, version: int) -> list[KernelRoute]:
    return [route for route in net.routes if route.version == version and route.protocol not in (KERNEL_PROTOCOL, OUR_PROTOCOL)]
