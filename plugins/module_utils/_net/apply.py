# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out what a plan says, with iproute2 and raw sockets: in order, and no further than the first error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner, checked
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed, HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net import frames
from ansible_collections.holdfast.ha.plugins.module_utils._net.actions import (
    Action,
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
from ansible_collections.holdfast.ha.plugins.module_utils._net.events import LINK, wait_until
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState, network_metric, network_route, preferred_lft

#: Seconds: a copper link negotiates in two to three; the partner of a bounced link must see it go.
_CARRIER_WAIT, _HOLD_DOWN = 4.0, 0.2
#: What `ip` says where the thing to be deleted has gone by itself.
_GONE = ("No such process", "No such file or directory", "Cannot assign requested address", "Cannot find device")


@dataclass(frozen=True)
class Kernel:
    """How this host's network is reached. ``pause`` waits so many seconds; ``settings`` is where the kernel's switches are.

    ``look`` tells the links in a quicker way than `ip` does, where there is one.
    """

    run: Runner
    pause: Callable[[float], None] = time.sleep
    settings: Path = Path("/proc/sys/net")
    look: Callable[[], tuple[Link, ...]] | None = None

    def links(self) -> NetState:
        """Links and addresses alone."""
        return NetState(self.look() if self.look is not None else observe_links(self.run, self.settings))

    def ip(self, *words: str) -> None:
        """`ip WORDS`; `CommandFailed` when it reports failure."""
        checked(self.run, ["ip", *words])


def apply(actions: tuple[Action, ...], kernel: Kernel) -> tuple[Attempt[Action], ...]:
    """An attempt for each action begun; only the last can have failed. An action that fails leaves nothing half done behind."""
    attempts: list[Attempt[Action]] = []
    for action in actions:
        try:
            _DOING[type(action)](action, kernel)
        except HoldfastError as error:
            return (*attempts, Attempt(action, error))
        attempts.append(Attempt(action))
    return tuple(attempts)


def claimed_by(address: Address, interface: str, net: NetState) -> None:
    """Raise `Refused` when another host on the link has the address. Takes 0.3 s."""
    mac = frames.find_claimant(address, net.link(interface), [link.mac for link in net.links])
    if mac is not None:
        raise Refused(
            f"{address.host} is in use by {mac} on {interface}. Find the host with this MAC address, and remove the address from it.",
            mac=mac,
            interface=interface,
        )


def _set_up(action: SetUp, kernel: Kernel) -> None:
    kernel.ip("link", "set", "dev", action.interface, "up")
    try:
        _await_carrier(action.interface, kernel)
    except NotConverged:
        if not action.stays:
            kernel.ip("link", "set", "dev", action.interface, "down")
        raise


def _bounce(action: Bounce, kernel: Kernel) -> None:
    kernel.ip("link", "set", "dev", action.interface, "down")
    try:
        kernel.pause(_HOLD_DOWN)
    finally:  # also when interrupted: a link that was on does not stay off
        kernel.ip("link", "set", "dev", action.interface, "up")
    try:
        _await_carrier(action.interface, kernel, f"{action.interface} has no carrier, also after it was set down and up once")
    finally:
        lost = _put_back(action, kernel)
    if lost:
        raise CommandFailed(f"{action.interface} was set down and up, and not all of it could be put back: {'; '.join(lost)}")


def _put_back(action: Bounce, kernel: Kernel) -> list[str]:
    wanted = [_address_words("replace", held, action.interface) for held in action.addresses]
    wanted += [_route_words("replace", route) for route in action.routes]
    return [error for error in (_attempt(words, kernel) for words in wanted) if error]


def _attempt(words: Iterable[str], kernel: Kernel) -> str | None:
    try:
        kernel.ip(*words)
    except CommandFailed as error:
        return error.message
    return None


def _await_carrier(interface: str, kernel: Kernel, failure: str | None = None) -> None:
    def look() -> Link | None:
        link = kernel.links().link(interface)
        return link if link.up else None

    if wait_until(look, LINK, _CARRIER_WAIT) is None:
        cause = failure or f"{interface} was set up and has no carrier"
        raise NotConverged(f"{cause}; see to its cable, its other end or the link below it", interface=interface)


def _check_unclaimed(action: CheckUnclaimed, kernel: Kernel) -> None:
    claimed_by(action.address, action.interface, kernel.links())


def _add(action: AddAddress, kernel: Kernel) -> None:
    lifetime = action.valid_lft
    _give("replace", action, kernel, LinkAddress(action.address, lifetime, preferred_lft(action.address, lifetime), label=action.label))
    for route in action.restore:
        _attempt(_route_words("replace", route), kernel)


def _refresh(action: RefreshAddress, kernel: Kernel) -> None:
    lifetime = action.valid_lft
    held = LinkAddress(action.address, lifetime, preferred_lft(action.address, lifetime), noprefixroute=action.noprefixroute, metric=action.metric)
    _give("change", action, kernel, held, detect=True)


def _give(verb: str, action: AddAddress | RefreshAddress, kernel: Kernel, held: LinkAddress, *, detect: bool = False) -> None:
    """The address, and the route to its network, so that the node's own connections use neither. As `lifetime.set_lifetime` does."""
    address, lifetime = action.address, action.valid_lft
    if address.version == 4:
        held = replace(held, metric=held.metric or network_metric(address))
    else:
        held = replace(held, noprefixroute=True, metric=None)
    kernel.ip(*_address_words(verb, held, action.interface, detect=detect))
    route = network_route(address, action.interface, lifetime)
    if route is not None:
        kernel.ip(*_route_words("replace", route))


def _remove(action: RemoveAddress, kernel: Kernel) -> None:
    switch = kernel.settings / "ipv4/conf" / action.interface / "promote_secondaries"
    if action.promote:
        _write(switch, "1")
    try:
        _gone_or(kernel, "address", "del", str(action.address), "dev", action.interface)
    finally:
        if action.promote:
            _write(switch, "0")
    route = network_route(action.address, action.interface)
    if route is not None:
        _gone_or(kernel, *_route_words("del", route))
    for route in action.restore:
        _attempt(_route_words("replace", route), kernel)  # one that needed the address's own network cannot come back


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}; run this as root (become: true)") from None


