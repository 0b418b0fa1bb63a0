# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about the resource that can go wrong, as rows that can be compared: before and after in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.vpc import Lab

KINDS = ("route", "check", "elastic ip", "address")
#: kind, what of that kind (table and destination, interface, ...)
Subject = tuple[str, str]


def take(lab: Lab) -> dict[Subject, str]:
    """How things are: from the control plane and from the nodes' kernels, never from what the playbook says."""
    owners = {one.id: f"{one.id} ({machine.name} {one.link})" for machine in lab.place.machines for one in machine.interfaces}
    found: dict[Subject, str] = {}
    names = {table: name for name, table in lab.place.route_tables}
    for subnet in sorted(lab.view.subnets, key=lambda one: list(names).index(one.route_table_id)):
        for route in subnet.routes:
            if ":" not in route.destination:  # the demonstration's resource is IPv4
                dead = " BLACKHOLE" if route.state == "blackhole" else ""
                found["route", f"{names[subnet.route_table_id]:9} {route.destination}"] = owners.get(route.target, route.target) + dead
    for one in lab.view.interfaces:
        if one.id in owners:
            found["check", owners[one.id]] = "on" if one.source_dest_check else "off"
    for eip in lab.view.elastic_ips:
        found["elastic ip", eip.public_ip] = owners.get(eip.network_interface_id or "", "-")
    for node in lab.nodes:
        for interface in node.place.interfaces:
            held = [cidr for link, cidr in node.addresses() if link == interface.link and ":" not in cidr]
            found["address", f"{node.name} {interface.link}"] = f"{_link(lab, node.name, interface.link)}: {' '.join(held) or 'no address'}"
    return found


def _link(lab: Lab, node: str, link: str) -> str:
    words = lab.namespace(node).ip(f"-o link show dev {link}").split()
    flags = words[2].strip("<>").split(",")
    if "UP" not in flags:
        return "down"
    return "no carrier" if "NO-CARRIER" in flags else "up"


def compare(before: Mapping[Subject, str], after: Mapping[Subject, str], kinds: Sequence[str]) -> list[str]:
    """The rows of these kinds, and every other row that differs, as the lines of a table; what was repaired is marked."""
    subjects = [one for one in dict.fromkeys([*before, *after]) if one[0] in kinds or before.get(one) != after.get(one)]
    rows = [("", "what", "before", "after", "")]
    previous: str | None = None
    for kind, subject in sorted(subjects, key=lambda one: KINDS.index(one[0])):
        old, new = before.get((kind, subject), "-"), after.get((kind, subject), "-")
        rows.append((kind if kind != previous else "", subject, old, new, "<- changed" if old != new else ""))
        previous = kind
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]).rstrip() for row in rows]
