# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report: one HTML page of a cluster that needs nothing else, for a browser and for paper."""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_table import status_rows

#: What begins and what ends a node's time of holding a resource.
_BEGINS = ("acquired", "resumed", "takeover", "serve")
_ENDS = ("released", "lost", "removed", "withdraw", "expire", "handed over")
#: Facts of an event that are shown in columns of their own.
_APART = ("time", "cluster", "node", "event", "tag")
_MOST_EVENTS = 300
#: Size of the timeline, in the drawing's units.
_LEFT, _WIDTH, _LANE, _TICKS = 170, 830, 26, 6

_STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d5dbe3; --paper: #fff; --good: #1f7a4d; --bad: #b3261e; --odd: #8a6100; --bar: #3b6fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #39424f; --paper: #161b22; --good: #5ec48f;
  --bad: #ff8a80; --odd: #e0b252; --bar: #6fa0e0; } }
* { box-sizing: border-box; }
body { margin: 2rem auto; padding: 0 1.25rem; max-width: 78rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } p { margin: .3rem 0; }
.soft { color: var(--soft); } p { overflow-wrap: break-word; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }
th, td { padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
td:nth-child(-n+2) { white-space: nowrap; }
.wide { overflow-x: auto; } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .odd { color: var(--odd); font-weight: 600; }
svg { width: 100%; min-width: 42rem; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: var(--ink); } svg .soft { fill: var(--soft); }
.bar { fill: var(--bar); } .out { fill: var(--bad); stroke: var(--paper); stroke-width: 1; } .grid { stroke: var(--line); }
@media screen and (max-width: 46rem) { thead { display: none; } table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } td, td:nth-child(-n+2) { display: flex; gap: .6rem; border: 0;
    padding: .1rem 0; white-space: normal; }
  td > * { min-width: 0; overflow-wrap: anywhere; }
  td::before { content: attr(data-name); flex: 0 0 8rem; color: var(--soft); } td:empty { display: none; } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --good: #000; --bad: #000; --odd: #000; --bar: #888; }
  body { margin: 0; padding: 0; max-width: none; font-size: 10pt; } h2 { break-after: avoid; }
  tr, svg { break-inside: avoid; } .wide { overflow: visible; }
  table { font-size: 7.5pt; } th { white-space: normal; } th, td { padding-right: 1.5mm; } td { overflow-wrap: anywhere; } svg { min-width: 0; }
  thead { display: table-header-group; } @page { size: A4 landscape; margin: 12mm; } }
"""


@dataclass(frozen=True)
class Stay:
    """A time span, in seconds since 1970, on a node: of holding a resource, or of it failing. ``what``: one line."""

    tag: str
    node: str
    begin: float
    end: float
    what: str = ""
    over: bool = True

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.begin


def read_events(lines: Iterable[str]) -> tuple[list[dict[str, Any]], int]:
    """The events in lines of the checkers' files, in order of time, each once, with ``at`` in seconds since 1970; and how many lines were none."""
    events, broken = {}, 0
    for line in lines:
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            at = datetime.datetime.fromisoformat(str(told["time"]).replace("Z", "+00:00"))
            if at.tzinfo is None:
                at = at.replace(tzinfo=datetime.timezone.utc)
            events[line.strip()] = {"node": "", **told, "event": str(told["event"]), "at": at.timestamp()}
        except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
            broken += 1
    return sorted(events.values(), key=lambda event: float(event["at"])), broken


def stays(events: Sequence[Mapping[str, Any]], until: float) -> list[Stay]:
    """Who held what, as the events say; a stay without an end lasts until another node's begins, or until ``until``."""
    found: list[Stay] = []
    running: dict[tuple[str, str], float] = {}
    for event in events:
        tag, node, at = event.get("tag"), str(event["node"]), float(event["at"])
        if tag is None or event.get("ok") is False:
            continue
        if event["event"] in _BEGINS:
            for old in [key for key in running if key[0] == tag and key[1] != node]:
                found.append(Stay(old[0], old[1], running.pop(old), at))
            running.setdefault((str(tag), node), at)
        elif event["event"] in _ENDS and (tag, node) in running:
            found.append(Stay(str(tag), node, running.pop((tag, node)), at))
    found += [Stay(key[0], key[1], begin, max(begin, until), over=False) for key, begin in running.items()]
    return sorted(found, key=lambda stay: (stay.tag, stay.begin))


