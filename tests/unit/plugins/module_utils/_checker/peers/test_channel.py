# SPDX-License-Identifier: GPL-3.0-or-later
"""What checkers believe of each other's datagrams, and what they make of it: no socket, no clock."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.channel import (
    LONGEST,
    Acknowledgements,
    Channel,
    Message,
    RejectedDatagram,
    all_paused,
    answers,
    compact,
    fingerprint,
    questions,
    ready_standby,
    standbys,
    valid_resource,
)
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.settings import PeerSettings, parse_peers
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput

KEY = b"0123456789abcdef0123456789abcdef"


def channel(me: str, others: str = "a b c", *, key: bytes = KEY, cluster: str = "web", life: int = 1) -> Channel:
    numbers = itertools.count()
    return Channel(cluster, me, others.split(), key, lambda: f"{me}-{life}-{next(numbers)}")


def why(receiver: Channel, datagram: bytes) -> str:
    """Why it is not believed; fails when it is."""
    with pytest.raises(RejectedDatagram) as caught:
        receiver.open(datagram)
    return caught.value.reason


def attempt(receiver: Channel, datagram: bytes) -> tuple[Message | None, bytes | None]:
    """The message, or the answer to what was not believed."""
    try:
        return receiver.open(datagram), None
    except RejectedDatagram as dropped:
        return None, dropped.answer


def carry(sender: Channel, to: str, receiver: Channel, body: dict[str, Any]) -> Message | None:
    """One datagram there; and the answer to one that came unasked. The message, if it was believed."""
    message, answer = attempt(receiver, sender.seal(to, body)[1])
    if answer is not None:
        _hello, second = attempt(sender, answer)
        assert second is None, "two nodes would answer each other for ever"
    return message


def signed(content: dict[str, Any]) -> bytes:
    """A datagram with that content, made by somebody who has the key."""
    text = compact(content)
    return hmac.new(KEY, b"holdfast peers 1\0" + text, hashlib.sha256).digest() + text


@pytest.mark.parametrize("name", "cftskenb")
@pytest.mark.parametrize("value", ["\ud800", "a\udfff", "\0", 10**30, -1, True, None, [], {}, 1.5, float("nan")], ids=repr)
def test_no_content_of_a_datagram_ends_the_channel(name: str, value: Any) -> None:
    a, b = met()
    content = {"c": "web", "f": "a", "t": "b", "s": "a-9", "n": 1, "k": "x", "e": "y", "b": {}}
    message, _answer = attempt(b, signed({**content, name: value}))
    assert message is None
    assert carry(a, "b", b, {"ask": 1}), "the node is heard as before"


def met() -> tuple[Channel, Channel]:
    """Two nodes that have talked."""
    a, b = channel("a"), channel("b")
    for _round in range(3):
        carry(a, "b", b, {})
        carry(b, "a", a, {})
    return a, b


def test_two_nodes_believe_each_other_after_an_exchange_or_two() -> None:
    a, b = channel("a"), channel("b")
    heard = []
    for number in range(4):
        heard += [carry(a, "b", b, {"x": number}), carry(b, "a", a, {"y": number})]
    assert None not in heard[4:], "whatever the order in which they come to know each other"
    message = carry(a, "b", b, {"x": "é"})
    assert message is not None
    assert (message.sender, message.body) == ("a", {"x": "é"})


def test_both_at_once() -> None:
    a, b = channel("a"), channel("b")
    for _round in range(4):
        under_way = [(b, a, a.seal("b", {})[1]), (a, b, b.seal("a", {})[1])]
        believed = 0
        while under_way:
            receiver, sender, datagram = under_way.pop(0)
            message, answer = attempt(receiver, datagram)
            believed += message is not None
            if answer is not None:
                under_way.append((sender, receiver, answer))
    assert believed == 2


def seal(**changes: Any) -> bytes:
    """A datagram made with the key, by hand."""
    text = compact({"c": "web", "f": "a", "t": "b", "s": "s", "n": 1, "k": "k", "e": "b-1-1", "b": {}, **changes})
    return hmac.new(KEY, b"holdfast peers 1\0" + text, hashlib.sha256).digest() + text


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "malformed"),
        (b"x" * 32, "malformed"),
        (b"x" * 33, "forged"),
        (b"x" * 5000, "oversized"),
        (seal(b={"x": "y" * LONGEST}), "oversized"),
        (seal()[:-1], "forged"),
        (seal()[1:], "forged"),
        (seal() + b" ", "forged"),
        (seal()[:32] + seal(n=2)[32:], "forged"),
        (seal(c="other"), "foreign"),
        (seal(t="c"), "foreign"),
        (seal(f="z"), "stranger"),
        (seal(f="b"), "stranger"),
        (seal(e="b-0-1"), "stale"),
        (seal(e="ü"), "stale"),
        (seal(n="1"), "malformed"),
        (seal(n=None), "malformed"),
        (seal(b=[]), "malformed"),
        (seal(s=5), "malformed"),
        (seal(k={}), "malformed"),
    ],
)
def test_what_is_not_believed(datagram: bytes, reason: str) -> None:
    assert why(channel("b"), datagram) == reason


def test_the_one_by_hand_is_right_otherwise() -> None:
    assert channel("b").open(seal()).sender == "a"


@pytest.mark.parametrize("text", [b"5", b"[]", b"null", b"{}", b"\xff", b"[" * 1300])
def test_the_key_makes_no_sense_of_nonsense(text: bytes) -> None:
    assert why(channel("b"), hmac.new(KEY, b"holdfast peers 1\0" + text, hashlib.sha256).digest() + text) == "malformed"


def test_another_key() -> None:
    a, _b = met()
    assert why(channel("b", key=KEY[::-1]), a.seal("b", {})[1]) == "forged"


def test_replayed_and_reordered() -> None:
    a, b = met()
    first, second = a.seal("b", {"x": 1})[1], a.seal("b", {"x": 2})[1]
    assert b.open(second).body == {"x": 2}
    assert why(b, second) == "replayed"
    assert why(b, first) == "replayed"


def test_nothing_recorded_is_good_in_a_later_life_of_either() -> None:
    a, b = met()
    recorded = [a.seal("b", {"old": number})[1] for number in range(3)]
    later_b = channel("b", life=2)
    assert {why(later_b, one) for one in recorded} == {"stale"}
    assert b.open(recorded[0]).body == {"old": 0}
    later_a = channel("a", life=2)
    for _round in range(3):
        carry(later_a, "b", b, {})
    message = carry(later_a, "b", b, {"new": 1})
    assert message is not None
    assert {why(b, one) for one in recorded} == {"stale"}, "the challenge is new since the session is"
    assert carry(later_a, "b", b, {"new": 2}) is not None, "and that has not thrown it out"


def test_an_answer_to_a_replay_is_not_believed_and_harms_nobody() -> None:
    a, b = met()
    recorded = a.seal("b", {})[1]
    later_b = channel("b", life=2)
    with pytest.raises(RejectedDatagram) as caught:
        later_b.open(recorded)
    assert caught.value.answer is not None
    hello = a.open(caught.value.answer)  # b has in fact begun anew
    assert hello.body == {"hello": 1}
    assert why(b, later_b.seal("a", {})[1]) in ("foreign", "stranger")
    for _round in range(3):
        carry(later_b, "a", a, {})
        last = carry(a, "b", later_b, {})
    assert last is not None


def test_a_hello_is_never_answered() -> None:
    a, b = met()
    hello = b.seal("a", {"hello": 1})[1]
    assert attempt(channel("a", life=2), hello) == (None, None)
    assert attempt(channel("a", life=2), b.seal("a", {})[1])[1] is not None
    assert attempt(a, hello)[0] is not None


LONG = {"ready": True, "reason": "ü" * 500, "priority": 1, "held": False, "epoch": None, "paused": False}


@pytest.mark.parametrize("names", [("a", "b"), ("a" * 200, "b" * 200)])
def test_what_is_long_is_split_by_tag_and_nothing_is_lost(names: tuple[str, str]) -> None:
    me, to = names
    sender = channel(me, f"{me} {to}", cluster="c" * 40)
    tags = [f"{number:02}".ljust(40, "x") for number in range(60)]
    room = sender.room(to)
    for bodies, name in (
        (answers(7, dict.fromkeys(tags, LONG), dict.fromkeys(tags, 2**52), room), "resources"),
        (questions(dict.fromkeys(tags, (2**52, 10.25)), fingerprint(names), room), "hold"),
    ):
        seen: list[str] = []
        for body in bodies:
            sealed = sender.seal(to, body)[1]
            assert len(sealed) <= LONGEST
            seen += body.get(name, {})
        assert seen == tags
        assert len(bodies) <= 80


def test_a_question_asks_for_all_once() -> None:
    assert questions({}, "f", 1000) == [{"ask": 1}]
    many = questions({f"t{number}": (1, 10.0) for number in range(100)}, "f", 600)
    assert [body["ask"] for body in many] == [1] + [0] * (len(many) - 1)
    assert {body["nodes"] for body in many} == {"f"}


def test_an_answer_says_what_it_answers() -> None:
    assert answers(7, {}, {}, 1000) == [{"answer": 7}]
    assert answers(7, {}, {"web": 3}, 1000) == [{"answer": 7, "hold": {"web": 3}}]
    short = {**LONG, "reason": "x"}
    assert answers(7, {"web": short}, {"web": 3}, 1000) == [{"answer": 7, "hold": {"web": 3}}, {"answer": 7, "resources": {"web": short}}]


def test_acknowledged_by_all_since_the_oldest_of_the_newest() -> None:
    known = Acknowledgements(frozenset("bc"))
    assert known.add("web", 5, "b", 10.0) is None
    assert known.add("web", 5, "b", 12.0) is None
    assert known.add("web", 6, "c", 11.0) is None, "another epoch"
    assert known.add("www", 5, "c", 11.0) is None, "another lease"
    assert known.add("web", 5, "c", 11.0) == 11.0
    assert known.add("web", 5, "b", 9.0) == 11.0, "one that came late takes nothing away"
    assert known.add("web", 5, "c", 14.0) == 12.0
    known.forget("web", 5)
    assert known.add("web", 5, "c", 15.0) is None


def test_nobody_to_ask_is_not_everybody_agreed() -> None:
    assert Acknowledgements(frozenset()).add("web", 5, "x", 1.0) is None
    assert Acknowledgements(frozenset({"without-address"})).add("web", 5, "x", 1.0) is None


def test_fingerprints() -> None:
    assert fingerprint(["b", "a"]) == fingerprint(["a", "b"]) != fingerprint(["a", "b", "c"])


GOOD = {"ready": True, "reason": "", "priority": 2, "held": False, "epoch": None, "paused": False}


@pytest.mark.parametrize(
    "change",
    [{"ready": 1}, {"held": None}, {"paused": "no"}, {"reason": None}, {"priority": "1"}, {"priority": True}, {"epoch": "7"}, {"epoch": 1.5}],
)
def test_what_a_peer_says_has_to_have_the_right_form(change: dict[str, Any]) -> None:
    assert valid_resource({**GOOD, "more": 1}) == GOOD
    assert valid_resource({**GOOD, **change}) is None
    assert valid_resource([]) is None


def peer(node: str, **changes: Any) -> dict[str, Any]:
    alive = changes.pop("alive", True)
    return {"node": node, "alive": alive, "resources": {"web": {**GOOD, **changes}}}


def test_the_best_ready_standby() -> None:
    peers = [
        peer("a", priority=0, alive=False),
        peer("b", priority=0, ready=False),
        peer("c", priority=0, paused=True),
        peer("d", priority=0, held=True),
        peer("e", priority=None),
        peer("g", priority=3),
        peer("f", priority=3),
        {"node": "h", "alive": True, "resources": {}},
    ]
    assert standbys(peers, "web") == ["f", "g", "e"]
    assert ready_standby(peers, "web") == "f"
    assert ready_standby(peers, "www") == ""


@pytest.mark.parametrize(
    ("peers", "paused"),
    [
        ([], False),
        ([peer("a", paused=True), peer("b", paused=True, ready=False)], True),
        ([peer("a", paused=True), peer("b")], False),
        ([peer("a", paused=True), peer("b", ready=False)], False),
        ([peer("a", paused=True, alive=False)], False),
        ([{"node": "a", "alive": True, "resources": {}}], False),
    ],
)
def test_paused_everywhere_is_what_every_other_node_says(peers: list[dict[str, Any]], paused: bool) -> None:
    assert all_paused(peers, "web") is paused


PATH = "/etc/holdfast/checker.json: peers"
ADDRESSES = {"node-a": "10.0.1.10", "node-b": "10.0.2.10"}


def test_settings() -> None:
    assert parse_peers(None, PATH, "node-a") is None
    assert parse_peers({"addresses": ADDRESSES}, PATH, "node-a") == PeerSettings(ADDRESSES, 7447, "/etc/holdfast/peer.key", True)
    raw = {"addresses": {"node-a": "FD00::1", "node-b": "fd00::2"}, "port": 9, "key_file": "/k", "failsafe": False}
    assert parse_peers(raw, PATH, "node-b") == PeerSettings({"node-a": "fd00::1", "node-b": "fd00::2"}, 9, "/k", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addresses": None}, "addresses"),
        ({"addresses": {}}, "addresses"),
        ({"addresses": ["10.0.1.10"]}, "addresses"),
        ({"addresses": {"node-b": "10.0.2.10"}}, "node-a among them"),
        ({"addresses": {**ADDRESSES, "node-c": "10.0.1.10"}}, "two nodes have the same address"),
        ({"addresses": {**ADDRESSES, "node-c": "fd00::3"}}, "use one family"),
        ({"addresses": {**ADDRESSES, "node-c": "host"}}, "'host' is not an IP address"),
        ({"addresses": {**ADDRESSES, "no de": "10.0.3.1"}}, "is not a node's name"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"port": 7447.5}, "port"),
        ({"port": "7447"}, "port"),
        ({"key_file": "peer.key"}, "key_file"),
        ({"failsafe": "yes"}, "failsafe"),
        ({"key": "secret-secret"}, "'key' is not known here"),
    ],
)
def test_settings_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_peers({"addresses": ADDRESSES, **change}, PATH, "node-a")
    assert str(caught.value).startswith(PATH)
    assert message in str(caught.value)
    assert "secret-secret" not in str(caught.value)


def test_no_datagram_shows_the_key() -> None:
    a, _b = met()
    assert KEY not in a.seal("b", {})[1]
    assert json.loads(a.seal("b", {"x": 1})[1][32:])["b"] == {"x": 1}