def _announce(action: Announce, kernel: Kernel) -> None:
    frames.announce(action.address, kernel.links().link(action.interface), action.count, kernel.pause)


def _gone_or(kernel: Kernel, *words: str) -> None:
    done = kernel.run(["ip", *words])
    if done.rc != 0 and not any(cause in done.stderr for cause in _GONE):
        checked(lambda argv: done, ["ip", *words])


def _address_words(verb: str, held: LinkAddress, interface: str, *, detect: bool = False) -> list[str]:
    words = ["address", verb, str(held.address), "dev", interface]
    if held.address.version == 4 and held.address.prefixlen < 31:
        words += ["broadcast", "+"]
    if held.label is not None:
        words += ["label", held.label]
    if held.scope != "global":
        words += ["scope", held.scope]
    for name, seconds in (("valid_lft", held.valid_lft), ("preferred_lft", held.preferred_lft)):
        words += [name, "forever" if seconds is None else str(seconds)]
    if held.metric is not None:
        words += ["metric", str(held.metric)]
    if held.noprefixroute:
        words.append("noprefixroute")
    return words + (["nodad"] if held.address.version == 6 and not detect else [])


def _route_words(verb: str, route: KernelRoute) -> list[str]:
    words = [f"-{route.version}", "route", verb, route.destination]
    for name, value in (("via", route.gateway), ("dev", route.interface), ("table", route.table), ("protocol", route.protocol or None)):
        words += [] if value is None else [name, str(value)]
    for name, value in (("metric", route.metric), ("scope", route.scope), ("src", route.prefsrc)):
        words += [] if value is None else [name, str(value)]
    return [*words, *route.words]


def _rule_words(verb: str, rule: KernelRule) -> list[str]:
    words = [f"-{rule.version}", "rule", verb, "from", rule.source, "lookup", str(rule.table), "priority", str(rule.priority)]
    return words + (["protocol", rule.protocol] if rule.protocol else [])


def _add_route(action: AddRoute, kernel: Kernel) -> None:
    kernel.ip(*_route_words("replace", action.route))


def _delete_route(action: DeleteRoute, kernel: Kernel) -> None:
    _gone_or(kernel, *_route_words("del", action.route))


def _add_rule(action: AddRule, kernel: Kernel) -> None:
    kernel.ip(*_rule_words("add", action.rule))


def _delete_rule(action: DeleteRule, kernel: Kernel) -> None:
    _gone_or(kernel, *_rule_words("del", action.rule))


_DOING: dict[type, Callable[[Any, Kernel], None]] = {
    SetUp: _set_up,
    Bounce: _bounce,
    CheckUnclaimed: _check_unclaimed,
    AddAddress: _add,
    RefreshAddress: _refresh,
    RemoveAddress: _remove,
    Announce: _announce,
    AddRoute: _add_route,
    DeleteRoute: _delete_route,
    AddRule: _add_rule,
    DeleteRule: _delete_rule,
}
