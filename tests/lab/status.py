# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab looks like now, as tables that a person can read. `describe` asks; `render` is pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lab.place import Place

if TYPE_CHECKING:
    from lab.vpc import Lab

#: With more tables than this only those in use and those that differ from the first are shown.
_MANY = 12


def describe(lab: Lab) -> dict[str, Any]:
    """Everything that `render` shows, ready for JSON."""
    owners = _owners(lab.place)
    faults = [f"api: {one['kind']} {one['action']}" for one in lab.control.faults.listed()]
    faults += [f"metadata of {node.name}: {node.imds.fault}" for node in lab.nodes if node.imds is not None and node.imds.fault]
    faults += [f"no carrier: {owners.get(interface, interface)}" for interface in sorted(lab.router.dead)]
    calls = [call for call in lab.control.calls.all() if call.source != "127.0.0.1"]  # not this process's own
    return {
        "prefix": lab.prefix,
        "vips": [lab.place.vip, lab.place.vip6],
        "interfaces": [row for node in lab.machines.values() for row in _interfaces(lab, node.name)],
        "routes": _routes(lab, owners),
        "elastic_ips": [[one.public_ip, owners.get(one.network_interface_id or "", "-"), one.private_ip or "-"] for one in lab.view.elastic_ips],
        "calls": {"all": len(calls), "mutating": sum(call.mutating for call in calls)},
        "faults": faults,
    }


def _owners(place: Place) -> dict[str, str]:
    return {one.id: f"{machine.name} {one.link}" for machine in place.machines for one in machine.interfaces}


def _interfaces(lab: Lab, name: str) -> list[list[str]]:
    """Rows of: machine, link, its state, interface, source/dest check, addresses."""
    node = lab.machines[name]
    states = {link["ifname"]: link for link in json.loads(node.namespace.ip("-j addr"))}
    checks = {one.id: one.source_dest_check for one in lab.view.interfaces}
    rows = []
    for interface in node.place.interfaces:
        link = states.get(interface.link, {"operstate": "gone", "addr_info": []})
        held = [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"]
        state = "no carrier" if "NO-CARRIER" in link.get("flags", ()) else link["operstate"].lower()
        rows.append([name, interface.link, state, interface.id, "on" if checks.get(interface.id) else "off", " ".join(held) or "-"])
    return rows


def _routes(lab: Lab, owners: Mapping[str, str]) -> list[list[str]]:
    """Rows of: route table's name, id, destination, target, state, for the virtual addresses."""
    rows = []
    names = {table: name for name, table in lab.place.route_tables}
    for table, destination, target, state in _entries(lab):
        if table in names and destination in (lab.place.vip, lab.place.vip6):
            rows.append([names[table], table, destination, owners.get(target, target), state])
    return rows


def _entries(lab: Lab) -> Iterator[tuple[str, str, str, str]]:
    """Every route: of the subnets' tables from the picture of the VPC; of the others from EC2, unless EC2 is made to fail just now."""
    used = {subnet.route_table_id for subnet in lab.view.subnets}
    for subnet in lab.view.subnets:
        yield from ((subnet.route_table_id, route.destination, route.target, route.state) for route in subnet.routes)
    if lab.control.faults.listed() or len(lab.place.route_tables) == len(used):
        return
    pages = lab.ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": [lab.place.vpc_id]}])
    for table in (one for page in pages for one in page["RouteTables"] if one["RouteTableId"] not in used):
        for route in table["Routes"]:
            destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock") or "-"
            yield table["RouteTableId"], destination, route.get("NetworkInterfaceId") or route.get("GatewayId") or "-", route["State"]


def holders(view_of: Mapping[str, Any]) -> list[str]:
    """A line per virtual address: where it is."""
    lines = []
    for vip in view_of["vips"]:
        plain = vip.partition("/")[0]
        places = [f"{row[0]} {row[1]}" for row in view_of["interfaces"] if any(one.partition("/")[0] == plain for one in row[5].split())]
        lines.append(f"{vip} is on {', '.join(places) if places else 'no node'}")
    return lines


def render(told: Mapping[str, Any]) -> str:
    """The tables."""
    routes = told["routes"]
    if len(routes) > 2 * _MANY:
        usual = {(row[2], row[3], row[4]) for row in routes[:2]}
        shown = [row for row in routes if not row[0].startswith("extra-") or (row[2], row[3], row[4]) not in usual]
        note = [f"and {len(routes) - len(shown)} entries of other tables like the first"] if len(shown) < len(routes) else []
    else:
        shown, note = routes, []
    parts = [
        "\n".join(holders(told)),
        table(("MACHINE", "LINK", "STATE", "INTERFACE", "SRC/DST CHECK", "ADDRESSES"), told["interfaces"]),
        "\n".join([table(("ROUTE TABLE", "ID", "DESTINATION", "TARGET", "STATE"), shown), *note]),
        table(("ELASTIC IP", "INTERFACE", "PRIVATE ADDRESS"), told["elastic_ips"]),
        f"API calls by the machines: {told['calls']['all']}, of which {told['calls']['mutating']} asked for a change",
        "Faults: " + ("; ".join(told["faults"]) or "none"),
    ]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (head, *rows))
