# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said over the checker's socket: one JSON line each way. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core import errors
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_ip, parse_tag, shown
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_handoff, parse_node

SOCKET = "/run/holdfast/checker.sock"
#: No request is longer, and no reply.
LONGEST, LONGEST_REPLY = 65536, 16_000_000
LONGEST_WAIT = 3600.0
#: For each request what it may say besides ``op`` and ``tag``.
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "status": (),
    "acquire": ("wait",),
    "release": ("handoff_to",),
    "serve": ("gateway",),
    "withdraw": (),
    "check": ("wait",),
    "recover": ("wait",),
    "switchover": ("to", "wait"),
    "move": ("wait",),
    "stand_aside": ("wait",),
    "pause": (),
    "resume": (),
}
#: What may be asked for all resources at once.
_FOR_ALL = ("status", "pause", "resume")
_KINDS = {error.kind: error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, HoldfastError)}


@dataclass(frozen=True)
class Request:
    """Something to be done. ``tag`` is empty for all resources. ``wait`` in seconds; ``to`` is a node."""

    op: str
    tag: str = ""
    wait: float = 0.0
    handoff_to: str = ""
    gateway: str | None = None
    to: str = ""


def parse_request(line: bytes) -> Request:
    """The request in a line. Raises `BadInput`."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise BadInput("a request is one line with a JSON object")
    op = raw.get("op")
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise BadInput(f"op: {shown(op)} is none of {', '.join(_OPERATIONS)}")
    for name in raw:
        if name not in ("op", "tag", *_OPERATIONS[op]):
            raise BadInput(f"{shown(name)} does not go with {op}")
    tag, wait, gateway = raw.get("tag"), raw.get("wait", 0), raw.get("gateway")
    if op not in _FOR_ALL or tag is not None:
        tag = parse_tag(str(tag))
    if not isinstance(wait, (int, float)) or isinstance(wait, bool) or not 0 <= wait <= LONGEST_WAIT:
        raise BadInput(f"wait: {shown(wait)} is not a number of seconds from 0 to {LONGEST_WAIT:g}")
    if op == "switchover" and not raw.get("to"):
        raise BadInput("to: say to which node the resource is to go")
    handoff_to, to = parse_handoff(str(raw.get("handoff_to") or "")), parse_node(str(raw["to"]), "to") if raw.get("to") else ""
    hop = None if gateway is None else str(parse_ip(str(gateway), "gateway"))
    return Request(op, tag or "", float(wait), handoff_to, hop, to)


def encode(content: Mapping[str, Any]) -> bytes:
    """As it goes over the socket."""
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def refusal(error: HoldfastError) -> dict[str, Any]:
    """The reply that tells of an error."""
    return {"ok": False, "kind": error.kind, "message": error.message}


def parse_reply(line: bytes) -> dict[str, Any]:
    """The reply in a line. Raises the error that it tells of."""
    try:
        raw = json.loads(line)
    except ValueError:
        raw = None
    if not isinstance(raw, dict) or not isinstance(raw.get("ok"), bool):
        raise NotConverged("the checker's reply was cut off; see its log, and ask again")
    if not raw["ok"]:
        raise _KINDS.get(str(raw.get("kind")), NotConverged)(str(raw.get("message")))
    return raw