def outages(events: Sequence[Mapping[str, Any]], until: float) -> list[Stay]:
    """From each fault to the resource being healthy again, on whatever node."""
    found: list[Stay] = []
    running: dict[str, Stay] = {}
    for event in events:
        tag, at = str(event.get("tag")), float(event["at"])
        if event["event"] == "fault" and tag not in running:
            reasons = event.get("reasons") or event.get("faults") or ()
            running[tag] = Stay(tag, str(event["node"]), at, at, "; ".join(map(str, reasons if isinstance(reasons, list) else [reasons])))
        elif event["event"] == "recovered" and tag in running:
            begun = running.pop(tag)
            found.append(Stay(tag, begun.node, begun.begin, at, begun.what))
    found += [Stay(one.tag, one.node, one.begin, max(one.begin, until), one.what, over=False) for one in running.values()]
    return sorted(found, key=lambda stay: stay.begin)


def report_page(
    entries: Sequence[Mapping[str, Any]], lines: Iterable[str] = (), looked: Sequence[Mapping[str, Any]] = (), cluster: str = "", now: float = 0.0
) -> str:
    """The page.

    :param entries: As for `status_table`.
    :param lines: Of the checkers' event files, of all nodes.
    :param looked: As ``entries``, with what belongs to the resource as it is and as a repair would leave it.
    :param now: Seconds since 1970.
    """
    events, broken = read_events(lines)
    held, failing = stays(events, now), outages(events, now)
    title = f"{cluster or 'holdfast.ha'}: protected addresses"
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_moment(now)}</p>',
        "<h2>Resources</h2>",
        *_resources(entries),
        "<h2>Before and after</h2>",
        *_changes(looked or entries),
        "<h2>Timeline</h2>",
        *_timeline(held, failing),
        "<h2>Outages, as the checkers saw them</h2>",
        *_outages(failing),
        "<h2>Events</h2>",
        *_events(events, broken),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body>\n</html>\n"


def _text(value: object) -> str:
    return html.escape(str(value))


