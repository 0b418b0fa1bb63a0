# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: who held what, how long it failed, and that nothing in it is taken for markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from ansible_collections.holdfast.ha.plugins.plugin_utils._report import outages, read_events, report_page, stays

_EC2 = {"error": "", "routes": [], "source_dest_check": None, "elastic_ip": None, "elastic_ip_right": True}
_ENTRY = {
    "tag": "web",
    "node": "node-a",
    "address": "10.1.0.10/32",
    "primary_interface": "eth0",
    "primary_state": "up",
    "backup_interface": "eth1",
    "in_service": True,
    "health": "healthy",
    "reasons": [],
    "ec2": _EC2,
}
NIGHT = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


def line(second: float, node: str, event: str, **facts: Any) -> str:
    whole, milli = divmod(round((NIGHT + second) * 1000), 1000)
    minute, rest = divmod(whole - 1_789_999_980, 60)
    stamp = f"2026-09-21T14:{13 + minute:02d}:{rest:02d}.{milli:03d}Z"
    return json.dumps({"time": stamp, "cluster": "web-prod", "node": node, "event": event, **facts})


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps what is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_failover_as_the_events_of_both_nodes_tell_it() -> None:
    events, broken = read_events(
        [
            line(12, "node-b", "acquired", tag="web", epoch=5),
            line(0, "node-a", "acquired", tag="web", epoch=4),
            line(1, "node-a", "serve", tag="web"),
            line(2, "node-a", "fault", tag="web", reasons=["its link is down"]),
            line(2.05, "node-a", "recovered", tag="web"),
            line(12.5, "node-b", "takeover", tag="web", ok=True),
            line(20, "node-b", "released", tag="web"),
            line(20.1, "node-a", "acquired", tag="web", epoch=6),
            line(0, "node-a", "acquired", tag="web", epoch=4),  # read twice
            "half a li",
            "",
        ]
    )

    assert (len(events), broken) == (8, 1)
    assert [(one.node, round(one.begin - NIGHT, 1), round(one.end - NIGHT, 1), one.over) for one in stays(events, NIGHT + 30)] == [
        ("node-a", 0, 12, True),
        ("node-b", 12, 20, True),
        ("node-a", 20.1, 30, False),
    ]
    assert [(one.node, round(one.seconds, 3), one.what) for one in outages(events, NIGHT + 30)] == [("node-a", 0.05, "its link is down")]


def test_lease_that_was_left_to_expire_ends_the_stay() -> None:
    events, _broken = read_events([line(0, "node-a", "acquired", tag="web", epoch=4), line(5, "node-a", "expire", tag="web")])

    assert [(round(one.end - NIGHT), one.over) for one in stays(events, NIGHT + 30)] == [(5, True)]


def test_fault_that_goes_on_and_takeover_that_failed() -> None:
    events, _broken = read_events([line(0, "node-a", "fault", tag="web", faults=["routes"]), line(1, "node-b", "takeover", tag="web", ok=False)])

    assert stays(events, NIGHT + 5) == []
    (one,) = outages(events, NIGHT + 5)
    assert (round(one.seconds), one.over, one.what) == (5, False, "routes")


def test_page_is_whole_and_needs_nothing_else() -> None:
    route = {"route_table_id": "rtb-1", "destination": "10.1.0.10/32", "before": "eni-2", "after": "eni-1", "error": None}
    told = [line(0, "node-a", "acquired", tag="web"), line(5, "node-a", "fault", tag="web", reasons=["a route"]), "rubbish"]
    looked = [{**_ENTRY, "ec2": {**_EC2, "routes": [route]}}]

    text = report_page([_ENTRY], told, looked, "web-prod", NIGHT + 10)
    page = Page(text)

    assert {"table", "svg", "style", "rect"} <= set(page.seen)
    assert not {"script", "link", "img", "iframe"} & set(page.seen)
    assert not {"src", "href", "onload"} & {name for name, _value in page.attributes}
    assert "url(" not in text
    assert "@media print" in text
    for shown in ("web-prod: protected addresses", "rtb-1", "eni-2", "to be changed", "5.0 s and going on", "a route", "healthy"):
        assert shown in page.texts, shown
    assert "1 lines of the event files could not be read." in page.texts


def test_empty_cluster_has_a_page() -> None:
    assert "No resource is known on any of these nodes." in Page(report_page([])).texts


def test_nothing_is_taken_for_markup() -> None:
    evil = "<script>alert('x')</script>\"&"
    ec2 = {**_EC2, "error": evil, "routes": [{"route_table_id": evil, "destination": evil, "before": evil, "after": "-", "error": None}]}
    entry = {**_ENTRY, "tag": evil, "node": evil, "address": evil, "reasons": [evil], "health": evil, "ec2": ec2}
    events = [line(0, evil, "acquired", tag=evil), line(1, evil, "fault", tag=evil, reasons=[evil]), line(2, evil, evil, tag=evil, **{evil: evil})]

    text = report_page([entry], events, [entry], evil, NIGHT + 3)

    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.seen
    assert {name for name, _value in page.attributes} <= {
        *(
            "charset",
            "data-name",
            "name",
            "content",
            "lang",
            "class",
            "viewbox",
            "role",
            "aria-label",
            "x",
            "y",
            "x1",
            "x2",
            "y1",
            "y2",
            "width",
            "height",
            "text-anchor",
        ),
    }
    assert page.texts.count(evil) > 5


def test_many_events_are_cut_and_said_to_be() -> None:
    texts = Page(report_page([_ENTRY], (line(second / 10, "node-a", "check", tag="web", number=second) for second in range(400)))).texts
    assert "The last 300 of 400." in texts
    assert "number: 100" in texts
    assert "number: 99" not in texts
