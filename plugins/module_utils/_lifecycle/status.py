# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast status` prints, from the checker's reply or from what stands in for it. Pure.

The first of three forms that fits is taken: a table with every cell in full, a table with short cells, one block for each resource.
All of them say the same. Colour only repeats what a word says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.status import count_running

Status = Mapping[str, Any]

_GOOD, _BAD, _UNSURE = "32", "31", "33"
#: What a person has to look at first comes first.
_COLOURS = {
    "FAILED": _BAD,
    "NOT HELD": _BAD,
    "UNKNOWN": _UNSURE,
    "NOT WATCHED": _UNSURE,
    "NOT READY": _UNSURE,
    "HEALTHY": _GOOD,
    "STANDBY": _GOOD,
}
_AT_WORK = ("starting", "suspect", "recovering", "backing off")
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
    node, watched = _word(status.get("node")), _watched(status)
    resources = sorted(status.get("resources") or (), key=lambda one: (list(_COLOURS).index(state_of(one, watched)), str(one["tag"])))
    width = max(width, _NARROWEST)
    parts = [_summary(status, resources, width), *_banners(status, width)]
    if resources:
        parts.append(_overview(resources, node, watched, width, colour))
    parts += [detail for one in resources if (detail := _detail(one, watched, width, colour))]
    parts += [peers for peers in (_peers(status, width),) if peers]
    return "\n".join(parts)


def state_of(one: Status, watched: bool = True) -> str:
    """The one word for a resource on this node, in capitals."""
    health = str(one.get("health") or "unknown").upper()
    if health == "FAILED":
        return health
    if not watched:
        return "NOT WATCHED"
    if _is_active(one):
        return health if health in _COLOURS else "UNKNOWN"
    if one.get("holder") is None:
        return "UNKNOWN"
    if not one["holder"]:
        return "NOT HELD"
    return "STANDBY" if one.get("ready", True) else "NOT READY"


def _is_active(one: Status) -> bool:
    return bool(one.get("held") or one.get("role") == "active")


def is_well(status: Status) -> bool:
    """Whether nothing here asks for a person."""
    return not status.get("store_error") and all(state_of(one, _watched(status)) in ("HEALTHY", "STANDBY") for one in status.get("resources") or ())


def _watched(status: Status) -> bool:
    return bool(status.get("watched", True))


# --- the head ----------------------------------------------------------------------------------------------------------


def _summary(status: Status, resources: Sequence[Status], width: int) -> str:
    states = [state_of(one, _watched(status)) for one in resources]
    counts = ", ".join(f"{states.count(state)} {state.lower() if _COLOURS[state] == _GOOD else state}" for state in _COLOURS if state in states)
    who = f"{_word(status.get('cluster'))} on {_word(status.get('node'))}"
    about = [f"checker {_word(status['version'])}"] if status.get("version") else []
    about += [f"timing {_timing(status['timing'])}"] if status.get("timing") else []
    if status.get("armed") is not None:
        about.append("a recovery run stands ready" if _armed(status["armed"]) else "no recovery run stands ready")
    more = f" ({', '.join(about)})" if about else ""
    return _wrap(f"{who}: {counts or 'no resources'}{more}", width)


def _timing(timing: object) -> str:
    if isinstance(timing, Mapping):
        return _word(timing.get("profile") or f"ttl {_seconds(timing.get('ttl'))}")
    return _word(timing)


def _armed(armed: object) -> bool:
    return bool(armed.get("pid", True)) if isinstance(armed, Mapping) and armed else bool(armed)


def _banners(status: Status, width: int) -> list[str]:
    told = []
    if not _watched(status):
        told.append(
            "NO CHECKER RUNS ON THIS NODE: nothing here is watched or repaired, and what is not known shows as ?. "
            "Start it: systemctl start holdfast-checker"
        )
    if status.get("config_error"):
        told.append(f"ITS SETTINGS CANNOT BE USED: {_word(status['config_error'])}")
    if status.get("store_error"):
        told.append(
            f"THE LEASE STORE CANNOT BE REACHED: {_word(status['store_error'])}. Holders below are as they were last read. "
            "The active node gives its addresses up in time unless all its peers agree that it stays; see to the store, and to the network between."
        )
    if status.get("store_warning"):
        told.append(f"THE LEASE STORE HAS LITTLE ROOM LEFT: {_word(status['store_warning'])}.")
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
        _doing(one, watched),
        _holder(one, node),
        _known(one.get("epoch")),
        _word(one.get("address")),
        _interface(one),
        _word(one.get("backup_interface") or "none"),
        _routes(one),
        _check(one),
        _elastic_ip(one),
        _dependents(one),
        _last(one),
    )


