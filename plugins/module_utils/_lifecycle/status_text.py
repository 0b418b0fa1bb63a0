# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast status` prints, from the checker's reply or from what stands in for it. Pure.

The first of three forms that fits is taken: a table with every cell in full, a table with short cells, one block for each resource.
All of them say the same. Colour only repeats what a word says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import (
    STATES,
    WELL,
    Status,
    advice_for,
    ago,
    causes,
    dependents,
    doing,
    elastic_ip,
    elastic_ip_right,
    holder_of,
    interface,
    is_watched,
    known,
    last_recovery,
    marked,
    printable,
    routes,
    seconds,
    source_dest_check,
    state_of,
    word,
)

_GOOD, _BAD, _UNSURE = "32", "31", "33"
_COLOURS = {"FAILED": _BAD, "NOT HELD": _BAD, **dict.fromkeys(WELL, _GOOD)}  # all others: not sure
_FULL = ("RESOURCE", "STATE", "CHECKER", "HOLDER", "EPOCH", "ADDRESS", "INTERFACE", "BACKUP", "ROUTES", "SRC/DST CHECK", "ELASTIC IP",
         "DEPENDENTS", "LAST RECOVERY")  # fmt: skip
_SHORT = ("RESOURCE", "STATE", "CHECKER", "HOLDER", "EPOCH", "LINK", "ROUTES", "S/D", "EIP", "DEPS", "LAST RECOVERY")
#: Lines of prose are not longer than this, and no form is narrower than that.
_WIDEST_PROSE, _NARROWEST = 120, 40
_INDENT = "  "
_LABEL = 14


def render(status: Status, width: int, *, colour: bool = False) -> str:
    """The text for a terminal that is ``width`` columns wide; lines end with a newline.

    :param status: A reply to `status`: of all resources, or with one in ``resources``. ``watched`` is false where no checker runs.
    """
    status = printable(status)
    node, watched = word(status.get("node")), is_watched(status)
    resources = sorted(status.get("resources") or (), key=lambda one: (STATES.index(state_of(one, watched)), str(one["tag"])))
    width = max(width, _NARROWEST)
    parts = [_summary(status, resources, width), *_banners(status, width)]
    if resources:
        parts.append(_overview(resources, node, watched, width, colour))
    parts += [detail for one in resources if (detail := _detail(one, watched, width, colour))]
    parts += [peers for peers in (_peers(status, width),) if peers]
    return "\n".join(parts)


# --- the head ----------------------------------------------------------------------------------------------------------


def _summary(status: Status, resources: Sequence[Status], width: int) -> str:
    states = [state_of(one, is_watched(status)) for one in resources]
    counts = ", ".join(f"{states.count(state)} {state.lower() if state in WELL else state}" for state in STATES if state in states)
    who = f"{word(status.get('cluster'))} on {word(status.get('node'))}"
    about = [f"checker {word(status['version'])}"] if status.get("version") else []
    about += [f"timing {_timing(status['timing'])}"] if status.get("timing") else []
    if status.get("armed") is not None:
        about.append("a recovery run stands ready" if _armed(status["armed"]) else "no recovery run stands ready")
    more = f" ({', '.join(about)})" if about else ""
    return _wrap(f"{who}: {counts or 'no resources'}{more}", width)


def _timing(timing: object) -> str:
    if isinstance(timing, Mapping):
        return word(timing.get("profile") or f"ttl {seconds(timing.get('ttl'))}")
    return word(timing)


def _armed(armed: object) -> bool:
    return bool(armed.get("pid", True)) if isinstance(armed, Mapping) and armed else bool(armed)


def _banners(status: Status, width: int) -> list[str]:
    told = []
    if not is_watched(status):
        told.append(
            "NO CHECKER RUNS ON THIS NODE: nothing here is watched or repaired, and what is not known shows as ?. "
            "Start it: systemctl start holdfast-checker"
        )
    if status.get("config_error"):
        told.append(f"ITS SETTINGS CANNOT BE USED: {word(status['config_error'])}")
    if status.get("store_error"):
        told.append(
            f"THE LEASE STORE CANNOT BE REACHED: {word(status['store_error'])}. Holders below are as they were last read. "
            "The active node gives its addresses up in time unless all its peers agree that it stays; see to the store, and to the network between."
        )
    if status.get("store_warning"):
        told.append(f"THE LEASE STORE HAS LITTLE ROOM LEFT: {word(status['store_warning'])}.")
    return [_wrap(text, width) for text in told]


# --- the overview ------------------------------------------------------------------------------------------------------


def _overview(resources: Sequence[Status], node: str, watched: bool, width: int, colour: bool) -> str:
    for header, cells in ((_FULL, _full_cells), (_SHORT, _short_cells)):
        lines = text_table(header, [cells(one, node, watched) for one in resources]).splitlines()
        if max(map(len, lines)) <= width:
            start = lines[0].index("STATE")
            painted = [_paint(line, start, state_of(one, watched), colour) for line, one in zip(lines[1:], resources)]
            return "\n".join([lines[0], *painted]) + "\n"
    return "\n".join(_block(one, node, watched, width, colour) for one in resources)


