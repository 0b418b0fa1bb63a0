# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of several nodes: one line a resource and node, and under it what is wrong and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import (
    Status,
    advice_for,
    causes,
    doing,
    elastic_ip,
    holder_of,
    interface,
    is_active,
    known,
    printable,
    routes,
    running,
    source_dest_check,
    state_of,
)

Entry = Mapping[str, Any]

#: What only a checker knows is left out where no node has one.
_FROM_CHECKERS = ("CHECKER", "HOLDER", "EPOCH", "DEPENDENTS")
#: What is left out first where the table is too wide.
_DISPENSABLE = ("DEPENDENTS", "EPOCH", "BACKUP", "HOLDER")
_HEADER = ("RESOURCE", "NODE", "IN SERVICE", "CHECKER", "HOLDER", "EPOCH", "ADDRESS", "INTERFACE", "BACKUP", "ROUTES", "SRC/DST CHECK", "ELASTIC IP",
           "DEPENDENTS", "HEALTH")  # fmt: skip
#: Of the checker's values, those that an entry has in its ``checker``.
_CHECKERS_OWN = ("phase", "paused", "flapping", "next_attempt_in", "holder", "epoch", "dependents", "advice", "ready", "ready_reason")


def status_entries(status: Status | None) -> list[dict[str, Any]]:
    """An entry for `status_table` for each resource in what `checker_info` returns as ``status``; none where no checker runs."""
    return [_entry(str((status or {}).get("node")), one) for one in (status or {}).get("resources", ())]


def _entry(node: str, one: Status) -> dict[str, Any]:
    return {
        "tag": one["tag"],
        "node": node,
        "in_service": is_active(one),
        "address": one.get("address"),
        "primary_interface": one.get("interface"),
        "primary_state": {True: "up", False: "down"}.get(one.get("interface_up", "")),
        "backup_interface": one.get("backup_interface"),
        "health": one.get("health") or "unknown",
        "reasons": [reason for reason in [*(one.get("reasons") or ()), one.get("error")] if reason],
        "ec2": one.get("ec2"),
        "checker": {name: one[name] for name in _CHECKERS_OWN if name in one},
    }


def _resource(entry: Entry) -> dict[str, Any]:
    """The resource of an entry, as `status` has it."""
    checker, active = entry.get("checker"), bool(entry.get("in_service"))
    shown = {
        "tag": entry["tag"],
        "node": entry["node"],
        "held": active,
        "address": entry.get("address"),
        "interface": entry.get("primary_interface"),
        "interface_up": {"up": True, "down": False}.get(entry.get("primary_state") or ""),
        "backup_interface": entry.get("backup_interface"),
        "health": entry.get("health") or "unknown",
        "reasons": entry.get("reasons") or (),
    }
    if checker:
        return {**shown, "ec2": entry.get("ec2"), **checker}
    if not active:  # a playbook compares the address of a standby with an active node's, and looks at nothing else
        return {**shown, "looked": True, "health": "healthy", "reasons": ()}
    ec2 = entry.get("ec2") or {}
    wrong = _wrong_on_ec2(ec2)
    health = "failed" if wrong else shown["health"]
    if ec2.get("error") and health == "healthy":
        health = "unknown"
    return {**shown, "looked": True, "health": health, "reasons": [*shown["reasons"], *wrong], "ec2": _parts(ec2)}


def _parts(ec2: Entry) -> dict[str, Any] | None:
    """The EC2 parts as a playbook found them, in the checker's form; ``None`` for a resource without."""
    found = ec2.get("routes") or ()
    if not found and ec2.get("source_dest_check") is None and not ec2.get("elastic_ip") and not ec2.get("error"):
        return None
    return {
        "error": ec2.get("error"),
        "routes_right": len(found) - len(_wrong_routes(ec2)),
        "routes_total": len(found),
        "source_dest_check": ec2.get("source_dest_check"),
        "elastic_ip": ec2.get("elastic_ip"),
        "elastic_ip_right": None if ec2.get("error") else ec2.get("elastic_ip_right"),
    }


def _wrong_routes(ec2: Entry) -> list[Entry]:
    return [route for route in ec2.get("routes") or () if route["before"] != route["after"]]


def _wrong_on_ec2(ec2: Entry) -> list[str]:
    """By what a recovery would change."""
    wrong = [f"{route['destination']} in {route['route_table_id']} leads to {route['before']}" for route in _wrong_routes(ec2)]
    if ec2.get("source_dest_check"):
        wrong.append("the source/destination check is on")
    if ec2.get("elastic_ip") and not ec2.get("elastic_ip_right"):
        wrong.append(f"{ec2['elastic_ip']} is not associated with this node")
    return wrong


def status_table(entries: Sequence[Entry], width: int = 0) -> str:
    """The table for entries as the status tasks of the role local_recovery gather them, with a line for each thing that is wrong.

    :param entries: What `status_entries` makes of a checker's status, or what `ip_resource_info` returns for a resource, with ``node`` and
        ``ec2`` (``error``, ``routes``, ``source_dest_check``, ``elastic_ip``, ``elastic_ip_right``) added.
    :param width: Columns of the terminal; what matters least is left out of a table that is wider. 0: any width will do.
    """
    if not entries:
        return "No resource is known on any of these nodes; give holdfast_resources in the inventory.\n"
    header, rows, advice = status_rows(entries)
    for name in _DISPENSABLE:
        if not width or max(map(len, text_table(header, rows).splitlines())) <= width:
            break
        if name in header:
            place = header.index(name)
            header, rows = [*header[:place], *header[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows]
    return text_table(header, rows) + "".join(f"{line}\n" for line in advice)


def status_rows(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]], list[str]]:
    """What `status_table` shows, as a header, rows, and the lines under them."""
    entries = [printable(entry) for entry in entries]
    ordered = sorted(entries, key=lambda entry: (str(entry["tag"]), not entry.get("in_service"), str(entry["node"])))
    left_out = () if any(entry.get("checker") for entry in ordered) else _FROM_CHECKERS
    shown = [(_resource(entry), bool(entry.get("checker"))) for entry in ordered]
    rows = [dict(zip(_HEADER, _row(one, watched))) for one, watched in shown]
    header = [name for name in _HEADER if name not in left_out]
    return header, [[row[name] for name in header] for row in rows], [line for one, watched in shown for line in _advice(one, watched)]


def _row(one: Status, watched: bool) -> tuple[str, ...]:
    return (
        str(one["tag"]),
        str(one["node"]),
        "yes" if is_active(one) else "no",
        doing(one, watched),
        holder_of(one, ""),
        known(one.get("epoch")),
        known(one.get("address")),
        interface(one),
        str(one.get("backup_interface") or "none"),
        routes(one),
        source_dest_check(one),
        elastic_ip(one),
        running(one),
        state_of(one, watched).lower(),
    )


def _advice(one: Status, watched: bool) -> list[str]:
    about, todo = f"{one['tag']} on {one['node']}", advice_for(one, watched)
    return [*(f"{about}: {cause}" for cause in causes(one, watched)), *([f"{about}: what to do: {todo}"] if todo else [])]
