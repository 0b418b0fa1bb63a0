# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the checker tells what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.fields import Fields


@dataclass(frozen=True)
class Reporting:
    """Files and programs that are told. ``None`` for what is not wanted."""

    events: str | None = None
    textfile: str | None = None
    listen: str | None = None
    notify: tuple[Mapping[str, Any], ...] = ()


def parse_reporting(raw: Mapping[str, Any], path: str) -> Reporting:
    """From the entries ``events``, ``metrics`` and ``notify``. Raises `BadInput` naming ``path``."""
    given = Fields(raw, path, ("events", "metrics", "notify"))
    metrics = Fields(given.raw("metrics") or {}, f"{path}: metrics", ("textfile", "listen"))
    notify = [one for one in given.items("notify") if isinstance(one, Mapping)]
    if len(notify) != len(given.items("notify")):
        raise given.wrong("notify", "this has to be a list of mappings")
    return Reporting(given.file("events"), metrics.file("textfile"), metrics.text("listen") if metrics.has("listen") else None, tuple(notify))
