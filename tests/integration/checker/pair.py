# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes on one switch, each with a checker that is left to itself; they have a channel to each other, and no EC2."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from harness.module import TREE
from lab.checker import Checker, write
from lab.lan import VIP, Lan
from lab.node import Node
from lab.waiting import until

CLUSTER, TAG, TABLE = "web-prod", "web", "holdfast"
KEY = f"{CLUSTER}/{TAG}"
HOST = VIP.partition("/")[0]
WEB: dict[str, Any] = {"tag": TAG, "address": VIP, "interface": "eth0", "backup_interface": "eth1", "priority": {"node-a": 1, "node-b": 2}}
CHECKS = {"grace": 0, "interval": 1, "backoff": 1, "hold_down": 5, "window": 600}
PEER_KEY = "/etc/holdfast/peer.key"
#: In place of ansible-playbook: notes its arguments, records that the resource is in service as a recovery does, and tells how it ended.
#: With a file ``over`` it fails over to the node that is named there, as a recovery does that cannot repair anything.
RECOVERY = f"""#!{sys.executable}
import json, os, pathlib, sys, time
folder = pathlib.Path("/var/lib/holdfast")
with open(folder / "runs", "a") as runs:
    print(*sys.argv[1:], file=runs)
def tell(**what):
    os.write(int(os.environ["HOLDFAST_RUN_REPORT"]), json.dumps(what).encode() + b"\\n")
if sys.argv[-1] == "holdfast.ha.switchover":
    from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask
    told = next(json.loads(word) for word in sys.argv if word.startswith("{{"))
    ask("release", tag=told["tag"], handoff_to=told["to"])
    tell(end={{"ok": True}})
    sys.exit(0)
told = json.loads(next(word for word in sys.argv if word.startswith("{{")))
if (folder / "over").exists() and told["holdfast_faults"]:
    from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask
    ask("release", tag=told["tag"], handoff_to=(folder / "over").read_text().strip())
    tell(end={{"ok": True}})
    sys.exit(0)
if (folder / "moving").exists():
    from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask
    ask("stand_aside", tag=told["tag"], wait=60)
if (folder / "hang").exists():
    time.sleep(300)
if (folder / "slow").exists():
    time.sleep(2)
if (folder / "bad").exists():
    tell(failed="it cannot be repaired here")
    tell(end={{"ok": False}})
    sys.exit(2)
inventory = {{"interface": "eth0", "backup_interface": "eth1"}}
state = {{"version": 1, "tag": "web", "address": "{VIP}", "in_service": True, **inventory, "inventory": inventory}}
(folder / "new").write_text(json.dumps(state))
(folder / "new").rename(folder / "web.json")
tell(end={{"ok": True}})
"""
_ASK = (
    "import json, sys\nfrom ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask\n"
    "from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError\n"
    "try:\n    print(json.dumps(ask(**json.loads(sys.argv[1]))))\nexcept HoldfastError as error:\n    sys.exit(error.message)"
)


class Pair:
    """One for many tests; `reset` between them."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.store = DynamoDbStore(lan.control.client("dynamodb"), TABLE)
        self.store.create(pause=lambda _: time.sleep(0.05))
        self.checkers: dict[str, Checker] = {}

    def reset(
        self, *, start: bool = True, settings: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None, **changes: Any
    ) -> None:
        """node-a is active, and node-b stands by. ``settings``: of the checkers, ``environment``: of node-a's; ``changes``: of the resource."""
        self.stop()
        self.lan.control.faults.clear()
        for node in self.lan.nodes:
            self.lan.mend(node.name)
            node.configure()
            node.drop(VIP)
            node.run("sh", "-c", "rm -rf /var/lib/holdfast/* /etc/holdfast/* /run/holdfast/*")
            node.run("install", "-m", "0600", "/dev/stdin", PEER_KEY, input="k" * 64)
        old = self.store.read(KEY).record
        seed = Record("", old.epoch + 1 if old else 1, f"seed.{time.monotonic_ns()}")
        assert self.store.write(KEY, self.store.read(KEY).token, seed) is not None
        self.settings = {
            "cluster": CLUSTER,
            "store": {"type": "dynamodb", "table": TABLE},
            "timing": "fast",
            "nodes": [node.name for node in self.lan.nodes],
            "peers": {"addresses": {node.name: node.place.interfaces[0].address for node in self.lan.nodes}, "key_file": PEER_KEY},
            "checks": CHECKS,
            **(settings or {}),
        }
        for node in self.lan.nodes:
            more = environment if node.name == "node-a" else None
            self.checkers[node.name] = Checker(node, self.settings, [{**WEB, **changes}], more)
        if start:
            for name in ("node-a", "node-b"):
                self.checkers[name].start()
                self.until_serving("node-a")
            until(lambda: self.status("node-b")["ready"], 20, "node-b does not become ready")
            if self.settings.get("peers"):
                until(lambda: self.status("node-a")["peers"][0]["ready"], 20, "node-a does not hear that node-b is ready")

    def stop(self) -> None:
        """End the checkers as a crash would: nothing is handed over."""
        for checker in self.checkers.values():
            checker.kill()
        self.checkers.clear()

    def record(self) -> Record:
        """The lease, whose record exists since `reset`."""
        record = self.store.read(KEY).record
        assert record is not None
        return record

    def node(self, name: str) -> Node:
        return self.lan.machines[name]

    def places(self, name: str) -> list[str]:
        """The links of that node that have the address."""
        return [link for link, held in self.node(name).addresses() if held.partition("/")[0] == HOST]

    def until_serving(self, name: str, seconds: float = 30) -> None:
        """Until that node has the lease and the address."""

        def serves() -> bool:
            return self.record().holder == name and bool(self.places(name))

        until(serves, seconds, f"{name} does not serve; it said {self.checkers[name].events[-12:]}")

    def ask(self, where: str, op: str, **words: Any) -> dict[str, Any]:
        """A request to a node's checker. Raises RuntimeError with its refusal."""
        node = self.node(where)
        done = node.namespace.run(
            "python3", "-c", _ASK, json.dumps({"op": op, "tag": TAG, **words}), check=False, env={**node.environment, "PYTHONPATH": str(TREE)}
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def status(self, where: str) -> dict[str, Any]:
        """Of the resource, as that node's checker sees it."""
        return self.ask(where, "status")

    def configure(self, name: str, **changes: Any) -> None:
        """Write a node's checker.json anew."""
        write(self.node(name), "/etc/holdfast/checker.json", {"node": name, **self.settings, **changes})
