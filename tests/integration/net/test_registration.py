# SPDX-License-Identifier: GPL-3.0-or-later
"""ip_resource in a real namespace: what is recorded, kept and forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.module import twelve_steps
from lab.netns import Namespace

from .conftest import Module, snapshot
from .test_ip_address import settle

WEB = {"tag": "web", "address": "172.17.106.10/22", "interface": "eth0", "backup_interface": "eth1"}


def given(**more: Any) -> dict[str, Any]:
    return {"tag": "web", "resource": WEB, "node": "ServerA", **more}


def state(node: Namespace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(node.run("cat", "/var/lib/holdfast/web.json").stdout)
    return content


def test_twelve_steps(node: Namespace, module: Module) -> None:
    settle(node)
    twelve_steps(
        lambda args, check: module("ip_resource", check, **args),
        lambda: snapshot(node),
        create=given(in_service=True),
        change=given(in_service=False),
        remove=given(state="absent"),
    )


@pytest.mark.python39
def test_what_is_recorded(node: Namespace, module: Module) -> None:
    answer = module("ip_resource", **given(in_service=True))
    assert answer["info"] == "ServerA eth0 172.17.106.10 fffffc00 eth1"
    assert answer["in_service"] is True
    assert state(node)["in_service"] is True
    assert node.run("stat", "-c", "%a", "/var/lib/holdfast/web.json").stdout == "600\n"
    shown = module("ip_resource_info", tag="web", node="ServerA")["resources"][0]
    assert (shown["in_service"], shown["info"]) == (True, answer["info"])


def test_what_is_not_asked_for_stays(node: Namespace, module: Module) -> None:
    module("ip_resource", **given(in_service=True))
    module("ip_backup_interface", tag="web", interface="eth1", state="absent", resource=WEB)
    answer = module("ip_resource", **given())
    assert answer["changed"] is False
    assert answer["in_service"] is True
    assert state(node)["backup_interface"] is None


def test_absent_needs_no_definition(node: Namespace, module: Module) -> None:
    module("ip_resource", **given(in_service=True))
    assert module("ip_resource", tag="web", state="absent")["changed"] is True
    assert module("ip_resource", tag="web", state="absent")["changed"] is False


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"tag": "web"}, "no resource web"),
        ({"tag": "../web"}, "is not a tag"),
        ({"tag": "web;reboot"}, "is not a tag"),
        ({"tag": "x" * 1_000_000}, "is not a tag"),
        ({"tag": "web", "resource": {**WEB, "interface": "eth0;reboot"}}, "is not an interface name"),
        ({"tag": "web", "resource": {**WEB, "adress": "10.1.0.10/32"}}, "did you mean address?"),
        ({"tag": "db", "resource": WEB}, "is not db"),
        ({"tag": "web", "resource": WEB, "node": "two words"}, "is not the name of a server"),
    ],
)
def test_bad_input(node: Namespace, module: Module, options: dict[str, Any], cause: str) -> None:
    settle(node)
    before = snapshot(node)
    answer = module("ip_resource", **options)
    assert answer["failed"]
    assert cause in answer["msg"]
    assert len(answer["msg"]) < 400
    assert snapshot(node) == before
