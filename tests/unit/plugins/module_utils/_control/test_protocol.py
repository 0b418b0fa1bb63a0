# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over the checker's socket, and its configuration: right input read, wrong input refused in one line."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import Request, encode, parse_reply, parse_request, refusal
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotConverged, ProbeFailed, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import Checks

STORE = {"type": "etcd", "endpoints": ["https://10.0.0.5:2379"], "username": "holdfast", "password": "s3cret"}
GOOD = {"cluster": "web-prod", "node": "node-a", "store": STORE}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"op": "status"}, Request("status")),
        ({"op": "status", "tag": "web"}, Request("status", "web")),
        ({"op": "acquire", "tag": "web", "wait": 30}, Request("acquire", "web", 30.0)),
        ({"op": "release", "tag": "web", "handoff_to": "node-b"}, Request("release", "web", handoff_to="node-b")),
        ({"op": "serve", "tag": "web", "gateway": "10.0.0.1"}, Request("serve", "web", gateway="10.0.0.1")),
        ({"op": "withdraw", "tag": "web"}, Request("withdraw", "web")),
        ({"op": "check", "tag": "web"}, Request("check", "web")),
        ({"op": "recover", "tag": "web", "wait": 60}, Request("recover", "web", 60.0)),
        ({"op": "switchover", "tag": "web", "to": "node-b"}, Request("switchover", "web", to="node-b")),
        ({"op": "pause"}, Request("pause")),
        ({"op": "resume", "tag": "web"}, Request("resume", "web")),
        ({"op": "release", "tag": "web", "handoff_to": "-"}, Request("release", "web", handoff_to="-")),
    ],
)
def test_requests(said: dict[str, object], meant: Request) -> None:
    assert parse_request(encode(said)) == meant


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"", "one line with a JSON object"),
        (b"[1]\n", "one line with a JSON object"),
        (b"[" * 60000, "one line with a JSON object"),
        (b'{"op": "reboot"}\n', "op: 'reboot' is none of"),
        (b'{"op": ["status"]}\n', "is none of"),
        (b'{"op": "acquire"}\n', "is not a tag"),
        (b'{"op": "acquire", "tag": "../etc"}\n', "is not a tag"),
        (b'{"op": "acquire", "tag": "web", "handoff_to": "node-b"}\n', "does not go with acquire"),
        (b'{"op": "acquire", "tag": "web", "wait": -1}\n', "wait: "),
        (b'{"op": "acquire", "tag": "web", "wait": true}\n', "wait: "),
        (b'{"op": "acquire", "tag": "web", "wait": NaN}\n', "wait: "),
        (b'{"op": "release", "tag": "web", "handoff_to": "a b"}\n', "handoff_to"),
        (b'{"op": "serve", "tag": "web", "gateway": "x; reboot"}\n', "gateway"),
        (b'{"op": "recover"}\n', "is not a tag"),
        (b'{"op": "switchover", "tag": "web"}\n', "to: say to which node"),
        (b'{"op": "switchover", "tag": "web", "to": "-"}\n', "is not a node"),
        (b'{"op": "pause", "tag": "web", "wait": 1}\n', "does not go with pause"),
    ],
)
def test_wrong_requests_are_refused(line: bytes, cause: str) -> None:
    with pytest.raises(BadInput, match=cause) as caught:
        parse_request(line)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("error", [Refused("held by node-b"), ProbeFailed("no answer"), NotConverged("not yet")])
def test_an_error_comes_out_as_it_went_in(error: HoldfastError) -> None:
    with pytest.raises(type(error), match=f"^{error.message}$"):
        parse_reply(encode(refusal(error)))


@pytest.mark.parametrize("line", [b"", b'{"ok": tr', b"[]", b'{"ok": "yes"}'])
def test_half_a_reply_is_no_success(line: bytes) -> None:
    with pytest.raises(NotConverged, match="cut off"):
        parse_reply(line)


def test_a_configuration() -> None:
    config = parse_config({**GOOD, "timing": "fast"}, "checker.json")
    assert (config.cluster, config.node, config.timing) == ("web-prod", "node-a", PROFILES["fast"])
    assert "s3cret" not in repr(config)


def test_all_that_a_configuration_may_have() -> None:
    given = {
        "timing": {"profile": "fast", "ttl": 6, "renew": 1},
        "nodes": ["node-a", "node-b"],
        "peers": {"addresses": {"node-a": "10.0.1.10", "node-b": "10.0.2.10"}},
        "triggers": [{"type": "playbook", "command": "/opt/holdfast/venv/bin/ansible-playbook"}],
        "checks": {"interval": 2, "max_recoveries": 3},
        "reflex": False,
        "aws": {"region": "eu-central-1", "secret_key": "s3cret", "access_key": "AKIA"},
        "events": "/var/log/holdfast/events.jsonl",
        "metrics": {"listen": "127.0.0.1:9447"},
        "notify": [{"command": ["/bin/true"]}],
    }
    config = parse_config({**GOOD, **given}, "checker.json")
    assert (config.profile, config.timing) == ("fast", dataclasses.replace(PROFILES["fast"], ttl=6, renew=1))
    assert (config.nodes, config.reflex, config.checks) == (("node-a", "node-b"), False, Checks(interval=2, max_recoveries=3))
    assert (len(config.triggers), len(config.reporting.notify), config.aws["validate_certs"]) == (1, 1, True)
    assert config.peers is not None
    assert "s3cret" not in repr(config)


def test_what_is_left_out_has_defaults() -> None:
    config = parse_config(GOOD, "checker.json")
    assert (config.nodes, config.peers, config.triggers, config.checks, config.reflex, config.aws) == (("node-a",), None, (), Checks(), True, {})


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"cluster": None}, "cluster is missing"),
        ({"cluster": "Web Prod"}, "is not a tag"),
        ({"node": "a b"}, "is not a node's name"),
        ({"store": {}}, "no store is set"),
        ({"store": {**STORE, "password": None}}, "belong together"),
        ({"timing": []}, "is none of fast, standard"),
        ({"ttl": 5}, "'ttl' is not known here"),
        ({"timing": {"profile": "slow"}}, "is none of fast, standard"),
        ({"timing": {"profile": "fast", "ttl": 1}}, "R \\+ 2C \\+ 1"),
        ({"timing": {"T": 5}}, "'T' is not known here"),
        ({"nodes": []}, "nodes: this has to be a list"),
        ({"nodes": ["node-b"]}, "node-a, this node, is not among them"),
        ({"nodes": ["node-a", "node-a"]}, "a name is there twice"),
        ({"checks": {"interval": 0}}, "checks.interval: this has to be a number from 0.1"),
        ({"checks": {"rise": 1.5}}, "checks.rise: this has to be a whole number"),
        ({"checks": {"backoff": 400}}, "backoff_max: 300 is less than backoff"),
        ({"checks": {"often": 1}}, "'often' is not known here"),
        ({"reflex": "yes"}, "reflex: this has to be true or false"),
        ({"aws": {"token": "x"}}, "'token' is not known here"),
        ({"triggers": {}}, "triggers: this has to be a list"),
        ({"peers": {"addresses": {}}}, "addresses"),
        ({"metrics": {"listen": "0.0.0.0:1"}}, "is not loopback"),
    ],
)
def test_wrong_configurations_are_refused(change: dict[str, object], cause: str) -> None:
    with pytest.raises(BadInput, match=cause) as caught:
        parse_config(json.loads(json.dumps({**GOOD, **change})), "checker.json")
    assert "\n" not in caught.value.message
    assert "s3cret" not in caught.value.message