def _moment(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of HTML, already escaped."""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    names = [_text(name) for name in header]
    lines = "".join(f"<tr>{''.join(map(_cell, names, row))}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def _cell(name: str, content: str) -> str:
    """With the name of its column, which a narrow screen shows beside it; an empty one has nothing in it, not even an element."""
    return f'<td data-name="{name}">{content if content.startswith("<") or not content else f"<span>{content}</span>"}</td>'


def _resources(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    if not entries:
        return ["<p>No resource is known on any of these nodes.</p>"]
    header, rows, advice = status_rows(entries)
    kinds = {"healthy": "good", "standby": "good", "failed": "bad", "not held": "bad"}
    shown = [[*map(_text, row[:-1]), f'<span class="{kinds.get(row[-1], "odd")}">{_text(row[-1])}</span>'] for row in rows]
    return [_table([name.capitalize().replace(" ip", " IP") for name in header], shown), *(f'<p class="odd">{_text(line)}</p>' for line in advice)]


@dataclass(frozen=True)
class Change:
    """Something that belongs to a resource: how it is, and how a recovery would leave it."""

    what: str
    where: str
    before: str
    after: str


def changes(entry: Mapping[str, Any]) -> list[Change]:
    """All that belongs to a resource in service, as far as its node and EC2 have told; the order in which a recovery goes through it."""
    home, state = str(entry["primary_interface"]), entry.get("primary_state")
    found = [Change("Interface", home, str(state), "up")] if state else []
    if "places" in entry:
        places = ", ".join(f"{one['address']} on {one['interface']}" for one in entry["places"])
        found.append(Change("Address", str(entry["node"]), places or "on no interface", f"{entry['address']} on {home}"))
    ec2 = entry.get("ec2") or {}
    if ec2.get("source_dest_check") is not None:
        found.append(Change("Source/dest check", home, "on" if ec2["source_dest_check"] else "off", "off"))
    for route in ec2.get("routes") or ():
        found.append(Change(f"Route to {route['destination']}", str(route["route_table_id"]), str(route["before"]), str(route["after"])))
    if ec2.get("elastic_ip") and ec2.get("elastic_ip_after"):
        found.append(Change("Elastic IP", str(ec2["elastic_ip"]), str(ec2.get("elastic_ip_before") or "nowhere"), str(ec2["elastic_ip_after"])))
    return found


def _changes(looked: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for entry in sorted((one for one in looked if one.get("in_service")), key=lambda one: (str(one["tag"]), str(one["node"]))):
        for one in changes(entry):
            right = '<span class="good">right</span>' if one.before == one.after else '<span class="bad">to be changed</span>'
            rows.append([*map(_text, (entry["tag"], entry["node"], one.what, one.where, one.before, one.after)), right])
    if not rows:
        return ["<p>No resource is known to be in service, so there is nothing that a recovery would change.</p>"]
    return [
        "<p>What belongs to each resource in service: how it is now, and how a recovery on its node would leave it. An interface that cannot be "
        "brought up has the address, and all that follows, moved to the backup interface instead.</p>",
        _table(("Resource", "Node", "What", "Where", "Before", "After", "State"), rows),
    ]


def _timeline(held: Sequence[Stay], failing: Sequence[Stay]) -> list[str]:
    lanes = sorted({(stay.tag, stay.node) for stay in (*held, *failing)})
    if not lanes:
        return ["<p>The checkers have told of no holder.</p>"]
    begin = min(stay.begin for stay in (*held, *failing))
    span = max(max(stay.end for stay in (*held, *failing)) - begin, 1.0)
    height = _LANE * len(lanes) + 30

    def x(at: float) -> float:
        return round(_LEFT + (at - begin) / span * _WIDTH, 2)

    parts = [f'<svg viewBox="0 0 {_LEFT + _WIDTH + 10} {height}" role="img" aria-label="Who held each resource, and when it failed">']
    for index in range(_TICKS + 1):
        at = begin + span * index / _TICKS
        moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%H:%M:%S" if span < 172800 else "%m-%d %H:%M")
        anchor = "end" if index == _TICKS else "middle" if index else "start"
        parts.append(f'<line class="grid" x1="{x(at)}" x2="{x(at)}" y1="0" y2="{height - 24}"/>')
        parts.append(f'<text class="soft" x="{x(at)}" y="{height - 8}" text-anchor="{anchor}">{moment}</text>')
    for lane, (tag, node) in enumerate(lanes):
        parts.append(f'<text x="0" y="{lane * _LANE + 17}">{_text(tag)} on {_text(node)}</text>')
        for kind, thick, many in (("bar", 14, held), ("out", 6, failing)):
            for stay in many:
                if (stay.tag, stay.node) == (tag, node):
                    wide = max(round(x(stay.end) - x(stay.begin), 2), 4)
                    top = lane * _LANE + (_LANE - thick) / 2
                    about = f"{stay.tag} on {stay.node}, {_moment(stay.begin)}, {_duration(stay)}{': ' if stay.what else ''}{stay.what}"
                    shape = f'<rect class="{kind}" x="{x(stay.begin)}" y="{top}" width="{wide}" height="{thick}">'
                    parts.append(f"{shape}<title>{_text(about)}</title></rect>")
    picture = f'<div class="wide">{"".join(parts)}</svg></div>'
    return ["<p>Wide bars: the node held the resource. Narrow ones: it failed there. Times are UTC.</p>", picture]


def _duration(stay: Stay) -> str:
    seconds = stay.seconds
    text = f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return text if stay.over else f"{text} and going on"


def _outages(failing: Sequence[Stay]) -> list[str]:
    if not failing:
        return ["<p>None.</p>"]
    rows = [[_text(_moment(one.begin)), _text(one.tag), _text(one.node), _text(_duration(one)), _text(one.what)] for one in failing]
    return [_table(("Began", "Resource", "Node", "Lasted", "What failed"), rows)]


def _events(events: Sequence[Mapping[str, Any]], broken: int) -> list[str]:
    told = list(events)[-_MOST_EVENTS:]
    rows = []
    for event in told:
        facts = ", ".join(f"{name}: {_fact(value)}" for name, value in event.items() if name not in (*_APART, "at"))
        rows.append([_text(event["time"]), _text(event["node"]), _text(event.get("tag", "")), _text(event["event"]), _text(facts)])
    lines = [_table(("Time", "Node", "Resource", "Event", "Facts"), rows)] if rows else ["<p>None.</p>"]
    if len(events) > len(told):
        lines.insert(0, f"<p>The last {len(told)} of {len(events)}.</p>")
    if broken:
        lines.append(f'<p class="odd">{broken} lines of the event files could not be read.</p>')
    return lines


def _fact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
