# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast status` prints, word for word, for each state that a node can be in."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import advice_for, is_well, state_of
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_text import render

WIDE, MIDDLE, NARROW = 200, 110, 72
EC2 = {
    "checked_ago": 4.2,
    "error": None,
    "routes_right": 3,
    "routes_total": 3,
    "source_dest_check": False,
    "elastic_ip": "203.0.113.5",
    "elastic_ip_right": True,
}
WEB: dict[str, Any] = {
    "tag": "web",
    "held": True,
    "epoch": 1795373160,
    "holder": "node-a",
    "error": "",
    "role": "active",
    "phase": "watching",
    "health": "healthy",
    "reasons": [],
    "address": "10.1.0.10/32",
    "interface": "eth0",
    "interface_up": True,
    "backup_interface": "eth1",
    "ec2": EC2,
    "dependents": [{"name": "app", "kind": "service", "state": "active"}, {"name": "warm", "kind": "tasks", "state": "unknown"}],
    "ready": True,
    "ready_reason": "",
    "last_recovery": {"ago": 185, "seconds": 1.24, "ok": True, "what": "routes", "message": ""},
    "next_attempt_in": None,
    "flapping": False,
    "paused": False,
    "advice": "",
}
STANDBY = {**WEB, "held": False, "epoch": 17, "holder": "node-b", "role": "standby", "last_recovery": None}
DB = {**STANDBY, "tag": "db", "ec2": None, "dependents": [], "address": "10.1.0.20/22", "backup_interface": None}
PEERS = [
    {
        "node": "node-b",
        "alive": True,
        "age": 0.4,
        "resources": {"db": {"ready": True, "held": True, "paused": True}, "web": {"ready": False, "held": False, "reason": "eth0 is down"}},
    },
    {"node": "node-c", "alive": False, "age": 340, "resources": {}},
]
ABOUT = {"ok": True, "cluster": "web-prod", "node": "node-a", "version": "0.1.0", "timing": "standard", "armed": {"pid": 12}, "store_error": None}
#: What is added to the status; the width and the text are in the file beside this one.
CASES: dict[str, dict[str, Any]] = {
    "all healthy": {"resources": [DB, WEB], "peers": PEERS},
    "all healthy less wide": {"resources": [DB, WEB]},
    "all healthy narrow": {"resources": [DB, WEB], "peers": PEERS},
    "failed and recovering": {
        "resources": [
            {
                **WEB,
                "health": "failed",
                "phase": "recovering",
                "interface_up": False,
                "reasons": ["eth0 has no carrier", "10.1.0.10/32 in rtb-0a1b leads to eni-0123"],
                "ec2": {**EC2, "routes_right": 2, "source_dest_check": True, "elastic_ip_right": False},
            }
        ]
    },
    "failed and backing off": {
        "resources": [
            {
                **WEB,
                "health": "failed",
                "phase": "backing off",
                "next_attempt_in": 12.4,
                "reasons": ["no answer from 10.0.1.1"],
                "last_recovery": {"ago": 5, "seconds": 33, "ok": False, "what": "address", "message": "10.0.1.1 does not answer on eth0 nor on eth1"},
            }
        ]
    },
    "unknown since ec2 is silent": {
        "resources": [{**WEB, "health": "unknown", "ec2": {**EC2, "checked_ago": 64, "error": "DescribeRouteTables: no reply within 2 s"}}]
    },
    "held down and flapping": {
        "resources": [
            {**WEB, "health": "failed", "phase": "held down", "flapping": True, "next_attempt_in": 48, "reasons": ["10.1.0.10/32 is not on eth0"]}
        ]
    },
    "paused": {
        "resources": [
            {
                **WEB,
                "health": "failed",
                "phase": "paused",
                "paused": True,
                "reasons": ["the source/destination check is on"],
                "ec2": {**EC2, "source_dest_check": True},
            }
        ]
    },
    "standby not ready": {
        "resources": [
            {
                **STANDBY,
                "ec2": {**EC2, "source_dest_check": True, "elastic_ip_right": False},
                "ready": False,
                "ready_reason": "eth0 is down",
                "interface_up": False,
            }
        ]
    },
    "no checker": {
        "watched": False,
        "version": None,
        "timing": None,
        "armed": None,
        "resources": [
            {
                "tag": "web",
                "role": "active",
                "holder": None,
                "epoch": None,
                "health": "healthy",
                "reasons": [],
                "address": "10.1.0.10/32",
                "interface": "eth0",
                "interface_up": True,
                "backup_interface": "eth1",
                "ec2": {**EC2, "routes_right": None, "routes_total": None, "source_dest_check": None, "elastic_ip_right": None},
                "dependents": [{"name": "app", "kind": "service", "state": None}],
                "last_recovery": None,
            }
        ],
    },
    "store unreachable": {"store_error": "no answer from https://10.0.0.5:2379 within 1.5 s", "armed": None, "resources": [WEB]},
    "nobody holds anything": {
        "armed": [],
        "resources": [
            {**DB, "holder": "", "epoch": 18},
            {**STANDBY, "advice": "it was taken out of service; name a node: holdfast switchover web --to NODE", "holder": ""},
        ],
    },
    "as in the documentation": {
        "resources": [
            DB,
            {
                **WEB,
                "health": "failed",
                "phase": "backing off",
                "next_attempt_in": 12.4,
                "interface_up": False,
                "reasons": ["eth0 has no carrier", "10.1.0.10/32 in rtb-0a1b leads to eni-0123"],
                "ec2": {**EC2, "routes_right": 2, "source_dest_check": True, "elastic_ip_right": False},
                "last_recovery": {"ago": 5, "seconds": 33, "ok": False, "what": "address", "message": "no answer from 10.0.1.1"},
            },
        ],
        "peers": [
            {"node": "node-b", "alive": True, "age": 0.1, "resources": {"db": {"ready": True, "held": True}, "web": {"ready": True, "held": False}}}
        ],
    },
    "no resources": {"resources": []},
}


