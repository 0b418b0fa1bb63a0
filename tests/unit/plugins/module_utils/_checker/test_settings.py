# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of right and wrong triggers, events, metrics and notify."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting import log as events
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import parse_reporting
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import (
    AwxTrigger,
    PlaybookTrigger,
    WebhookTrigger,
    parse_triggers,
)
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Endpoint

AWX: dict[str, Any] = {"type": "awx", "url": "https://awx.example.org/", "job_template": 7, "token_file": "/etc/holdfast/awx.token"}


def test_triggers_are_read_in_their_order() -> None:
    raw = [
        {"type": "playbook", "command": "/opt/holdfast/venv/bin/ansible-playbook", "armed": True, "timeout": 60, "at_once": 4},
        {**AWX, "job_template": "recover it++My Org", "poll": 0.5, "ca_cert": "/etc/ca.pem"},
        {"type": "webhook", "url": "http://127.0.0.1:5000/endpoint"},
    ]
    assert parse_triggers(raw, "triggers") == (
        PlaybookTrigger("/opt/holdfast/venv/bin/ansible-playbook", "/etc/holdfast/variables.json", 60.0, True, 4),
        AwxTrigger(Endpoint("https://awx.example.org", "/etc/holdfast/awx.token", True, "/etc/ca.pem", 5.0), "recover it++My Org", 300.0, 0.5),
        WebhookTrigger(Endpoint("http://127.0.0.1:5000/endpoint", None, True, None, 5.0), 10.0),
    )
    assert parse_triggers(None, "triggers") == ()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({}, "t: this has to be a list"),
        (["playbook"], "t[0].type: "),
        ([{"type": "ssh"}], "t[0].type: 'ssh' is no type of trigger"),
        ([{"type": "playbook"}], "t[0].command: it is missing"),
        ([{"type": "playbook", "command": "ansible-playbook"}], "t[0].command: 'ansible-playbook' is no absolute path"),
        ([{"type": "playbook", "command": "/a", "timeout": 0}], "t[0].timeout: this has to be a number from 1 to"),
        ([{"type": "playbook", "command": "/a", "timeout": True}], "t[0].timeout"),
        ([{"type": "playbook", "command": "/a", "armed": "yes"}], "t[0].armed: this has to be true or false"),
        ([{"type": "playbook", "command": "/a", "extra": 1}], "t[0]: 'extra' is not known here"),
        ([{**AWX, "token_file": None}], "t[0].token_file: it is missing"),
        ([{**AWX, "job_template": "by name alone"}], "neither a number nor NAME++ORGANIZATION"),
        ([{**AWX, "job_template": "7/launch"}], "neither a number nor NAME++ORGANIZATION"),
        ([{**AWX, "job_template": True}], "t[0].job_template"),
        ([{**AWX, "url": "http://awx.example.org"}], "in the clear; use https"),
        ([{**AWX, "url": "https://me:hush@awx.example.org"}], "secrets belong in token_file"),
        ([{**AWX, "url": "https://awx.example.org/?token=hush"}], "secrets belong in token_file"),
        ([{**AWX, "url": "ftp://awx.example.org"}], "this has to be a URL"),
        ([{**AWX, "url": "https://awx.example.org:99999"}], "this has to be a URL"),
        ([{**AWX, "url": "https://[::1"}], "this has to be a URL"),
        ([{**AWX, "validate_certs": False, "ca_cert": "/etc/ca.pem"}], "means nothing with validate_certs false"),
        ([{"type": "webhook", "url": "http://eda.example.org", "token_file": "/etc/t"}], "in the clear"),
    ],
)
def test_wrong_triggers_are_refused_in_one_line(raw: object, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_triggers(raw, "t")
    assert told in caught.value.message
    assert "hush" not in caught.value.message


def test_reporting() -> None:
    raw = {
        "cluster": "is not looked at",
        "events": "/var/log/holdfast/events.jsonl",
        "metrics": {"textfile": "/var/lib/node_exporter/holdfast.prom", "listen": "[::1]:9447"},
        "notify": [{"command": ["/usr/bin/logger", "-t", "holdfast"], "events": ["fault"]}, {"url": "https://hooks.example.org/x", "timeout": 2}],
    }
    given = parse_reporting(raw, "c")
    assert given.events == "/var/log/holdfast/events.jsonl"
    assert given.metrics == events.MetricsSettings("/var/lib/node_exporter/holdfast.prom", ("::1", 9447))
    assert given.notify == (
        events.CommandReceiver(("/usr/bin/logger", "-t", "holdfast"), ("fault",), 10.0),
        events.WebhookReceiver(Endpoint("https://hooks.example.org/x", None), events.NOTEWORTHY, 2.0),
    )
    assert parse_reporting({}, "c") == events.Reporting()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"events": "events.jsonl"}, "c.events: 'events.jsonl' is no absolute path"),
        ({"metrics": []}, "c.metrics: this has to be a mapping"),
        ({"metrics": {"textfile": "/x.txt"}}, "has to end in .prom"),
        ({"metrics": {"listen": "0.0.0.0:9447"}}, "is not loopback"),
        ({"metrics": {"listen": "127.0.0.1"}}, "an address and a port"),
        ({"metrics": {"listen": "127.0.0.1:0"}}, "an address and a port"),
        ({"metrics": {"port": 1}}, "c.metrics: 'port' is not known here"),
        ({"notify": {}}, "c.notify: this has to be a list"),
        ({"notify": ["mail"]}, "c.notify[0]: this has to be a mapping"),
        ({"notify": [{}]}, "c.notify[0]: give command, or url"),
        ({"notify": [{"command": "mail root"}]}, "c.notify[0].command: this has to be a list"),
        ({"notify": [{"command": ["mail", "root"]}]}, "begins with the absolute path of a program"),
        ({"notify": [{"command": ["/bin/x"], "url": "https://x.example.org"}]}, "c.notify[0]: 'url' is not known here"),
        ({"notify": [{"url": "http://x.example.org", "token_file": "/t"}]}, "in the clear"),
    ],
)
def test_wrong_reporting_is_refused_in_one_line(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_reporting(raw, "c")
    assert told in caught.value.message
