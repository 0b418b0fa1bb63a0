# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the links, addresses, routes and rules of this host, through iproute2's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner, checked
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, Link, LinkAddress, parse_ip
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import KERNEL_PROTOCOL, MAIN_TABLE, OUR_PROTOCOL, NetState

#: The kernel's word for a lifetime without end.
_FOREVER = 2**32 - 1
#: With `ip -N` everything is a number (rtnetlink(7)), so that the host's own rt_tables and rt_protos do not matter.
_SCOPES = {"0": "global", "200": "site", "253": "link", "254": "host"}
_UNICAST = "1"
_LOCAL_TABLE = 255
_SETTINGS = Path("/proc/sys/net")
#: Whose routes are looked at: ours and the kernel's.
_ALWAYS = (OUR_PROTOCOL, KERNEL_PROTOCOL)
#: Whose routes are put back where an action drops them: those of persons and scripts, of router advertisements and of DHCP (rtnetlink(7)). Routing
#: daemons, which may have a million, put their own back.
_PUT_BACK = ("3", "4", "9", "16")


def observe(run: Runner, address: Address, interfaces: Iterable[str | None] = (), settings: Path = _SETTINGS) -> NetState:
    """Everything that a plan for the address needs, and no other route, as there may be a million.

    :param interfaces: The links to which it may be added: where one has no carrier, what would have to be put back on it is looked at too.
    :raises CommandFailed: `ip` is missing or fails.
    """
    links = NetState(observe_links(run, settings))
    dead = any(link.admin_up and not link.carrier for link in links.links if link.name in interfaces)
    protocols = _ALWAYS + (_PUT_BACK if dead or any(links.places(address)) else ())
    routes = [route for version in ((4, 6) if dead else (address.version,)) for route in _routes(run, version, protocols)]
    return NetState(links.links, tuple(routes), _rules(run, address.version))


def observe_links(run: Runner, settings: Path = _SETTINGS) -> tuple[Link, ...]:
    """The links with their addresses alone, by one program."""
    everywhere = flag_of(settings / "ipv4/conf/all/promote_secondaries")
    shown = _rows(checked(run, ["ip", "-N", "-j", "-d", "address", "show"]))
    return tuple(_link(row, everywhere or flag_of(settings / "ipv4/conf" / str(row["ifname"]) / "promote_secondaries")) for row in shown)


def flag_of(path: Path | str) -> bool:
    """Whether a switch of the kernel is on."""
    try:
        with open(path, "rb") as file:
            return file.read(16).strip() != b"0"
    except OSError:
        return False


def _rows(text: str) -> list[Mapping[str, Any]]:
    """The objects of an `ip -j` answer; it prints empty ones for what it filtered out."""
    try:
        return [row for row in json.loads(text or "[]") if row]
    except ValueError:
        raise CommandFailed("`ip -j` printed no JSON; iproute2 5.2 or newer is needed") from None


def _link(row: Mapping[str, Any], promote: bool) -> Link:
    flags = set(row.get("flags", ()))
    return Link(
        name=str(row["ifname"]),
        index=int(row["ifindex"]),
        mac=str(row.get("address", "")).lower(),
        admin_up="UP" in flags,
        carrier="LOWER_UP" in flags,
        kind=str(row.get("linkinfo", {}).get("info_kind", "")),
        master=row.get("master"),
        loopback="LOOPBACK" in flags,
        arp=not flags & {"LOOPBACK", "NOARP"},
        promote_secondaries=promote,
        addresses=tuple(_address(info) for info in row.get("addr_info", ()) if info.get("family") in ("inet", "inet6") and "local" in info),
    )


def _address(info: Mapping[str, Any]) -> LinkAddress:
    scope = str(info.get("scope", "0"))
    return LinkAddress(
        address=Address(parse_ip(str(info["local"]), "ip address"), int(info["prefixlen"])),
        valid_lft=_lifetime(info.get("valid_life_time")),
        preferred_lft=_lifetime(info.get("preferred_life_time")),
        secondary=info["family"] == "inet" and bool(info.get("secondary")),
        tentative=bool(info.get("tentative")),
        dadfailed=bool(info.get("dadfailed")),
        dynamic=bool(info.get("dynamic")),
        noprefixroute=bool(info.get("noprefixroute")),
        scope=_SCOPES.get(scope, scope),
        label=info.get("label"),
        broadcast=info.get("broadcast"),
        metric=info.get("metric"),
    )


