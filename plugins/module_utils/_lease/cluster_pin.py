# SPDX-License-Identifier: GPL-3.0-or-later
"""The etcd cluster that the leases of this node are in, as a file beside the states of the resources remembers it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import ClusterPin

#: The name of the file. No tag has such a name with an end after a dot, so it is no resource's.
FILE = "etcd-cluster"
_LARGEST = 100


def kept_pin(folder: Path, keep: Callable[[str], None] = lambda known: None, tell: Callable[[str], None] = lambda line: None) -> ClusterPin:
    """The cluster that is kept in ``folder``, or the one that answers first. ``keep`` and ``tell``: see `ClusterPin`."""
    try:
        with open(os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            kept = str(int(file.read(_LARGEST).decode("ascii").split()[0]))
    except (OSError, ValueError, IndexError):
        kept = ""
    remedy = (
        "Repair that member. To move to another cluster, stop the checkers of all nodes, take the addresses down, "
        f"remove {folder / FILE} on each node and start the checkers again"
    )
    return ClusterPin(kept, keep, tell, remedy)
