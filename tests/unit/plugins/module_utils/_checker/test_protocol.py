# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over the checker's socket, and its configuration: right input read, wrong input refused in one line."""

from __future__ import annotations

import json

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.protocol import Request, encode, parse_reply, parse_request, refusal
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, HoldfastError, NotConverged, ProbeFailed, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES

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
    ],
)
def test_wrong_configurations_are_refused(change: dict[str, object], cause: str) -> None:
    with pytest.raises(BadInput, match=cause) as caught:
        parse_config(json.loads(json.dumps({**GOOD, **change})), "checker.json")
    assert "\n" not in caught.value.message
    assert "s3cret" not in caught.value.message
