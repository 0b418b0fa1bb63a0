# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker of this host says of a resource's lease, for modules that only look. Costs no call to the store."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError, NotFound


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
