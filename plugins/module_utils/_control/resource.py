# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say to the checker of this host, and hear from it, of a resource that it watches. Costs no call to the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotFound

#: Seconds; longer than a move takes, and as long as nothing is repaired should whoever moves it be killed.
_LONGEST_MOVE = 60.0


def lease_of(tag: str) -> dict[str, Any] | None:
    """The checker's status of ``tag``, with ``cluster`` and ``node``; ``None`` where none runs or it does not watch that lease.

    A checker that does not answer is told of in ``error``, with ``watching`` false.
    """
    try:
        reply = ask("status", tag=tag)
    except (NoChecker, NotFound):
        return None
    except HoldfastError as error:
        unknown = {"cluster": "", "node": "", "held": False, "serving": False, "holder": None}
        return {**unknown, "tag": tag, "watching": False, "error": error.message}
    return {name: value for name, value in reply.items() if name != "ok"}


@contextmanager
def alone_with(tag: str) -> Iterator[None]:
    """The checker, where one watches ``tag``, does not meddle while its address is moved. Raises `HoldfastError` where it does not answer."""
    watched = True
    try:
        ask("stand_aside", tag=tag, wait=_LONGEST_MOVE)
    except (NoChecker, NotFound, BadInput):  # the last: one of an older version, which does not know the word
        watched = False
    try:
        yield
    finally:
        try:
            if watched:
                ask("stand_aside", tag=tag)
        except HoldfastError:
            pass  # it ends by itself, and what became of the move is what there is to tell
