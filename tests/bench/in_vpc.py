# SPDX-License-Identifier: GPL-3.0-or-later
"""One node in the lab's VPC with all that a resource may have on EC2, watched by its checker, to be broken and measured."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from lab.checker import Checker, write
from lab.control import Fault
from lab.control.calls import Call
from lab.vpc import Lab
from lab.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CLUSTER, STORE, TAG = "bench", {"type": "dynamodb", "table": "holdfast"}, "web"
PATIENCE = 240.0
#: The tables that the lab has in any case.
_OWN = 3


class Watched:
    """node-a with everything, watched by its checker.

    :param armed: ``recover`` is started in advance; ``None``: there is no playbook.
    :param more: So many further addresses beside it, with entries in each table too.
    """

    def __init__(
        self, stack: ExitStack, tables: int, *, armed: bool | None, more: int = 0, checks: Mapping[str, float] | None = None, timing: str = "standard"
    ) -> None:
        self.lab = stack.enter_context(Lab(f"b{more}-{os.getpid()}-", extra_tables=max(0, tables - _OWN)))
        self.armed, place, node = armed, self.lab.place, self.lab.node_a
        clients = place.table("client-c")
        self.tables = [clients, *(table for _name, table in place.route_tables if table != clients)][:tables]
        parts = {"route_tables": "all" if tables >= _OWN else self.tables, "elastic_ip": place.elastic_ip}
        resource = {"tag": TAG, "address": place.vip, "interface": "eth0", "backup_interface": "eth1", "ec2": parts}
        resources = [resource, *map(self._one_more, range(more))]
        self.addresses, self.tags = [one["address"] for one in resources], [one["tag"] for one in resources]
        DynamoDbStore(self.lab.control.client("dynamodb"), STORE["table"]).create(pause=lambda _: time.sleep(0.05))
        shared = {
            "holdfast_cluster": CLUSTER,
            "holdfast_node": node.name,
            "holdfast_store": STORE,
            "holdfast_resources": resources,
            "holdfast_aws": {},
        }
        write(node, "/etc/holdfast/variables.json", shared)
        trigger = {"type": "playbook", "command": str(Path(sys.executable).with_name("ansible-playbook")), "armed": armed}
        settings = {
            "cluster": CLUSTER,
            "store": STORE,
            "timing": timing,
            "checks": {"grace": 0, **(checks or {})},
            "triggers": [] if armed is None else [trigger],
        }
        environment = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".tree"), "ANSIBLE_LOCALHOST_WARNING": "0"}
        self.checker = Checker(node, settings, resources, environment).start()
        stack.callback(self.checker.kill)

    def _one_more(self, number: int) -> dict[str, Any]:
        address, home = f"10.1.0.{20 + number}/32", self.lab.node_a.place.interfaces[0].id
        for table in self.tables:
            self.lab.ec2.create_route(RouteTableId=table, DestinationCidrBlock=address, NetworkInterfaceId=home)
        return {"tag": f"{TAG}{number}", "address": address, "interface": "eth0", "ec2": {"route_tables": "all"}}

    def settle(self) -> None:
        """Returns once all is well and nothing is under way."""
        until(self._at_rest, PATIENCE, f"it does not come to rest: {self.checker.events[-8:]}", every=0.1)

    def _at_rest(self) -> bool:
        told = self.checker.ask("status")
        if self.armed and not (told["armed"] or {}).get("waiting"):
            return False
        return all(self._is_right(one) for one in told["resources"])

    def _is_right(self, one: Mapping[str, Any]) -> bool:
        return bool(one["serving"] and (one["in_service"] or self.armed is None)) and (one["health"], one["phase"]) == ("healthy", "watching")

    def break_routes(self) -> None:
        """Every entry leads to the other node, the client's at last."""
        other = self.lab.node_b.place.interfaces[0].id
        for table in reversed(self.tables):
            self.lab.ec2.replace_route(RouteTableId=table, DestinationCidrBlock=self.lab.place.vip, NetworkInterfaceId=other)

    def break_all(self) -> None:
        """Of every resource, each entry leads to the other node."""
        other = self.lab.node_b.place.interfaces[0].id
        for address in self.addresses:
            for table in self.tables:
                self.lab.ec2.replace_route(RouteTableId=table, DestinationCidrBlock=address, NetworkInterfaceId=other)

    def break_eip(self) -> None:
        """The Elastic IP is the other node's."""
        other = self.lab.node_b.place.interfaces[0]
        where = {"NetworkInterfaceId": other.id, "PrivateIpAddress": other.address}
        self.lab.ec2.associate_address(AllocationId=self.lab.place.allocation_id, AllowReassociation=True, **where)

    def all_repaired(self, latency: float) -> float:
        """Every resource is broken at once: seconds from the checker's seeing the first to the last write that repaired something."""
        self.settle()
        seen, started = len(self.checker.seen("fault")), len(self.checker.seen("run started"))
        self.break_all()
        broken = time.monotonic()
        self.lab.control.faults.inject(Fault("latency", "ec2:*", seconds=latency))
        try:
            with ThreadPoolExecutor(len(self.tags)) as pool:
                list(pool.map(lambda tag: self.checker.ask("check", tag=tag), self.tags))
            until(lambda: len(self.checker.seen("run started")) > started, PATIENCE, "nothing is repaired")
            until(lambda: self._at_rest() and len(self.checker.seen("run ended")) == len(self.checker.seen("run started")), PATIENCE, "it goes on")
        finally:
            self.lab.control.faults.clear()
        fault = _monotonic(self.checker.seen("fault")[seen]["time"])
        return max(call.time for call in self.lab.control.calls.mutating() if _repairs(call, broken)) - fault

    def repaired(self, breaks: Callable[[], None], client: str, latency: float) -> tuple[float, float]:
        """One fault: seconds from the checker's seeing it to the service, and to the last write that repaired something."""
        self.settle()
        seen = len(self.checker.seen("fault"))
        with self.lab.prober(client) as prober:
            prober.wait_until_answered(10, by="node-a")
            breaks()
            broken = time.monotonic()
            self.lab.control.faults.inject(Fault("latency", "ec2:*", seconds=latency))
            try:
                self.checker.ask("check", tag=TAG, wait=1)
                until(lambda: len(self.checker.seen("fault")) > seen, PATIENCE, "the fault is not seen", every=0.002)
                fault = _monotonic(self.checker.seen("fault")[seen]["time"])
                back = prober.wait_until_answered(PATIENCE, by="node-a", since=broken).asked
                ends = len(self.checker.seen("run started"))
                until(lambda: len(self.checker.seen("run ended")) >= ends, PATIENCE, "the run does not end")
            finally:
                self.lab.control.faults.clear()
        writes = [call.time for call in self.lab.control.calls.mutating() if _repairs(call, broken)]
        return back - fault, max(writes) - fault


def _repairs(call: Call, since: float) -> bool:
    return call.service == "ec2" and call.effective and call.time > since


def _monotonic(told: str) -> float:
    """A time of the log, on the clock of the probers."""
    return datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp() - time.time() + time.monotonic()
