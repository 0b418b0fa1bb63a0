# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of the collection this is."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

_COLLECTION = Path(__file__).resolve().parents[3]


@functools.lru_cache(maxsize=1)
def version(collection: Path = _COLLECTION) -> str:
    """As an installed collection's MANIFEST.json or a checkout's galaxy.yml has it; empty where neither does."""
    try:
        return str(json.loads((collection / "MANIFEST.json").read_text())["collection_info"]["version"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    try:
        found = re.search(r"(?m)^version: *[\"']?([^\s\"']+)", (collection / "galaxy.yml").read_text())
    except OSError:
        found = None
    return found.group(1) if found else ""