def _lifetime(seconds: int | None) -> int | None:
    return None if seconds is None or seconds == _FOREVER else int(seconds)


def _routes(run: Runner, version: int, protocols: Iterable[str]) -> tuple[KernelRoute, ...]:
    """The default routes, and all that were made by these; the kernel selects the latter itself, so it costs nothing that there are others."""
    rows = [row for row in _routing(run, version, "route show table all default") if str(row.get("protocol", "")) not in protocols]
    for protocol in protocols:
        found = _routing(run, version, f"route show table all protocol {protocol}")
        rows += [{**row, "protocol": protocol} for row in found]  # which is not told where it was asked for
    return tuple(_route(row, version) for row in rows if str(row.get("type", _UNICAST)) == _UNICAST and _table(row) != _LOCAL_TABLE)


def _rules(run: Runner, version: int) -> tuple[KernelRule, ...]:
    return tuple(_rule(row, version) for row in _routing(run, version, "rule show"))


def _routing(run: Runner, version: int, question: str) -> list[Mapping[str, Any]]:
    done = run(["ip", f"-{version}", "-N", "-j", "-d", *question.split()])
    if done.rc != 0:
        _tolerate_missing_ipv6(version, question, done.stderr)
        return []
    return _rows(done.stdout)


def _tolerate_missing_ipv6(version: int, question: str, stderr: str) -> None:
    """A kernel started with ipv6.disable=1 has no IPv6 tables to show."""
    if version == 4:
        raise CommandFailed(f"`ip {question}` failed: {stderr.strip() or 'no reason given'}", stderr=stderr)


def _table(row: Mapping[str, Any]) -> int:
    table = str(row.get("table", MAIN_TABLE))
    return int(table) if table.isdigit() else {"local": 255, "main": 254, "default": 253}.get(table, 0)


def _route(row: Mapping[str, Any], version: int) -> KernelRoute:
    flags, hops = row.get("flags", ()), row.get("nexthops", ())
    scope = row.get("scope") if version == 4 else None
    return KernelRoute(
        destination=str(row["dst"]),
        interface=row.get("dev"),
        gateway=row.get("gateway"),
        table=_table(row),
        protocol=str(row.get("protocol", "")),
        metric=row.get("metric"),
        scope=None if scope is None else str(scope),
        prefsrc=row.get("prefsrc"),
        linkdown="linkdown" in flags or "dead" in flags,
        version=version,
        words=tuple(_words(row)),
        hops=tuple((str(hop["dev"]), hop.get("gateway")) for hop in hops if "dev" in hop),
    )


def _words(row: Mapping[str, Any]) -> Iterable[str]:
    if "via" in row:
        yield from ("via", str(row["via"]["family"]), str(row["via"]["host"]))
    if "onlink" in row.get("flags", ()):
        yield "onlink"
    for metrics in row.get("metrics", ()):
        for name, value in metrics.items():
            yield from (str(name), str(value))
    if "expires" in row:
        yield from ("expires", str(row["expires"]))
    if row.get("pref", "medium") != "medium":
        yield from ("pref", str(row["pref"]))
    for hop in row.get("nexthops", ()):
        yield from _hop_words(hop)


def _hop_words(hop: Mapping[str, Any]) -> Iterable[str]:
    yield "nexthop"
    if "gateway" in hop:
        yield from ("via", str(hop["gateway"]))
    elif "via" in hop:
        yield from ("via", str(hop["via"]["family"]), str(hop["via"]["host"]))
    yield from ("dev", str(hop["dev"]))
    yield from ("weight", str(hop.get("weight", 1)))
    if "onlink" in hop.get("flags", ()):
        yield "onlink"


def _rule(row: Mapping[str, Any], version: int) -> KernelRule:
    width = 32 if version == 4 else 128
    source = str(row.get("src", "all"))
    if int(row.get("srclen", width)) != width:
        source += f"/{row['srclen']}"
    return KernelRule(
        priority=int(row["priority"]),
        source=source,
        table=_table(row) if "table" in row else 0,
        protocol=str(row.get("protocol", "")),
        version=version,
        plain=set(row) <= {"priority", "src", "srclen", "table", "protocol"},
    )
