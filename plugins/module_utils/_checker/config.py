# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker is told: /etc/holdfast/checker.json, and the resources beside it (DESIGN.md sections 4 and 7)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreSettings, parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES, Timing
from ansible_collections.holdfast.ha.plugins.module_utils._model import parse_tag, shown

FILE = Path("/etc/holdfast/checker.json")
_KNOWN = ("cluster", "node", "store", "timing")
_LARGEST = 1_000_000
_OTHERS = 0o077


@dataclass(frozen=True)
class Config:
    """Who this node is and where the leases are. ``store`` may hold secrets and does not show."""

    cluster: str
    node: str
    store: StoreSettings = field(repr=False)
    timing: Timing


def parse_config(raw: object, path: str) -> Config:
    """The settings in ``raw``. Pure. Raises `BadInput` naming ``path`` and what is wrong."""
    if not isinstance(raw, Mapping):
        raise BadInput(f"{path}: it has to be a mapping with cluster, node and store", path=path)
    for name in raw:
        if name not in _KNOWN:
            raise BadInput(f"{path}: {shown(name)} is not known here; known are {', '.join(_KNOWN)}", path=path)
    for name in ("cluster", "node"):
        if not isinstance(raw.get(name), str):
            raise BadInput(f"{path}: {name} is missing, or is no text", path=path)
    profile = raw.get("timing", "standard")
    if not isinstance(profile, str) or profile not in PROFILES:
        raise BadInput(f"{path}: timing: {shown(profile)} is none of {', '.join(sorted(PROFILES))}", path=path)
    store = parse_store(raw.get("store"), f"{path}: store")
    return Config(parse_tag(raw["cluster"], f"{path}: cluster"), parse_node(raw["node"], f"{path}: node"), store, PROFILES[profile].validate())


def read_config(path: Path = FILE) -> Config:
    """The file's settings. Raises `Refused` for one that others may read or write, since it may hold secrets; `BadInput` for wrong content."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            about, text = os.fstat(file.fileno()), file.read(_LARGEST)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}; write it anew with the role holdfast.ha.monitor", path=str(path)) from None
    if not stat.S_ISREG(about.st_mode) or about.st_mode & _OTHERS or about.st_uid not in (0, os.geteuid()):
        raise Refused(f"{path} has to be a file that belongs to root and that nobody else may read; see its owner, and set its mode to 0600")
    try:
        return parse_config(json.loads(text), str(path))
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is damaged: it is no JSON; write it anew with the role holdfast.ha.monitor", path=str(path)) from None
