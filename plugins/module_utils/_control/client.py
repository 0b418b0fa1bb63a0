# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the checker of this host."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import LONGEST_REPLY, SOCKET, encode, parse_reply
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, NotFound, Refused

#: Seconds for what the checker answers from memory, and for what it does in the kernel and at the store.
_AT_ONCE, _AT_WORK = 5.0, 30.0


class NoChecker(HoldfastError):
    """No checker runs on this host."""

    kind = "no_checker"


def ask(op: str, *, path: Path = Path(SOCKET), wait: float = 0.0, **words: Any) -> dict[str, Any]:
    """The checker's reply. Raises `NoChecker`, `Refused`, what the checker tells of, or `NotConverged` where it stays silent."""
    request = {"op": op, **{name: value for name, value in words.items() if value is not None}, **({"wait": wait} if wait else {})}
    limit = wait + (_AT_ONCE if op == "status" else _AT_WORK)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(limit)
            line.connect(str(path))
            line.sendall(encode(request))
            with line.makefile("rb") as reply:
                return parse_reply(reply.readline(LONGEST_REPLY))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoChecker("no checker runs on this host; start holdfast-checker.service, or install it with the role holdfast.ha.monitor") from None
    except PermissionError:
        raise Refused(f"may not talk to the checker at {path}; run this as root (become: true)") from None
    except OSError as error:
        raise NotConverged(f"the checker did not answer within {limit:g} s ({error.strerror or error}); see its log") from None


def status_of(cluster: str, tag: str, path: Path = Path(SOCKET)) -> dict[str, Any] | None:
    """What the checker says of one resource; ``None`` where none runs on this host or it does not watch that lease."""
    try:
        reply = ask("status", path=path, tag=tag)
    except (NoChecker, NotFound):
        return None
    if reply["cluster"] != cluster:
        return None
    return {name: value for name, value in reply.items() if name not in ("ok", "cluster")}