def golden() -> dict[str, tuple[int, str]]:
    """The width and the text of each case."""
    _licence, *parts = Path(__file__).with_name("status.txt").read_text(encoding="ascii").split("### ")
    heads = [part.partition("\n") for part in parts]
    return {head.partition(" | ")[0]: (int(head.partition(" | ")[2]), text) for head, _between, text in heads}


def test_every_case_has_its_text() -> None:
    assert list(golden()) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_word_for_word(name: str) -> None:
    width, expected = golden()[name]
    text = render({**ABOUT, **CASES[name]}, width)
    lines = text.splitlines()
    assert lines == expected.splitlines()
    assert all(len(line) <= width for line in lines)
    assert text.isascii()


def test_the_documentation_shows_what_is_printed() -> None:
    page = Path(__file__).resolve().parents[5] / "docs/docsite/rst/command.rst"
    shown = textwrap.indent(golden()["as in the documentation"][1].rstrip(), "   ")
    assert f".. code-block:: text\n\n{shown}\n\n" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_colour_adds_no_word_and_takes_none_away(name: str, width: int) -> None:
    status = {**ABOUT, **CASES[name]}
    coloured = render(status, width, colour=True)
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == render(status, width)
    assert ("\033[" in coloured) == bool(status["resources"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW, 1])
def test_every_form_tells_the_same(name: str, width: int) -> None:
    status = {**ABOUT, **CASES[name]}
    text = " ".join(render(status, width).split())
    for one in status["resources"]:
        for fact in (one["tag"], state_of(one, status.get("watched", True)), one["interface"], *one["reasons"]):
            assert str(fact) in text, fact
        if one["holder"]:
            assert one["holder"] in text
        if one["epoch"]:
            assert str(one["epoch"]) in text
        if one["ec2"] and one["ec2"]["routes_total"]:
            assert f"{one['ec2']['routes_right']}/3" in text


@pytest.mark.parametrize(
    ("change", "state", "well"),
    [
        ({}, "HEALTHY", True),
        ({"health": "failed"}, "FAILED", False),
        ({"health": "unknown"}, "UNKNOWN", False),
        ({"health": "on fire"}, "UNKNOWN", False),
        ({"held": False, "role": "standby", "holder": "node-b"}, "STANDBY", True),
        ({"held": False, "role": "standby", "holder": "node-b", "ready": False}, "NOT READY", False),
        ({"held": False, "role": "standby", "holder": ""}, "NOT HELD", False),
        ({"held": False, "role": "standby", "holder": None}, "UNKNOWN", False),
        ({"held": False, "role": "standby", "holder": "node-b", "health": "failed"}, "FAILED", False),
    ],
)
def test_states(change: dict[str, Any], state: str, well: bool) -> None:
    one = {**WEB, **change}
    assert state_of(one) == state
    assert is_well({**ABOUT, "resources": [one]}) is well
    assert not is_well({**ABOUT, "resources": [one], "store_error": "no answer"})


def test_what_is_wrong_is_always_followed_by_what_to_do() -> None:
    for health in ("failed", "unknown"):
        for phase in ("watching", "held down", "paused"):
            one = {**WEB, "health": health, "phase": phase, "paused": phase == "paused"}
            assert advice_for(one), (health, phase)
    assert advice_for(WEB) == ""
    assert advice_for({**WEB, "health": "failed", "advice": "plug it in"}) == "plug it in"


def test_text_from_elsewhere_does_not_reach_the_terminal_as_it_is() -> None:
    one = {**WEB, "health": "failed", "reasons": ["\033[2Jall is well\nHEALTHY\u202e"]}
    text = render({**ABOUT, "resources": [one], "peers": [{"node": "b\x07", "alive": True, "resources": {}}]}, WIDE)
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "?[2Jall is well HEALTHY?" in text


def test_what_an_older_checker_says_is_enough() -> None:
    """The fields of the first slice alone."""
    one = {"tag": "web", "held": True, "epoch": 3, "expires_in": 7.0, "serving": True, "holder": "node-a", "watching": True, "error": "no reply"}
    text = render({"ok": True, "cluster": "c", "node": "node-a", "resources": [one]}, WIDE)
    assert "UNKNOWN" in text
    assert "no reply" in text