def _short_cells(one: Status, node: str, watched: bool) -> tuple[str, ...]:
    right = {True: "here", False: _wrong("away", one), None: "-"}[_eip_right(one)]
    last = one.get("last_recovery")
    recovery = f"{_ago(last.get('ago'))} ago: {_seconds(last.get('seconds'))}{'' if last.get('ok') else ', FAILED'}" if last else "-"
    holder = _word(one["holder"]) if one.get("holder") else _holder(one, node)
    return (
        str(one["tag"]),
        state_of(one, watched),
        _doing(one, watched),
        holder,
        _known(one.get("epoch")),
        _interface(one),
        _routes(one),
        _check(one),
        right,
        _dependents(one).partition(" ")[0],
        recovery,
    )


def _block(one: Status, node: str, watched: bool, width: int, colour: bool) -> str:
    head = f"{one['tag']}  {state_of(one, watched)}"
    backup = f", backup {_word(one.get('backup_interface') or 'none')}"
    rows = [
        ("checker", _doing(one, watched)),
        ("holder", f"{_holder(one, node)}, epoch {_known(one.get('epoch'))}"),
        ("address", _word(one.get("address"))),
        ("interface", _interface(one) + backup),
    ]
    if one.get("ec2"):
        rows += [("routes", f"{_routes(one)} right"), ("src/dst check", _check(one)), ("elastic ip", _elastic_ip(one))]
    if one.get("dependents"):
        rows.append(("dependents", ", ".join(f"{_word(each.get('name'))} {_word(each.get('state'))}" for each in one["dependents"])))
    rows.append(("last recovery", _last(one)))
    body = "".join(_labelled(name, text, width) for name, text in rows)
    return _paint(head, len(str(one["tag"])) + 2, state_of(one, watched), colour) + "\n" + body


def _doing(one: Status, watched: bool) -> str:
    if not watched:
        return "none"
    phase = "paused" if one.get("paused") else _word(one.get("phase") or "watching")
    if one.get("flapping"):
        phase += ", flapping"
    left = one.get("next_attempt_in")
    return phase if left is None or phase == "paused" else f"{phase}, next in {_seconds(left)}"


def _holder(one: Status, node: str) -> str:
    holder = one.get("holder")
    if holder is None:
        return "?"
    if not holder:
        return "nobody"
    return f"{_word(holder)} (here)" if _word(holder) == node else _word(holder)


def _interface(one: Status) -> str:
    state = {True: " (up)", False: " (DOWN)", None: ""}[_flag(one.get("interface_up"))]
    return _known(one.get("interface")) + state


def _routes(one: Status) -> str:
    ec2 = one.get("ec2")
    if not ec2 or ec2.get("routes_total") == 0:
        return "-"
    if ec2.get("routes_total") is None:
        return "?"
    return f"{_known(ec2.get('routes_right'))}/{_known(ec2['routes_total'])}"


def _check(one: Status) -> str:
    ec2 = one.get("ec2")
    return {True: _wrong("on", one), False: "off", None: "?"}[_flag(ec2.get("source_dest_check"))] if ec2 else "-"


def _eip_right(one: Status) -> bool | None:
    ec2 = one.get("ec2") or {}
    return _flag(ec2.get("elastic_ip_right")) if ec2.get("elastic_ip") else None


def _elastic_ip(one: Status) -> str:
    ec2 = one.get("ec2") or {}
    if not ec2.get("elastic_ip"):
        return "-"
    where = {True: "here", False: _wrong("elsewhere", one), None: "?"}[_eip_right(one)]
    return f"{_word(ec2['elastic_ip'])} ({where})"


def _wrong(word: str, one: Status) -> str:
    """On the active node it catches the eye; on a standby it is how it should be."""
    return word.upper() if _is_active(one) else word


def _dependents(one: Status) -> str:
    count = count_running(one.get("dependents") or ())
    return count if count in ("-", "?") else f"{count} running"


def _last(one: Status) -> str:
    last = one.get("last_recovery")
    if not last:
        return "none"
    what = f"{_word(last['what'])}, " if last.get("what") else ""
    return f"{what}{_ago(last.get('ago'))} ago, took {_seconds(last.get('seconds'))}, {'worked' if last.get('ok') else 'FAILED'}"


# --- what is wrong, and what to do -------------------------------------------------------------------------------------


