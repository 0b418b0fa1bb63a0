# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker keeps across restarts, in private files beside the states of the resources: which resource is paused, the highest epoch of each
lease, and the etcd cluster that the leases are in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.link import Strangers
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.cluster_pin import FILE as CLUSTER_FILE
from ansible_collections.holdfast.ha.plugins.module_utils._lease.cluster_pin import kept_pin
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import ClusterPin
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import write_private

_LARGEST = 100
_ORDERLY = "orderly"
#: No tag has such a name with an end after a dot, so it is no resource's.
_STRANGERS = "strangers"


class PersistentState:
    """Its files are TAG.paused, TAG.epoch, etcd-cluster and strangers. What cannot be kept is told, and is no reason to stop.

    :param folder: Where the states are.
    :param log: Takes the name of an event and its facts.
    """

    def __init__(self, folder: Path, log: Callable[..., None]) -> None:
        self._folder, self._log = folder, log

    def is_paused(self, tag: str) -> bool:
        """Whether it was paused and not resumed."""
        return (self._folder / f"{tag}.paused").exists()

    def set_paused(self, tag: str, paused: bool) -> None:
        """Raises `HoldfastError` where it cannot be kept."""
        path = self._folder / f"{tag}.paused"
        try:
            if paused:
                write_private(path, "paused\n")
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise Refused(f"cannot keep in {path} whether it is paused: {error.strerror}; see the folder's owner and free space") from None

    def highest_epoch(self, tag: str) -> int:
        """0 where none is known."""
        try:
            return max(0, int(self._words(tag)[0]))
        except (OSError, ValueError, IndexError):
            return 0

    def came_orderly(self, tag: str, epoch: int) -> bool:
        """Whether the lease of that epoch is known to have been free, or handed over, when this node took it."""
        try:
            return self._words(tag) == [str(epoch), _ORDERLY]
        except (OSError, ValueError):
            return False

    def _words(self, tag: str) -> list[str]:
        with open(os.open(self._folder / f"{tag}.epoch", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            return file.read(_LARGEST).decode("ascii").split()

    def strangers(self) -> Strangers:
        """The nodes with the peers' key that were heard and are not among those of the cluster."""
        path = self._folder / _STRANGERS
        try:
            kept = json.loads(path.read_text(encoding="ascii")) if path.exists() else []
        except (OSError, ValueError, RecursionError):
            kept = ["?"]  # there was one
        known = [name for name in kept if isinstance(name, str)] if isinstance(kept, list) else ["?"]
        remedy = f"Add it to the inventory and run holdfast.ha.install, or stop its checker, remove {path} on each node and restart their checkers"
        return Strangers(known, self._keep_strangers, remedy)

    def _keep_strangers(self, known: Collection[str]) -> None:
        path = self._folder / _STRANGERS
        try:
            if known:
                write_private(path, json.dumps(sorted(known)) + "\n")
            else:
                path.unlink(missing_ok=True)
        except (OSError, HoldfastError) as error:
            self._log("trouble", reason=f"which nodes are strangers could not be kept in {path}: {error}")

    def cluster_pin(self) -> ClusterPin:
        """The etcd cluster that the leases of this node are in: the one that is kept, or the one that answers first."""
        return kept_pin(self._folder, self._keep_cluster, lambda line: self._log("trouble", reason=line))

    def _keep_cluster(self, cluster: str) -> None:
        try:
            write_private(self._folder / CLUSTER_FILE, f"{cluster}\n")
        except (OSError, HoldfastError) as error:
            self._log("trouble", reason=f"the id of the etcd cluster could not be kept in {self._folder}: {error}")

    def remember_epoch(self, tag: str, epoch: int, orderly: bool = False) -> None:
        """It may be lost with the power: the record itself has it too. ``orderly``: see `came_orderly`."""
        try:
            write_private(self._folder / f"{tag}.epoch", f"{epoch}{' ' + _ORDERLY if orderly else ''}\n")
        except (OSError, HoldfastError) as error:
            self._log("trouble", tag=tag, reason=f"the epoch could not be kept in {self._folder}: {error}")
