# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration says of who held the service, and for how long a client did without."""

from __future__ import annotations

from datetime import datetime, timezone

from lab.demo_failover import timeline, trail
from lab.demo_run import outage
from lab.oracle import Stay, tenures_of
from lab.prober import Answer, Outage, Report


def report(*answers: Answer, lost: float = 0.0) -> Report:
    return Report("10.1.0.10", 9, answers, (Outage(None, None, 1, lost),) if lost else (), ())


def test_the_holder_over_time() -> None:
    tenures = tenures_of([(99.0, "node-a", 7), (103.0, "", 7), (103.5, "node-b", 8)])
    stays = (Stay("node-a", 99.5, 102.5), Stay("node-b", 103.6, 110.0))
    answers = (Answer(0, 99.6, 99.61, "node-a", 0), Answer(1, 102.0, 102.25, "node-a", 0), Answer(2, 104.0, 104.5, "node-b", 0))
    assert timeline({"client-c": report(*answers), "outside": report()}, tenures, stays, zero=100.0) == [
        "holder over time (s)  epoch  holds the lease  has the address  answers client-c  answers outside",
        "node-a                7       -1.00 to 3.00    -0.50 to 2.50    -0.40 to 2.25    -",
        "nobody                7        3.00 to 3.50",
        "node-b                8        3.50 to now      3.60 to 10.00    4.00 to 4.50    -",
    ]


def test_the_outage() -> None:
    mine = Answer(0, 1.0, 1.001, "node-a", 0)
    assert outage(report(mine), "node-a") == "none"
    assert outage(report(mine, lost=1.5), "node-a") == "1,500 ms"
    assert outage(report(mine, Answer(1, 2.0, 2.5, "node-b", 0)), "node-a") == "500 ms of answers from node-b"


def test_what_the_checkers_did() -> None:
    def event(second: int, name: str, **facts: object) -> dict[str, object]:
        return {"time": f"2026-11-22T10:00:{second:02}.500Z", "event": name, "tag": "web", **facts}

    events = {
        "node-a": [event(1, "acquired", epoch=6), event(9, "peer alive"), event(12, "run ended", playbook="recover", seconds=2.25)],
        "node-b": [event(10, "acquired", epoch=7), event(13, "released")],
    }
    assert trail(events, datetime(2026, 11, 22, 10, 0, 8, tzinfo=timezone.utc)) == [
        "   +2.50 s  node-b takes the lease, epoch 7",
        "   +4.50 s  node-a the playbook recover has ended after 2.2 s",
        "   +5.50 s  node-b lets the lease go",
    ]
