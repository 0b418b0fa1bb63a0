# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes on a plain network, each with a checker that is left to itself, and one resource that is an address and no more."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store
from lab.checker import Checker
from lab.lan import VIP, Lan
from lab.oracle import Oracle
from lab.waiting import until

CLUSTER, TAG, TABLE = "web-prod", "web", "holdfast"
STORE = {"type": "dynamodb", "table": TABLE}
KEY = f"{CLUSTER}/{TAG}"
_KEY_FILE = "/etc/holdfast/peer.key"
#: Seconds until it is in service at first: where that is left to a playbook it takes a while.
_PATIENCE = 120.0


class Pair:
    """Use it as a context manager. ``more``: further settings of the checkers. In service on node-a from `start` on.

    ``leases``: a client of the store that the setting ``store`` names; left out, the network's DynamoDB.

    ``resource`` may be changed before that, and more of them put into ``others``.
    """

    def __init__(self, lan: Lan, timing: str, leases: Store | None = None, **more: Any) -> None:
        self.lan, self._leases = lan, leases
        addresses = {node.name: node.place.interfaces[0].address for node in lan.nodes}
        self.settings = {
            "cluster": CLUSTER,
            "store": STORE,
            "timing": timing,
            "nodes": list(addresses),
            "peers": {"addresses": addresses, "key_file": _KEY_FILE},
            "checks": {"grace": 0},
            **more,
        }
        self.resource = {"tag": TAG, "address": VIP, "interface": "eth0", "priority": {"node-a": 1, "node-b": 2}}
        self.others: list[dict[str, Any]] = []
        self.checkers: dict[str, Checker] = {}

    def start(self) -> Pair:
        """The lease free, fresh checkers that hear of each other, and the resource in service on node-a, which comes to that by itself."""
        store = self._leases or self._table()
        old = store.read(KEY)
        assert store.write(KEY, old.token, Record("", old.record.epoch + 1 if old.record else 1, f"seed.{time.monotonic_ns()}")) is not None
        for node in self.lan.nodes:
            node.run("install", "-m", "0600", "/dev/stdin", _KEY_FILE, input="k" * 64)
            self.checkers[node.name] = Checker(node, self.settings, [self.resource, *self.others]).start()
            until(lambda: self.status("node-a")["serving"], _PATIENCE, "node-a does not serve")
        until(lambda: self.status("node-b")["ready"], _PATIENCE, "node-b is not ready")
        return self

    def _table(self) -> Store:
        made = DynamoDbStore(self.lan.control.client("dynamodb"), TABLE)
        made.create(pause=lambda _: time.sleep(0.05))
        return made

    def status(self, name: str) -> dict[str, Any]:
        """Of the resource, as that node's checker has it."""
        return self.checkers[name].ask("status", tag=TAG)

    def oracle(self) -> Oracle:
        """Watches both kernels and the lease."""
        return self.lan.oracle(KEY)

    def kill(self, name: str) -> None:
        """The machine is gone at once."""
        self.checkers[name].kill()
        self.lan.cut(name)

    def revive(self, name: str) -> None:
        """The machine is there again."""
        self.lan.mend(name)
        self.lan.machines[name].configure()
        self.checkers[name].start()

    def stop(self) -> None:
        """End the checkers."""
        for checker in self.checkers.values():
            checker.stop()
        self.checkers.clear()

    def __enter__(self) -> Pair:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
