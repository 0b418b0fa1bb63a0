# SPDX-License-Identifier: GPL-3.0-or-later
"""A definition is understood completely or refused by the place that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Dependent
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse

FULL: dict[str, Any] = {
    "tag": "web",
    "address": "10.1.0.10/32",
    "interface": "eth0",
    "backup_interface": "eth1",
    "probe": {"targets": ["10.0.1.1"], "require": "all", "tries": "2", "timeout": 0.5},
    "ec2": {"route_tables": "all", "elastic_ip": "203.0.113.5", "role_arn": "arn:aws:iam::1:role/x"},
    "dependents": [{"name": "app", "service": "nginx.service"}, {"name": "warm", "tasks": "/etc/holdfast/hooks/warm.yml", "timeout": 5}],
    "priority": {"node-a": 1, "node-b": "2"},
    "failback": "automatic",
    "fence": "stop_instance",
    "announce_interval": 30,
    "label": "vip",
    "stop_budget": 3,
    "on_stop_failure": "reboot",
}


def test_everything_is_read() -> None:
    web = parse(FULL)
    assert (web.tag, str(web.address), web.interface, web.backup_interface) == ("web", "10.1.0.10/32", "eth0", "eth1")
    assert (web.probe.targets, web.probe.require, web.probe.tries, web.probe.timeout) == (("10.0.1.1",), "all", 2, 0.5)
    assert web.ec2 is not None
    assert web.ec2.route_tables == ("all",)
    assert web.ec2.elastic_ip == "203.0.113.5"
    assert web.dependents == (Dependent("app", service="nginx.service"), Dependent("warm", tasks="/etc/holdfast/hooks/warm.yml", timeout=5.0))
    assert (web.announce_interval, web.label) == (30.0, ":vip")
    assert (dict(web.priority), web.failback, web.fence, web.stop_budget) == ({"node-a": 1, "node-b": 2}, "automatic", "stop_instance", 3.0)
    assert web.on_stop_failure == "reboot"


@pytest.mark.parametrize("unit", ["nginx", "nginx.service", "getty@tty1.service", r"dev-disk-by\x2duuid.swap", "app_1:2.socket"])
def test_names_of_units(unit: str) -> None:
    assert parse({**FULL, "dependents": [{"name": "app", "service": unit}]}).dependents[0].service == unit


def test_little_is_needed() -> None:
    app = parse({"tag": "app", "address": "fd00::10/128", "interface": "eth0", "backup_interface": None})
    assert app.backup_interface is None
    assert app.ec2 is None
    assert app.probe.targets == ()
    assert (app.failback, app.on_stop_failure) == ("manual", "wait")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"address": "10.1.0.10"}, "/holdfast_resources/0/address: "),
        ({"address": None}, "/holdfast_resources/0/address is missing"),
        ({"address": ["10.1.0.10/32"]}, "/holdfast_resources/0/address: "),
        ({"tag": "../web"}, "/holdfast_resources/0/tag: "),
        ({"tag": "Web"}, "/holdfast_resources/0/tag: "),
        ({"tag": "w" * 41}, "/holdfast_resources/0/tag: "),
        ({"interface": "eth0;reboot"}, "/holdfast_resources/0/interface: "),
        ({"interface": "e" * 1_000_000}, "/holdfast_resources/0/interface: "),
        ({"backup_interface": "eth0"}, "/holdfast_resources/0/backup_interface: "),
        ({"interfase": "eth0"}, "did you mean interface?"),
        ({"probe": {"target": []}}, "/holdfast_resources/0/probe: 'target' is not known here; did you mean targets?"),
        ({"probe": {"targets": ["x"]}}, "/holdfast_resources/0/probe/targets/0: "),
        ({"probe": {"targets": "10.0.1.1"}}, "/holdfast_resources/0/probe/targets: "),
        ({"probe": {"tries": 0}}, "/holdfast_resources/0/probe/tries: "),
        ({"probe": {"timeout": float("nan")}}, "/holdfast_resources/0/probe/timeout: "),
        ({"probe": []}, "/holdfast_resources/0/probe: "),
        ({"ec2": {"route_tables": []}}, "/holdfast_resources/0/ec2/route_tables: the list is empty"),
        ({"ec2": {"route_tables": ["tgw-1"]}}, "/holdfast_resources/0/ec2/route_tables/0: "),
        ({"ec2": {"elastic_ip": "300.1.1.1"}}, "/holdfast_resources/0/ec2/elastic_ip: "),
        ({"dependents": [{"name": "app"}]}, "/holdfast_resources/0/dependents/0: app needs either service or tasks"),
        ({"dependents": [{"name": "app", "service": "a", "tasks": "/b"}]}, "/holdfast_resources/0/dependents/0: "),
        *(
            ({"dependents": [{"name": "app", "service": unit}]}, "/holdfast_resources/0/dependents/0/service: ")
            for unit in ("--version", "-H host", "-Hhost", "*", "a*.service", "[a]", "a b", "../x.service", "/etc/x.service", "{{ x }}", "é.service")
        ),
        *(
            ({"dependents": [{"name": "app", "tasks": file}]}, "/holdfast_resources/0/dependents/0/tasks: ")
            for file in ("warm.yml", "./warm.yml", "../warm.yml", "/etc/holdfast/../warm.yml", "{{ x }}", "/etc/{{ x }}.yml", "http://x/y.yml")
        ),
        *(
            ({"address": address}, "/holdfast_resources/0/address: ")
            for address in ("192.168.1.100/2", "10.1.0.10/0", "169.254.169.254/32", "fe80::1/64", "::ffff:1.2.3.4/128", "::/128", "ff02::1/128")
        ),
        ({"priority": {"node-a": "first"}}, "/holdfast_resources/0/priority/node-a: "),
        ({"priority": {"node-a": True}}, "/holdfast_resources/0/priority/node-a: "),
        ({"failback": "maybe"}, "/holdfast_resources/0/failback: "),
        ({"fence": "none "}, "/holdfast_resources/0/fence: "),
        ({"label": "eth0:1"}, "/holdfast_resources/0/label: "),
        ({"label": "eleven-long"}, "/holdfast_resources/0/label: "),
        ({"label": "vip", "address": "fd00::10/64", "probe": None, "gateway": None}, "/holdfast_resources/0/label: "),
        ({"interface": "eth0:1"}, "/holdfast_resources/0/interface: 'eth0:1' is the label of an address"),
        ({"backup_interface": "eth1:1"}, "/holdfast_resources/0/backup_interface: 'eth1:1' is the label of an address"),
        ({"announce_interval": -1}, "/holdfast_resources/0/announce_interval: "),
        ({"announce_interval": 0.5}, "/holdfast_resources/0/announce_interval: "),
        ({"announce_interval": 3601}, "/holdfast_resources/0/announce_interval: "),
        ({"stop_budget": -1}, "/holdfast_resources/0/stop_budget: "),
        ({"on_stop_failure": "halt"}, "/holdfast_resources/0/on_stop_failure: 'halt' is none of wait, reboot"),
        ({"on_stop_failure": True}, "/holdfast_resources/0/on_stop_failure: "),
    ],
)
def test_what_is_wrong_is_named_by_its_place(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse({**FULL, **change})
    assert told in refused.value.message
    assert len(refused.value.message) < 300
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("definition", [None, [], "web", 7])
def test_what_is_no_definition(definition: object) -> None:
    with pytest.raises(BadInput, match="/holdfast_resources/0: "):
        parse(definition)
