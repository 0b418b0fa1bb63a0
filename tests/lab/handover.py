# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover between two checkers, by their sockets alone: what a playbook asks for, without the playbook."""

from __future__ import annotations

import threading
from typing import Any

from lab.checker import Checker


def hand_over(old: Checker, new: Checker, tag: str, patience: float = 30.0) -> None:
    """The resource goes from one node to the other, which waits for it already. Raises RuntimeError with what a checker said against it."""
    replies: list[dict[str, Any]] = []

    def take() -> None:
        replies.append(new.ask("acquire", tag=tag, wait=patience))
        if replies[0]["ok"]:
            replies.append(new.ask("serve", tag=tag))

    waiting = threading.Thread(target=take, name="taker")
    waiting.start()
    replies.append(old.ask("release", tag=tag, handoff_to=new.node.name))
    waiting.join()
    refused = [reply["message"] for reply in replies if not reply["ok"]]
    if refused:
        raise RuntimeError(refused[0])
