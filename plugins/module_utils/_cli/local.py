# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast status` shows where no checker runs: what the files and the kernel say, in the form of the checker's reply."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import read_config
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import unwatched
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


def local_status(files: Store, config: Path, run: Runner) -> dict[str, Any]:
    """The status of every resource that this node knows. ``watched`` is false. Raises `HoldfastError`."""
    net = NetState(observe_links(run))
    return {"watched": False, **_names(config), "resources": [_one(files, tag, net) for tag in files.tags()]}


def _names(config: Path) -> dict[str, Any]:
    try:
        known = read_config(config)
    except HoldfastError as error:
        return {"cluster": None, "node": socket.gethostname(), "config_error": error.message}
    return {"cluster": known.cluster, "node": known.node, "config_error": ""}


def _one(files: Store, tag: str, net: NetState) -> dict[str, Any]:
    try:
        known = files.effective(tag)
    except HoldfastError as error:  # one damaged file says nothing of the others
        return {"tag": tag, "health": Health.UNKNOWN.value, "reasons": [error.message], "holder": None}
    return unwatched(known, net)
