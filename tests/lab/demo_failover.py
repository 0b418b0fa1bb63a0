# SPDX-License-Identifier: GPL-3.0-or-later
"""The second half of ``make demo``: a checker on each node, a lease in the lab's DynamoDB; the active node is killed, and the way back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from lab import picture
from lab.demo_run import as_administrator, reminding, say, show_run, start_clients
from lab.faults import clear
from lab.installed import Installed
from lab.oracle import Stay, Tenure
from lab.prober import Prober, Report
from lab.progress import PATIENCE
from lab.vpc import Lab

CLUSTER, TABLE, TAG = "demo", "holdfast", "web"
STORE = {"type": "dynamodb", "table": TABLE}
TIMING = "fast"
#: How long a step may take, in seconds; on an idle machine each takes a fraction of it.
_LONGEST = 120.0
#: The events worth telling, and what of each.
_TOLD = {
    "acquired": "takes the lease, epoch {epoch}",
    "takeover": "brings the address up: {what}",
    "run started": "starts the playbook {playbook}: {reason}",
    "run ended": "the playbook {playbook} has ended after {seconds:.1f} s",
    "released": "lets the lease go",
    "lost": "has lost the lease: {reason}",
    "recovered": "sees that all is right again",
}


def resource(lab: Lab) -> dict[str, Any]:
    """What is protected."""
    parts = {"route_tables": "all", "elastic_ip": lab.place.elastic_ip}
    return {
        "tag": TAG,
        "address": lab.place.vip,
        "interface": "eth0",
        "backup_interface": "eth1",
        "ec2": parts,
        "priority": {"node-a": 1, "node-b": 2},
    }


def failover(lab: Lab, number: int) -> bool:
    """Play both scenes, the first as ``number``; whether all went well."""
    clear(lab)
    lab.node_a.configure()
    say("\nNow with a checker on each node, and a lease in DynamoDB that says which of them may be active. Nobody starts a playbook any more.")
    if show_run(as_administrator(lab, "prepare_aws", {"holdfast_store": STORE})).status != 0:
        return False
    begin = time.monotonic()
    with Installed(lab, CLUSTER, STORE, resource(lab), TIMING) as both:
        with _narrated(both, "until node-a has the lease and serves"):
            both.until_in_service("node-a", _LONGEST)
            both.until_ready("node-b", _LONGEST)
        say(f"  ready     node-a serves and node-b stands by, after {time.monotonic() - begin:.1f} s")
        if not _play(both, number, "The active node is killed", "node-b", lambda: _kill(both)):
            return False
        with reminding("node-a boots"):
            both.bring_back("node-a")
            both.until_ready("node-a", _LONGEST)
        say("\nnode-a runs again, stands by, and leaves the service where it is.")
        return _play(both, number + 1, "A switchover to node-a", "node-a", lambda: _switch(both))


@contextmanager
def _narrated(both: Installed, what: str) -> Iterator[None]:
    """Tell what the checkers do as they do it, and every two seconds that it goes on."""
    since, over = datetime.now().astimezone(), threading.Event()
    told: set[str] = set()

    def tell() -> None:
        last = time.monotonic()
        while not over.wait(0.1):
            for line in trail({name: checker.events for name, checker in both.checkers.items()}, since):
                if line not in told:
                    told.add(line)
                    say(f"  {line}")
                    last = time.monotonic()
            if time.monotonic() - last >= PATIENCE:
                say(f"            ... {what}")
                last = time.monotonic()

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        time.sleep(0.3)  # what they did last is on its way
        over.set()
        teller.join()


def _kill(both: Installed) -> None:
    both.kill("node-a")
    say("  broken    node-a is gone: its checker killed, its links dead")


def _switch(both: Installed) -> None:
    say(f"  ask       holdfast switchover {TAG} --to node-a, on node-b")
    answer = both.checkers["node-b"].ask("switchover", tag=TAG, to="node-a", wait=1)
    if not answer["ok"]:
        say(f"  refused   {answer['message']}")


def _play(both: Installed, number: int, title: str, to: str, act: Callable[[], object]) -> bool:
    """Show one scene; whether it ended with the clients answered by ``to``, and never with two holders."""
    say(f"\n{number}. {title}\n")
    before, oracle, probers = picture.take(both.lab), both.oracle().start(), start_clients(both.lab)
    begin, good = time.monotonic(), True
    with _narrated(both, f"until {to} has all of it"):
        act()
        for name, prober in probers.items():
            good = _answered(name, prober, to, begin) and good
        try:
            both.until_in_service(to, _LONGEST)
        except TimeoutError as late:
            say(f"  FAILED    {late}")
            good = False
    reports, verdict = {name: prober.stop() for name, prober in probers.items()}, oracle.stop()
    say("")
    for line in picture.compare(before, picture.take(both.lab), ("route", "elastic ip", "address")):
        say(f"  {line}")
    say("")
    for name, report in reports.items():
        say(f"  outage    {name}: {f'{report.longest_ms:,.0f} ms' if report.outages else 'none'}")
    say("")
    for line in timeline(reports, verdict.tenures, verdict.stays, begin):
        say(f"  {line}")
    say(f"\n  holders   {verdict.line}")
    return good and not verdict.faults


def _answered(name: str, prober: Prober, by: str, since: float) -> bool:
    try:
        prober.wait_until_answered(_LONGEST, by=by, since=since)
    except TimeoutError:
        say(f"  outage    {name}: still no answer from {by}")
        return False
    return True


def trail(events: Mapping[str, Sequence[Mapping[str, Any]]], since: datetime) -> list[str]:
    """What the checkers did from then on, in order, with the seconds. Pure."""
    found = []
    for node, told in events.items():
        for event in told:
            after = (datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")) - since).total_seconds()
            if after >= 0 and event["event"] in _TOLD:
                found.append((after, f"{after:+8.2f} s  {node} {_TOLD[event['event']].format(**event)}"))
    return [line for _after, line in sorted(found)]


def timeline(reports: Mapping[str, Report], tenures: Sequence[Tenure], stays: Sequence[Stay], zero: float) -> list[str]:
    """Who held the lease, had the address in its kernel, and answered each client, in seconds from ``zero``. Pure."""
    rows = [("holder over time (s)", "epoch", "holds the lease", "has the address", *(f"answers {name}" for name in reports))]
    for held in tenures:
        if not held.node:
            rows.append(("nobody", str(held.epoch), _span(held.begin, held.end, zero), *[""] * (1 + len(reports))))
            continue
        there = [stay for stay in stays if stay.node == held.node and stay.begin <= held.end and held.begin <= stay.end]
        had = _span(there[0].begin, there[-1].end, zero) if there else "-"
        answered = []
        for report in reports.values():
            mine = [one for one in report.answers if one.node == held.node and held.begin <= one.asked <= held.end]
            answered.append(_span(mine[0].asked, max(one.answered for one in mine), zero) if mine else "-")
        rows.append((held.node, str(held.epoch), _span(held.begin, held.end, zero), had, *answered))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _span(begin: float, end: float, zero: float) -> str:
    return f"{begin - zero:6.2f} to {'now' if end == float('inf') else f'{end - zero:.2f}'}"
