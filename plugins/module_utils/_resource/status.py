# SPDX-License-Identifier: GPL-3.0-or-later
"""The status table: one line a resource and node, and under it what is wrong and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._model import text_table

_HEADER = ("RESOURCE", "NODE", "IN SERVICE", "ADDRESS", "INTERFACE", "BACKUP", "ROUTES", "SRC/DST CHECK", "ELASTIC IP", "HEALTH")


def status_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The table for entries as the status tasks of the role local_recovery gather them, with a line for each thing that is wrong.

    :param entries: What `ip_resource_info` returns for a resource, with ``node`` and ``ec2`` (``error``, ``routes``,
        ``source_dest_check``, ``elastic_ip``, ``elastic_ip_right``) added.
    """
    if not entries:
        return "No resource is known on any of these nodes; give holdfast_resources in the inventory.\n"
    ordered = sorted(entries, key=lambda entry: (str(entry["tag"]), not entry["in_service"], str(entry["node"])))
    return text_table(_HEADER, [_row(entry) for entry in ordered]) + "".join(_advice(entry) for entry in ordered)


def _row(entry: Mapping[str, Any]) -> list[str]:
    ec2 = entry["ec2"]
    return [
        str(entry["tag"]),
        str(entry["node"]),
        "yes" if entry["in_service"] else "no",
        str(entry["address"]),
        f"{entry['primary_interface']} ({entry['primary_state']})",
        str(entry["backup_interface"] or "none"),
        f"{len(_right(ec2))}/{len(ec2['routes'])}" if ec2["routes"] else "-",
        {True: "on", False: "off"}.get(ec2["source_dest_check"], "-"),
        _elastic_ip(ec2),
        _health(entry) if entry["in_service"] else "standby",
    ]


def _right(ec2: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [route for route in ec2["routes"] if route["before"] == route["after"]]


def _elastic_ip(ec2: Mapping[str, Any]) -> str:
    if not ec2["elastic_ip"]:
        return "-"
    return f"{ec2['elastic_ip']} ({'here' if ec2['elastic_ip_right'] else 'elsewhere'})"


def _health(entry: Mapping[str, Any]) -> str:
    return str(entry["health"]) if entry["health"] != "healthy" else _ec2_health(entry["ec2"])


def _ec2_health(ec2: Mapping[str, Any]) -> str:
    if ec2["error"]:
        return "unknown"
    return "failed" if _wrong(ec2) else "healthy"


def _wrong(ec2: Mapping[str, Any]) -> list[str]:
    wrong = [f"{route['destination']} in {route['route_table_id']} leads to {route['before']}" for route in ec2["routes"] if route not in _right(ec2)]
    if ec2["source_dest_check"]:
        wrong.append("the source/destination check is on")
    if ec2["elastic_ip"] and not ec2["elastic_ip_right"]:
        wrong.append(f"{ec2['elastic_ip']} is not associated with this node")
    return wrong


def _advice(entry: Mapping[str, Any]) -> str:
    if not entry["in_service"]:
        return ""
    causes = [*entry.get("reasons", ()), *_wrong(entry["ec2"])]
    lines = [f"{entry['tag']} on {entry['node']}: {cause}; run holdfast.ha.local_recovery --limit {entry['node']}\n" for cause in causes]
    if entry["ec2"]["error"]:
        lines.append(f"{entry['tag']} on {entry['node']}: EC2 could not be asked: {entry['ec2']['error']}\n")
    return "".join(lines)
