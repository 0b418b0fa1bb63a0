# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitor asks before it writes anything."""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker import validate as module
from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.validate import main, validate
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError

PASSWORD = "not-to-be-shown"
RIGHT: dict[str, Any] = {
    "checker": {
        "cluster": "web-prod",
        "node": "node-a",
        "nodes": ["node-a", "node-b"],
        "store": {"type": "etcd", "endpoints": ["https://10.0.0.5:2379"], "username": "u", "password": PASSWORD},
        "peers": {"addresses": {"node-a": "10.0.1.10", "node-b": "10.0.2.10"}},
    },
    "resources": [{"tag": "web", "address": "10.1.0.10/32", "interface": "eth0", "priority": {"node-a": 1}}],
    "key": "k" * 32,
}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The program takes the environment of the checker's unit; that ends with each test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    given = copy.deepcopy(RIGHT)
    change(given)
    return given


def test_what_is_right_is_taken() -> None:
    assert validate(RIGHT).cluster == "web-prod"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda given: given.update(resources=[]), "no resource to watch"),
        (lambda given: given["resources"].append(given["resources"][0]), "the tag web is that of holdfast_resources[0] already"),
        (lambda given: given["resources"].append({**given["resources"][0], "tag": "api"}), "is that of web already"),
        (lambda given: given["resources"][0].update(address="10.1.0.10/99"), "holdfast_resources[0]/address"),
        (lambda given: given["resources"][0].update(priority={"node-x": 1}), "node-x is no node of the cluster"),
        (lambda given: given["resources"][0].update(stop_budget=60), "stop_budget"),
        (lambda given: given["checker"].update(checks={"interval": -1}), "checks.interval"),
        (lambda given: given["checker"].update(store={"type": "etcd"}), "store.endpoints"),
        (lambda given: given["checker"]["peers"]["addresses"].pop("node-b"), "node-b has no address"),
        (lambda given: given["checker"]["peers"]["addresses"].update({"node-b": "node-b"}), "peers.addresses.node-b"),
        (lambda given: given.update(key="short"), "monitor_peer_key: it is shorter than 32 bytes"),
        (lambda given: given.pop("checker"), "it has to be a mapping"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(change: Callable[[dict[str, Any]], object], told: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        validate(changed(change))
    assert told in refused.value.message
    assert "\n" not in refused.value.message
    assert PASSWORD not in refused.value.message


@pytest.mark.parametrize(
    ("address", "told"),
    [
        pytest.param("10.0.1.10/24", "10.0.1.10 is that of the node node-a itself", id="own"),
        pytest.param("10.0.2.10/32", "10.0.2.10 is that of the node node-b itself", id="of-another-node"),
        pytest.param("fe80::1/64", "is a link-local address", id="link-local"),
        pytest.param("169.254.169.254/32", "is a link-local address", id="metadata"),
        pytest.param("169.254.10.1/16", "is a link-local address", id="link-local-ipv4"),
        pytest.param("fd00:ec2::254/128", "Amazon EC2 reserves", id="metadata-ipv6"),
        pytest.param("::ffff:10.1.0.10/128", "give it as 10.1.0.10/32", id="ipv4-in-ipv6"),
        pytest.param("::10.1.0.10/128", "give it as 10.1.0.10/32", id="ipv4-in-ipv6-as-it-was-once"),
        pytest.param("127.0.0.1/8", "cannot be the address of a service", id="loopback"),
        pytest.param("127.1.2.3/32", "cannot be the address of a service", id="loopback-other"),
        pytest.param("::1/128", "cannot be the address of a service", id="loopback-ipv6"),
        pytest.param("224.0.0.18/32", "cannot be the address of a service", id="multicast"),
        pytest.param("ff02::1/128", "cannot be the address of a service", id="multicast-ipv6"),
        pytest.param("255.255.255.255/32", "cannot be the address of a service", id="broadcast"),
        pytest.param("240.0.0.1/32", "cannot be the address of a service", id="reserved"),
        pytest.param("0.0.0.0/32", "cannot be the address of a service", id="none"),
        pytest.param("::/128", "cannot be the address of a service", id="none-ipv6"),
        pytest.param("10.1.0.0/24", "is the network or broadcast address of 10.1.0.0/24", id="network"),
        pytest.param("10.1.0.255/24", "is the network or broadcast address of 10.1.0.0/24", id="broadcast-of-the-network"),
    ],
)
def test_an_address_that_cannot_move_is_refused_in_words(address: str, told: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        validate(changed(lambda given: given["resources"][0].update(address=address)))
    assert told in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("first", "second"),
    [("10.1.0.10/32", "10.1.0.10/24"), ("fd00::10/64", "fd00:0:0::0010/128")],
)
def test_one_address_belongs_to_one_resource(first: str, second: str) -> None:
    web = {"tag": "web", "address": first, "interface": "eth0"}
    with pytest.raises(HoldfastError, match=r"^api: the address .* is that of web already\. Give each address to one resource\.$"):
        validate(changed(lambda given: given.update(resources=[web, {**web, "tag": "api", "address": second}])))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ({"type": "etcd", "endpoints": ["https://127.0.0.1:2379"], "ca_cert": "/gone/ca.pem"}, "/gone/ca.pem"),
        ({"type": "dynamodb", "table": "holdfast", "aws_ca_bundle": "/gone/ca.pem"}, "store.aws_ca_bundle: there is no file '/gone/ca.pem'"),
    ],
)
def test_what_this_host_does_not_have_is_seen_before_it_is_written(
    store: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(changed(lambda given: given["checker"].update(store=store)))))
    assert main() == 78
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