def _full_cells(one: Status, node: str, watched: bool) -> tuple[str, ...]:
    return (
        str(one["tag"]),
        state_of(one, watched),
        doing(one, watched),
        holder_of(one, node),
        known(one.get("epoch")),
        word(one.get("address")),
        interface(one),
        word(one.get("backup_interface") or "none"),
        routes(one),
        source_dest_check(one),
        elastic_ip(one),
        dependents(one),
        last_recovery(one),
    )


def _short_cells(one: Status, node: str, watched: bool) -> tuple[str, ...]:
    right = {True: "here", False: marked("away", one), None: "-"}[elastic_ip_right(one)]
    last = one.get("last_recovery")
    recovery = f"{ago(last.get('ago'))} ago: {seconds(last.get('seconds'))}{'' if last.get('ok') else ', FAILED'}" if last else "-"
    holder = word(one["holder"]) if one.get("holder") else holder_of(one, node)
    return (
        str(one["tag"]),
        state_of(one, watched),
        doing(one, watched),
        holder,
        known(one.get("epoch")),
        interface(one),
        routes(one),
        source_dest_check(one),
        right,
        dependents(one).partition(" ")[0],
        recovery,
    )


def _block(one: Status, node: str, watched: bool, width: int, colour: bool) -> str:
    head = f"{one['tag']}  {state_of(one, watched)}"
    backup = f", backup {word(one.get('backup_interface') or 'none')}"
    rows = [
        ("checker", doing(one, watched)),
        ("holder", f"{holder_of(one, node)}, epoch {known(one.get('epoch'))}"),
        ("address", word(one.get("address"))),
        ("interface", interface(one) + backup),
    ]
    if one.get("ec2"):
        rows += [("routes", f"{routes(one)} right"), ("src/dst check", source_dest_check(one)), ("elastic ip", elastic_ip(one))]
    if one.get("dependents"):
        rows.append(("dependents", ", ".join(f"{word(each.get('name'))} {word(each.get('state'))}" for each in one["dependents"])))
    rows.append(("last recovery", last_recovery(one)))
    body = "".join(_labelled(name, text, width) for name, text in rows)
    return _paint(head, len(str(one["tag"])) + 2, state_of(one, watched), colour) + "\n" + body


# --- what is wrong, and what to do -------------------------------------------------------------------------------------


def _detail(one: Status, watched: bool, width: int, colour: bool) -> str:
    """What is wrong with a resource and what to do about it; empty where nothing is."""
    wrong, todo = causes(one, watched), advice_for(one, watched)
    if not wrong and not todo:
        return ""
    state = state_of(one, watched)
    head = _paint(f"{one['tag']}: {state}", len(str(one["tag"])) + 2, state, colour) + "\n"
    lines = [_labelled("what is wrong" if not number else "", text, width) for number, text in enumerate(wrong)]
    return head + "".join(lines) + (_labelled("what to do", todo, width) if todo else "")


def _peers(status: Status, width: int) -> str:
    """Who else is there, and what for each is ready to take over."""
    peers = status.get("peers") or ()
    rows, reasons = [], []
    for peer in sorted(peers, key=lambda one: str(one.get("node"))):
        node, announced = word(peer.get("node")), peer.get("resources") or {}
        ready = [tag + (" (paused)" if announced[tag].get("paused") else "") for tag in sorted(announced) if announced[tag].get("ready")]
        holds = [tag for tag in sorted(announced) if announced[tag].get("held")]
        age = f", for {ago(peer['age'])}" if peer.get("age") is not None and not peer.get("alive") else ""
        alive = "yes" if peer.get("alive") else f"SILENT{age}"
        rows.append((node, alive, ", ".join(holds) or "-", ", ".join(ready) or "-"))
        if peer.get("alive"):
            reasons += [
                f"{node} is not ready for {tag}: {word(announced[tag].get('reason') or 'no reason given')}"
                for tag in sorted(announced)
                if not announced[tag].get("ready") and not announced[tag].get("held")
            ]
    if not rows:
        return ""
    table = text_table(("PEER", "ALIVE", "HOLDS", "READY FOR"), rows)
    if max(map(len, table.splitlines())) > width:
        table = "".join(
            f"peer {node}\n" + "".join(_labelled(name, text, width) for name, text in zip(("alive", "holds", "ready for"), cells))
            for node, *cells in rows
        )
    return table + "".join(_wrap(reason, width) for reason in reasons)


# --- lines -------------------------------------------------------------------------------------------------------------


def _paint(line: str, start: int, word: str, colour: bool) -> str:
    if not colour or not line.startswith(word, start):
        return line
    return f"{line[:start]}\033[1;{_COLOURS.get(word, _UNSURE)}m{word}\033[0m{line[start + len(word) :]}"


def _labelled(name: str, text: str, width: int) -> str:
    head = f"{_INDENT}{name.ljust(_LABEL)} "
    return textwrap.fill(text, min(width, _WIDEST_PROSE), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False) + "\n"


def _wrap(text: str, width: int) -> str:
    return textwrap.fill(text, min(width, _WIDEST_PROSE), subsequent_indent=_INDENT, break_on_hyphens=False) + "\n"
