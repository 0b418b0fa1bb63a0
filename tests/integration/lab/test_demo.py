# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration says of who held the service, and for how long a client did without."""

from __future__ import annotations

from lab.demo_failover import timeline
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