#: Credentials as the AWS CLI writes them.
KEYS = "[{}]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = x\n"


@pytest.mark.parametrize("of_root", ["", "default", "prod"])
@pytest.mark.parametrize("of_the_unit", ["", "default", "prod", "coming"])
@pytest.mark.parametrize("profile", ["", "prod"])
@pytest.mark.parametrize("where", ["store", "ec2", "environment"])
def test_credentials_that_the_checker_would_not_find_are_refused(
    where: str, profile: str, of_the_unit: str, of_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".aws").mkdir()
    if of_root:
        (tmp_path / ".aws/credentials").write_text(KEYS.format(of_root))
    named = tmp_path / "etc"
    if of_the_unit not in ("", "coming"):
        named.write_text(KEYS.format(of_the_unit))
    monkeypatch.setattr(module.pwd, "getpwuid", lambda uid: argparse.Namespace(pw_dir=str(tmp_path)))
    monkeypatch.setenv("AWS_PROFILE", "of-the-login")
    environment = {"AWS_EC2_METADATA_DISABLED": "true", **({"AWS_SHARED_CREDENTIALS_FILE": str(named)} if of_the_unit else {})}
    wanted = {"profile": profile} if profile and where != "environment" else {}
    environment.update({"AWS_PROFILE": profile} if profile and where == "environment" else {})

    def change(given: dict[str, Any]) -> None:
        given.update(environment=environment, secrets=[str(named)] if of_the_unit == "coming" else [])
        if where == "ec2":
            given["checker"]["aws"] = {"region": "eu-central-1", **wanted}
            given["resources"][0]["ec2"] = {"route_tables": "all"}
        else:
            given["checker"]["store"] = {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1", **wanted}

    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(changed(change))))
    code, said = main(), capsys.readouterr().err
    found = of_the_unit in (profile or "default", "coming")
    right = found or (not profile and not of_root)  # without a profile, an instance may have credentials for its role later
    assert (code, said.count("\n")) == ((0, 0) if right else (78, 1)), said
    assert right or "name it with AWS_SHARED_CREDENTIALS_FILE in monitor_environment" in said