def _detail(one: Status, watched: bool, width: int, colour: bool) -> str:
    """What is wrong with a resource and what to do about it; empty where nothing is."""
    wrong = [_word(reason) for reason in one.get("reasons") or ()]
    if one.get("error") and _word(one["error"]) not in wrong:
        wrong.append(_word(one["error"]))
    ec2 = one.get("ec2") or {}
    if ec2.get("error"):
        since = f" (last looked {_ago(ec2['checked_ago'])} ago)" if ec2.get("checked_ago") is not None else ""
        wrong.append(f"EC2 could not be asked: {_word(ec2['error'])}{since}")
    state = state_of(one, watched)
    if state == "NOT READY":
        wrong.append(f"this node could not take it over: {_word(one.get('ready_reason') or 'it is not ready')}")
    last = one.get("last_recovery") or {}
    if last and not last.get("ok") and last.get("message"):
        wrong.append(f"the last recovery failed: {_word(last['message'])}")
    todo = advice_for(one, watched)
    if not wrong and not todo:
        return ""
    head = _paint(f"{one['tag']}: {state}", len(str(one["tag"])) + 2, state, colour) + "\n"
    lines = [_labelled("what is wrong" if not number else "", text, width) for number, text in enumerate(wrong)]
    return head + "".join(lines) + (_labelled("what to do", todo, width) if todo else "")


def advice_for(one: Status, watched: bool = True) -> str:
    """One line: what to do. The checker's own where it has given one; empty where there is nothing to do or to wait for."""
    tag, state = one["tag"], state_of(one, watched)
    if one.get("advice"):
        return _word(one["advice"])
    if state == "FAILED" and not watched:
        return "start the checker, and see that it takes this up"
    if one.get("paused"):
        return f"nothing is repaired while it is paused; end that with: holdfast resume {tag}"
    if state == "FAILED":
        if one.get("phase") in _AT_WORK:
            return "nothing for now, the checker is at work on it"
        if one.get("phase") == "held down":
            return f"it failed too often, so it is left alone for a while; find out why it does, then: holdfast recover {tag}"
        return f"holdfast recover {tag}; if that fails, see journalctl -u holdfast-checker"
    if state == "NOT HELD":
        return f"no node has it in service; if none takes it by itself, name one: holdfast switchover {tag} --to NODE"
    if state == "NOT READY":
        return f"put that right; until then {_holder(one, '')} has one standby less"
    if state == "UNKNOWN" and (one.get("ec2") or {}).get("error"):
        return "nothing is moved while EC2 cannot be asked; see the network to EC2, and the node's credentials and rights"
    if state == "UNKNOWN" and one.get("phase") not in _AT_WORK:
        return "wait for the next check; if it stays so, see journalctl -u holdfast-checker"
    return ""


def _peers(status: Status, width: int) -> str:
    """Who else is there, and what for each is ready to take over."""
    peers = status.get("peers") or ()
    rows, reasons = [], []
    for peer in sorted(peers, key=lambda one: str(one.get("node"))):
        node, announced = _word(peer.get("node")), peer.get("resources") or {}
        ready = [tag + (" (paused)" if announced[tag].get("paused") else "") for tag in sorted(announced) if announced[tag].get("ready")]
        holds = [tag for tag in sorted(announced) if announced[tag].get("held")]
        age = f", for {_ago(peer['age'])}" if peer.get("age") is not None and not peer.get("alive") else ""
        alive = "yes" if peer.get("alive") else f"SILENT{age}"
        rows.append((node, alive, ", ".join(holds) or "-", ", ".join(ready) or "-"))
        if peer.get("alive"):
            reasons += [
                f"{node} is not ready for {tag}: {_word(announced[tag].get('reason') or 'no reason given')}"
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


# --- words and lines ---------------------------------------------------------------------------------------------------


def printable(value: Any) -> Any:
    """``value`` with each text in it, keys too, as `one_line` makes it."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {printable(name): printable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value


def one_line(text: str) -> str:
    """Text from elsewhere, fit for a terminal: on one line, with ``?`` for each control character."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def _word(value: object) -> str:
    return "?" if value is None else one_line(str(value))


def _known(value: object) -> str:
    return "?" if value is None else _word(value)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "?"
    if value < 1:
        return f"{max(0.0, value) * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s" if value < 120 else _ago(value)


def _ago(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "?"
    for limit, unit, name in ((120, 1, "s"), (120 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if value < limit:
            return f"{max(0.0, value) / unit:.0f} {name}"
    return f"{value / 86400:.0f} d"


def _paint(line: str, start: int, word: str, colour: bool) -> str:
    if not colour or not line.startswith(word, start):
        return line
    return f"{line[:start]}\033[1;{_COLOURS[word]}m{word}\033[0m{line[start + len(word) :]}"


def _labelled(name: str, text: str, width: int) -> str:
    head = f"{_INDENT}{name.ljust(_LABEL)} "
    return textwrap.fill(text, min(width, _WIDEST_PROSE), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False) + "\n"


def _wrap(text: str, width: int) -> str:
    return textwrap.fill(text, min(width, _WIDEST_PROSE), subsequent_indent=_INDENT, break_on_hyphens=False) + "\n"
