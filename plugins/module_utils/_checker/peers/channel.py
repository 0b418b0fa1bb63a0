# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checkers of a cluster say to each other, and what they believe of it. Pure: no socket, no clock, no dice.

A datagram is an HMAC-SHA256 of 32 bytes and then the JSON text that it is made over:
``{c: cluster, f: sender, t: receiver, s: session, n: counter, k: challenge, e: echo, b: body}``.

Invariants
* Nothing is believed that is not made with the shared key for this cluster and this receiver, by a node that is known.
* Nothing is believed twice: within a session of its sender (one life of its process) the counter has to rise; and a datagram has to echo the
  receiver's challenge to that sender, which is new whenever the sender's session changes. So nothing recorded is good later, whatever the clocks say.
* How fresh an answer is, is counted from when the question that it names was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import preference

#: Bytes: one packet on any network path of today (1500 less headers and tunnels).
LONGEST = 1400
_MAC = hashlib.sha256().digest_size
_PURPOSE = b"holdfast peers 1\0"
#: Bytes of JSON text that a reason may take: it is for people, and has to go into one datagram with the rest.
_LONGEST_REASON = 240


class RejectedDatagram(Exception):
    """A datagram that is not believed.

    :param reason: oversized, malformed, forged, foreign, stranger, replayed or stale.
    :param answer: What to send to ``sender`` (a known node), so that it learns this node's challenge.
    """

    def __init__(self, reason: str, sender: str = "", answer: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason, self.sender, self.answer = reason, sender, answer


@dataclass(frozen=True)
class Message:
    """What a peer said just now. ``counter`` names it in an answer."""

    sender: str
    counter: int
    body: Mapping[str, Any]


@dataclass
class _PeerSession:
    """What is known of one peer's session. ``challenge`` is ours to it, ``echo`` its own to us."""

    challenge: str
    session: str = ""
    counter: int = 0
    echo: str = ""


class Channel:
    """Seals and opens datagrams of one node with one key.

    :param token: Makes a text that nobody can guess, a new one each time.
    """

    def __init__(self, cluster: str, me: str, others: Iterable[str], key: bytes, token: Callable[[], str]) -> None:
        self._cluster, self._me, self._key, self._token = cluster, me, key, token
        self._session, self._counter = token(), 0
        self._known = {name: _PeerSession(token()) for name in others if name != me}

    def seal(self, to: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """The datagram's counter, and the datagram."""
        return self._seal(to, body, self._known[to].echo)

    def room(self, to: str) -> int:
        """Bytes of JSON text that a body may take. Names are the longest part of what is beside it."""
        return LONGEST - _MAC - len(self._text(to, {}, "e" * len(self._session), 2**53)) + len("{}")

    def _seal(self, to: str, body: Mapping[str, Any], echo: str) -> tuple[int, bytes]:
        self._counter += 1
        text = self._text(to, body, echo, self._counter)
        return self._counter, self._mac(text) + text

    def _text(self, to: str, body: Mapping[str, Any], echo: str, counter: int) -> bytes:
        challenge = self._known[to].challenge
        return compact({"c": self._cluster, "f": self._me, "t": to, "s": self._session, "n": counter, "k": challenge, "e": echo, "b": body})

    def _mac(self, text: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE + text, hashlib.sha256).digest()

    def open(self, datagram: bytes) -> Message:
        """What it says. Raises `RejectedDatagram`."""
        if len(datagram) > LONGEST:
            raise RejectedDatagram("oversized")
        if len(datagram) <= _MAC:
            raise RejectedDatagram("malformed")
        text = datagram[_MAC:]
        if not hmac.compare_digest(datagram[:_MAC], self._mac(text)):
            raise RejectedDatagram("forged")
        try:
            raw = json.loads(text)
            cluster, sender, receiver, session, challenge, echo = (raw[name] for name in "cftske")
            counter, body = raw["n"], raw["b"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RejectedDatagram("malformed") from None
        if not all(isinstance(one, str) for one in (sender, session, challenge, echo)) or not isinstance(counter, int) or not isinstance(body, dict):
            raise RejectedDatagram("malformed")
        if cluster != self._cluster or receiver != self._me:
            raise RejectedDatagram("foreign")
        known = self._known.get(sender)
        if known is None:
            raise RejectedDatagram("stranger", sender)
        if session == known.session and counter <= known.counter:
            raise RejectedDatagram("replayed", sender)
        if not hmac.compare_digest(echo.encode("utf-8", "surrogatepass"), known.challenge.encode()):
            hello = None if "hello" in body else self._seal(sender, {"hello": 1}, challenge)[1]
            raise RejectedDatagram("stale", sender, hello)
        if session != known.session:
            known.session, known.challenge = session, self._token()
        known.counter, known.echo = counter, challenge
        return Message(sender, counter, body)


def compact(content: object) -> bytes:
    """JSON without blanks."""
    return json.dumps(content, separators=(",", ":")).encode()


# ---- bodies


def questions(holds: Mapping[str, tuple[int, float]], nodes: str, room: int) -> list[dict[str, Any]]:
    """One body, or more where they have to be split by tag.

    :param holds: For each tag that is to be acknowledged the epoch, and the holder's ttl in seconds.
    :param nodes: What `fingerprint` makes of all nodes.
    """
    base: dict[str, Any] = {"ask": 1}
    bodies = _split(base, "hold", {tag: list(hold) for tag, hold in holds.items()}, room - len(compact({"nodes": nodes})))
    for number, body in enumerate(bodies):
        body["ask"] = int(number == 0)  # the first one asks for all resources too
        if "hold" in body:
            body["nodes"] = nodes
    return bodies


def answers(to: int, resources: Mapping[str, Mapping[str, Any]], acknowledged: Mapping[str, int], room: int) -> list[dict[str, Any]]:
    """The answer to question number ``to``, in as many bodies as it takes."""
    base = {"answer": to}
    bodies = _split(base, "hold", acknowledged, room) if acknowledged else []
    if resources:
        bodies += _split(base, "resources", {tag: _shortened(one) for tag, one in resources.items()}, room)
    return bodies or [base]


def _split(base: Mapping[str, Any], name: str, items: Mapping[str, Any], room: int) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = [dict(base)]
    left = 0
    for tag in sorted(items):
        size = len(compact({tag: items[tag]}))
        if size > left:
            if name in bodies[-1]:
                bodies.append(dict(base))
            left = room - len(compact({**base, name: {}}))
        bodies[-1].setdefault(name, {})[tag] = items[tag]
        left -= size
    return bodies


def _shortened(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    reason = str(resource.get("reason", ""))
    while len(compact(reason)) > _LONGEST_REASON:
        reason = reason[: len(reason) * 2 // 3] + "…"
    return {**resource, "reason": reason}


def fingerprint(nodes: Iterable[str]) -> str:
    """Tells one list of nodes from another: an acknowledgement is worth something only among nodes that agree on who all are."""
    return hashlib.sha256(compact(sorted(nodes))).hexdigest()[:16]


# ---- what is made of it


@dataclass
class Acknowledgements:
    """Since when ALL others acknowledge a hold. ``others``: their names; with none nobody can be asked, and nothing is acknowledged."""

    others: frozenset[str]
    _given: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)

    def add(self, tag: str, epoch: int, peer: str, asked_at: float) -> float | None:
        """A peer has acknowledged a question sent at ``asked_at``. The oldest of the newest questions that each has; ``None`` while one has none."""
        given = self._given.setdefault((tag, epoch), {})
        given[peer] = max(asked_at, given.get(peer, float("-inf")))
        if not self.others or not self.others <= set(given):
            return None
        return min(given[name] for name in self.others)

    def forget(self, tag: str, epoch: int) -> None:
        """It is over."""
        self._given.pop((tag, epoch), None)


def valid_resource(raw: object) -> dict[str, Any] | None:
    """What a peer says of one resource, if it has the right form."""
    if not isinstance(raw, dict):
        return None
    epoch, priority = raw.get("epoch"), raw.get("priority")
    right = all(isinstance(raw.get(name), bool) for name in ("ready", "held", "paused")) and isinstance(raw.get("reason"), str)
    right = right and (priority is None or _whole(priority)) and (epoch is None or _whole(epoch))
    return {name: raw[name] for name in ("ready", "reason", "priority", "held", "paused")} | {"epoch": epoch} if right else None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def standbys(peers: Sequence[Mapping[str, Any]], tag: str) -> list[str]:
    """The nodes that could take a resource over now, the best first: alive, ready, not paused, not holding it. ``peers``: of `Peers.describe`."""
    found = []
    for peer in peers:
        resource = peer["resources"].get(tag)
        if peer["alive"] and resource and resource["ready"] and not resource["paused"] and not resource["held"]:
            found.append(preference(resource["priority"], peer["node"]))
    return [node for _priority, node in sorted(found)]


def ready_standby(peers: Sequence[Mapping[str, Any]], tag: str) -> str:
    """The best of `standbys`; empty where there is none."""
    return next(iter(standbys(peers, tag)), "")


def all_paused(peers: Sequence[Mapping[str, Any]], tag: str) -> bool:
    """Whether every other node is heard, and says that the resource is paused there. Without a channel nobody knows."""
    return bool(peers) and all(peer["alive"] and (peer["resources"].get(tag) or {}).get("paused") for peer in peers)