def test_a_node_without_a_store_is_alone() -> None:
    def alone(given: dict[str, Any]) -> None:
        given["checker"].update(store={"type": "none"}, nodes=["node-a"])
        given["checker"].pop("peers")

    assert validate(changed(alone)).store.type == "none"
    with pytest.raises(HoldfastError, match="type none is for one node"):
        validate(changed(lambda given: given["checker"].update(store={"type": "none"})))


_RUNNING = {"tag": "web", "address": "10.1.0.10/32", "held": False, "holder": ""}
_ETCD = ["https://10.0.0.5:2379", "https://10.0.0.6:2379"]


def _elsewhere(**store: Any) -> Callable[[dict[str, Any]], object]:
    return lambda given: given["checker"].update(store=store)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda given: given["checker"].update(cluster="web-new"), "holdfast_cluster cannot be changed from web-prod to web-new"),
        (_elsewhere(type="etcd", endpoints=_ETCD[1:]), "holdfast_store cannot be changed to another store"),
        (_elsewhere(type="dynamodb", table="holdfast"), "holdfast_store cannot be changed to another store"),
        (lambda given: given["resources"][0].update(tag="www"), "the tag web cannot be changed to www"),
        (lambda given: given["resources"][0].update(tag="www", address="10.1.0.10/24"), "the tag web cannot be changed to www"),
        (_elsewhere(type="etcd", endpoints=_ETCD), ""),
        (lambda given: given["resources"][0].update(tag="www", address="10.1.0.11/32"), ""),
        (lambda given: given["resources"][0].update(address="10.1.0.11/32"), ""),
        (lambda given: given["checker"].update(nodes=["node-a", "node-b", "node-c"], peers=None), ""),
    ],
)
@pytest.mark.parametrize("state", [{"held": True, "holder": "node-a"}, {"held": False, "holder": "node-b"}, {"held": False, "holder": ""}], ids=str)
def test_a_lease_that_somebody_holds_stays_where_it_is(
    change: Callable[[dict[str, Any]], object],
    told: str,
    state: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also on a standby: it comes first in a rollout, and would take the lease in the new place while the holder goes on in the old one."""
    reply = {"cluster": "web-prod", "node": "node-a", "resources": [{**_RUNNING, **state}]}
    monkeypatch.setattr(module, "ask", lambda op: reply)
    monkeypatch.setattr(module, "read_config", lambda path: parse_config(RIGHT["checker"], str(path)))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(changed(change))))
    refused = told if state["holder"] else ""
    assert main() == (78 if refused else 0)
    said = capsys.readouterr().err
    assert refused in said
    if refused:
        assert f"{state['holder']} holds web" in said
        assert "Stop holdfast-checker.service on all nodes" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("held", [True, False])
def test_a_node_that_holds_a_lease_keeps_its_name(held: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An inventory that names hosts by their addresses would give it another one."""
    reply = {"cluster": "web-prod", "node": "node-a", "resources": [{**_RUNNING, "held": held, "holder": "node-a" if held else "node-b"}]}
    monkeypatch.setattr(module, "ask", lambda op: reply)
    monkeypatch.setattr(module, "read_config", lambda path: parse_config(RIGHT["checker"], str(path)))

    def change(given: dict[str, Any]) -> None:
        addresses = {"10.0.1.10": "10.0.1.10", "10.0.2.10": "10.0.2.10"}
        given["checker"].update(node="10.0.1.10", nodes=list(addresses), peers={"addresses": addresses})
        given["resources"][0].pop("priority")

    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(changed(change))))
    assert main() == (78 if held else 0)
    said = capsys.readouterr().err
    assert ("set holdfast_node to node-a for this host" in said) is held
    assert said.count("\n") == int(held)


def test_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(RIGHT)))
    assert main() == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**RIGHT, "key": ""})))
    assert main() == 78
    assert capsys.readouterr().err.count("\n") == 1
