# SPDX-License-Identifier: GPL-3.0-or-later
"""The status table: one line a resource and node, and under it what is wrong and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table

#: What only a checker knows is left out where no node has one.
_FROM_CHECKERS = ("CHECKER", "HOLDER", "EPOCH", "DEPENDENTS")
#: What is left out first where the table is too wide.
_DISPENSABLE = ("DEPENDENTS", "EPOCH", "BACKUP", "HOLDER")
_HEADER = ("RESOURCE", "NODE", "IN SERVICE", "CHECKER", "HOLDER", "EPOCH", "ADDRESS", "INTERFACE", "BACKUP", "ROUTES", "SRC/DST CHECK", "ELASTIC IP",
           "DEPENDENTS", "HEALTH")  # fmt: skip
#: States of a dependent that is as it should be on the active node.
RUNNING = ("active", "running", "started", "ok")


def status_entries(status: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """An entry for `status_table` for each resource in what `checker_info` returns as ``status``; none where no checker runs."""
    return [_entry(str((status or {}).get("node")), one) for one in (status or {}).get("resources", ())]


def _entry(node: str, one: Mapping[str, Any]) -> dict[str, Any]:
    ec2 = one.get("ec2") or {}
    return {
        "tag": one["tag"],
        "node": node,
        "in_service": bool(one.get("held") or one.get("role") == "active"),
        "address": one.get("address") or "-",
        "primary_interface": one.get("interface") or "-",
        "primary_state": {True: "up", False: "down"}.get(one.get("interface_up", "")),
        "backup_interface": one.get("backup_interface"),
        "health": one.get("health") or "unknown",
        "reasons": list(dict.fromkeys(str(reason) for reason in [*(one.get("reasons") or ()), one.get("error")] if reason)),
        "ec2": {
            "error": ec2.get("error") or "",
            "routes": [],
            "routes_right": ec2.get("routes_right"),
            "routes_total": ec2.get("routes_total"),
            "source_dest_check": ec2.get("source_dest_check"),
            "elastic_ip": ec2.get("elastic_ip"),
            "elastic_ip_right": ec2.get("elastic_ip_right"),
        },
        "checker": {
            "phase": "paused" if one.get("paused") else one.get("phase") or "-",
            "holder": {None: "?", "": "nobody"}.get(one.get("holder"), one.get("holder")),
            "epoch": one.get("epoch"),
            "dependents": one.get("dependents") or [],
            "advice": one.get("advice") or "",
            "ready": one.get("ready", True),
            "ready_reason": one.get("ready_reason") or "",
        },
    }


def status_table(entries: Sequence[Mapping[str, Any]], width: int = 0) -> str:
    """The table for entries as the status tasks of the role local_recovery gather them, with a line for each thing that is wrong.

    :param entries: What `status_entries` makes of a checker's status, or what `ip_resource_info` returns for a resource, with ``node`` and
        ``ec2`` (``error``, ``routes``, ``source_dest_check``, ``elastic_ip``, ``elastic_ip_right``) added.
    :param width: Columns of the terminal; what matters least is left out of a table that is wider. 0: any width will do.
    """
    if not entries:
        return "No resource is known on any of these nodes; give holdfast_resources in the inventory.\n"
    ordered = sorted(entries, key=lambda entry: (str(entry["tag"]), not entry["in_service"], str(entry["node"])))
    rows = [dict(zip(_HEADER, _row(entry))) for entry in ordered]
    left_out = set() if any(entry.get("checker") for entry in ordered) else set(_FROM_CHECKERS)
    table = _table(rows, left_out)
    for name in _DISPENSABLE:
        if not width or max(map(len, table.splitlines())) <= width:
            break
        left_out.add(name)
        table = _table(rows, left_out)
    return table + "".join(_advice(entry) for entry in ordered)


def status_rows(entries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]], list[str]]:
    """What `status_table` shows, as a header, rows, and the lines under them."""
    ordered = sorted(entries, key=lambda entry: (str(entry["tag"]), not entry["in_service"], str(entry["node"])))
    left_out = () if any(entry.get("checker") for entry in ordered) else _FROM_CHECKERS
    kept = [index for index, name in enumerate(_HEADER) if name not in left_out]
    rows = [[row[index] for index in kept] for row in map(_row, ordered)]
    return [_HEADER[index] for index in kept], rows, "".join(map(_advice, ordered)).splitlines()


def _table(rows: Sequence[Mapping[str, str]], left_out: set[str]) -> str:
    shown = [name for name in _HEADER if name not in left_out]
    return text_table(shown, [[row[name] for name in shown] for row in rows])


def _row(entry: Mapping[str, Any]) -> list[str]:
    ec2, checker = entry["ec2"], entry.get("checker") or {}
    right, total = _routes(ec2)
    state = f" ({entry['primary_state']})" if entry["primary_state"] else ""
    return [
        str(entry["tag"]),
        str(entry["node"]),
        "yes" if entry["in_service"] else "no",
        str(checker.get("phase") or "none"),
        str(checker.get("holder") or "?"),
        "?" if checker.get("epoch") is None else str(checker["epoch"]),
        str(entry["address"]),
        f"{entry['primary_interface']}{state}",
        str(entry["backup_interface"] or "none"),
        f"{right}/{total}" if total else "-",
        {True: "on", False: "off"}.get(ec2["source_dest_check"], "-"),
        _elastic_ip(ec2),
        count_running(checker.get("dependents") or ()),
        _health(entry),
    ]


def _routes(ec2: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """How many entries are right, of how many."""
    if ec2.get("routes_total") is not None:
        return ec2["routes_right"], ec2["routes_total"]
    return len(_right(ec2)), len(ec2["routes"])


def count_running(dependents: Sequence[Mapping[str, Any]]) -> str:
    """How many run, of how many whose state can be told: of those that are task files it cannot. ``-`` where there are none."""
    if not dependents:
        return "-"
    told = [one.get("state") for one in dependents if one.get("state") not in (None, "unknown")]
    return f"{sum(state in RUNNING for state in told)}/{len(told)}" if told else "?"


def _right(ec2: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [route for route in ec2["routes"] if route["before"] == route["after"]]


def _elastic_ip(ec2: Mapping[str, Any]) -> str:
    if not ec2["elastic_ip"]:
        return "-"
    return f"{ec2['elastic_ip']} ({'here' if ec2['elastic_ip_right'] else 'elsewhere'})"


def _health(entry: Mapping[str, Any]) -> str:
    checker = entry.get("checker")
    if not entry["in_service"]:
        if checker and entry["health"] == "failed":
            return "failed"
        return "standby" if not checker or checker["ready"] else "not ready"
    if checker or entry["health"] != "healthy":
        return str(entry["health"])
    return _ec2_health(entry["ec2"])


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
    about, checker = f"{entry['tag']} on {entry['node']}", entry.get("checker")
    if checker:
        return _advice_of_checker(about, entry, checker)
    if not entry["in_service"]:
        return ""
    causes = [*entry.get("reasons", ()), *_wrong(entry["ec2"])]
    lines = [f"{about}: {cause}; run holdfast.ha.local_recovery --limit {entry['node']}\n" for cause in causes]
    if entry["ec2"]["error"]:
        lines.append(f"{about}: EC2 could not be asked: {entry['ec2']['error']}\n")
    return "".join(lines)


def _advice_of_checker(about: str, entry: Mapping[str, Any], checker: Mapping[str, Any]) -> str:
    causes = list(entry["reasons"])
    if entry["ec2"]["error"]:
        causes.append(f"EC2 could not be asked: {entry['ec2']['error']}")
    if not entry["in_service"] and not checker["ready"]:
        causes.append(f"not ready to take it over: {checker['ready_reason'] or 'no reason is given'}")
    lines = [f"{about}: {cause}\n" for cause in causes]
    if checker["advice"]:
        lines.append(f"{about}: what to do: {checker['advice']}\n")
    return "".join(lines)
