# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's nodes as an installation leaves them: checkers that hear of each other, hold leases in DynamoDB, and run the playbooks by themselves."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.checker import Checker, write
from lab.faults import clear
from lab.oracle import Oracle, lease_writes
from lab.vpc import Lab
from lab.waiting import until

_KEY_FILE, _VARIABLES = "/etc/holdfast/peer.key", "/etc/holdfast/variables.json"
_TREE = Path(__file__).resolve().parents[2] / ".tree"


class Installed:
    """Use it as a context manager: the checkers run within.

    :param store: As ``holdfast_store``.
    :param resource: The one that is protected.
    :param more: Further environment of the checkers and their playbooks.
    """

    def __init__(
        self, lab: Lab, cluster: str, store: Mapping[str, Any], resource: Mapping[str, Any], timing: str, more: Mapping[str, str] | None = None
    ) -> None:
        self.lab, self.tag, self.key = lab, str(resource["tag"]), f"{cluster}/{resource['tag']}"
        addresses = {node.name: node.place.interfaces[0].address for node in lab.nodes}
        command = str(Path(sys.executable).with_name("ansible-playbook"))
        settings = {
            "cluster": cluster,
            "store": store,
            "timing": timing,
            "nodes": list(addresses),
            "peers": {"addresses": addresses, "key_file": _KEY_FILE},
            "triggers": [{"type": "playbook", "command": command, "variables": _VARIABLES, "armed": True}],
        }
        environment = {"ANSIBLE_COLLECTIONS_PATH": str(_TREE), "ANSIBLE_LOCALHOST_WARNING": "0", **(more or {})}
        key, self.checkers = secrets.token_hex(32), dict[str, Checker]()
        for node in lab.nodes:
            node.run("install", "-m", "0600", "/dev/stdin", _KEY_FILE, input=key)
            shared = {
                "holdfast_cluster": cluster,
                "holdfast_node": node.name,
                "holdfast_store": store,
                "holdfast_resources": [resource],
                "holdfast_aws": {},
            }
            write(node, _VARIABLES, shared)
            self.checkers[node.name] = Checker(node, settings, [resource], environment)

    def status(self, name: str) -> dict[str, Any]:
        """Of the resource, as that node's checker has it."""
        return self.checkers[name].ask("status", tag=self.tag)

    def until_in_service(self, name: str, seconds: float) -> None:
        """Until that node has the lease, all is right there, and nothing is under way. Raises TimeoutError."""

        def settled() -> bool:
            now = self.status(name)
            return bool(now["serving"] and now["in_service"]) and (now["health"], now["phase"]) == ("healthy", "watching")

        until(settled, seconds, f"{self.tag} does not come into service on {name}")

    def until_ready(self, name: str, seconds: float) -> None:
        """Until that node could take the resource over, and the other knows it. Raises TimeoutError."""
        others = [other for other in self.checkers if other != name]

        def known() -> bool:
            return all(any(peer["node"] == name and peer["ready"] for peer in self.status(other)["peers"]) for other in others)

        until(known, seconds, f"{name} does not become ready")

    def until_armed(self, seconds: float) -> None:
        """Until a run waits on each node. Raises TimeoutError."""

        def waits() -> bool:
            return all((checker.ask("status")["armed"] or {}).get("waiting") for checker in self.checkers.values())

        until(waits, seconds, "no run is armed")

    def kill(self, name: str) -> None:
        """That machine is gone at once."""
        self.checkers[name].kill()
        for interface in self.lab.machines[name].place.interfaces:
            self.lab.router.cut(interface.id)

    def bring_back(self, name: str) -> None:
        """The machine is there again, as after a boot."""
        clear(self.lab)
        self.lab.machines[name].configure()
        self.checkers[name].start()

    def oracle(self) -> Oracle:
        """Looks at both kernels and at the lease, which somebody has held already."""
        _when, holder, epoch = lease_writes(self.lab.control.calls, self.key, 0)[-1]
        looking = Oracle({node.name: node.namespace for node in self.lab.nodes}, self.lab.place.vip)
        return looking.follow(self.lab.control.calls, self.key, holder, epoch)

    def __enter__(self) -> Installed:
        try:
            for checker in self.checkers.values():
                checker.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the checkers as a crash would: nothing is handed over."""
        for checker in self.checkers.values():
            checker.kill()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
