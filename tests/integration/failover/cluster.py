# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab with a lease store and a checker on each node, and what tests of failover ask of it."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store
from harness.module import TREE, run_module
from lab.checker import Checker, write
from lab.dependents import read_spans, two_at_once
from lab.faults import clear, ec2_on
from lab.node import Node
from lab.oracle import Oracle, TwoHolders
from lab.playbook import PlaybookRun, run_playbook
from lab.router import API_ADDRESS
from lab.vpc import Lab
from lab.waiting import until

CLUSTER, TABLE, TAG = "web-prod", "holdfast", "web"
STORE = {"type": "dynamodb", "table": TABLE}


class Cluster:
    """One lab for many tests; `reset` between them. The resource ``web`` is in service nowhere at first and its lease is free."""

    def __init__(self, lab: Lab, settings: Mapping[str, Any] | None = None, store: Store | None = None, timing: str = "standard") -> None:
        """``settings`` and ``store``: where the leases are, and a client for the tests; left out, the lab's DynamoDB."""
        self.lab, self.settings, self.timing = lab, dict(settings or STORE), timing
        self.store = store or self._table()
        place = lab.place
        shared = {"interface": "eth0", "backup_interface": "eth1"}
        self.web: dict[str, Any] = {"tag": TAG, "address": place.vip, **shared, "ec2": {"route_tables": "all", "elastic_ip": place.elastic_ip}}
        self.checkers: dict[str, Checker] = {}
        self._watched: dict[tuple[str, Path], float] = {}
        self._cuts: dict[str, list[float]] = {node.name: [] for node in lab.nodes}

    def watch(self, dependent: str, folder: Path) -> None:
        """From now on: the file ``NODE.DEPENDENT`` of the folder tells when it started and stopped there."""
        self._watched.setdefault((dependent, folder), time.time())

    def check_dependents(self) -> None:
        """Raises `TwoHolders` if a dependent that was watched ran on two nodes at once. Forgets them."""
        watched, self._watched = self._watched, {}
        for (name, folder), since in watched.items():
            files = {node: folder / f"{node}.{name}" for node in self._cuts}
            spans = [span for node, file in files.items() if file.exists() for span in read_spans(node, file.read_text(), self._cuts[node])]
            if faults := two_at_once(spans, since):
                raise TwoHolders(f"{name}: {faults[0]}")

    def cut(self, *names: str) -> None:
        """What ran on these nodes runs no longer."""
        for name in names or self._cuts:
            self._cuts[name].append(time.time())

    def _table(self) -> Store:
        made = DynamoDbStore(self.lab.control.client("dynamodb"), TABLE)
        made.create(pause=lambda _: time.sleep(0.05))
        return made

    def reset(self, *, peers: bool = False, reporting: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """Nothing in service, the lease left for a person to claim, EC2 leading to node-a, a fresh checker on each node.

        ``peers``: the checkers hear of each other, and have a trigger: they put in service by themselves what they may. ``reporting``: more of their
        settings. ``changes``: of the resource.
        """
        self.stop()
        self.cut()
        clear(self.lab)
        ec2_on(self.lab, self.lab.node_a)
        for node in self.lab.nodes:
            node.configure()
            for address in (self.lab.place.vip, self.lab.place.vip6):
                node.drop(address)
            node.run("sh", "-c", "rm -rf /var/lib/holdfast/*")  # a test may have paused a resource
        old = self.record()
        token = self.store.read(f"{CLUSTER}/{TAG}").token
        seed = Record("", old.epoch + 1 if old else 1, f"seed.{time.monotonic_ns()}", NOBODY)
        assert self.store.write(f"{CLUSTER}/{TAG}", token, seed) is not None
        settings = {"cluster": CLUSTER, "store": self.settings, "timing": self.timing, **(reporting or {})}
        self.resource = {**self.web, **changes}
        if peers:
            settings.update(self._channel())
        for node in self.lab.nodes:
            self.checkers[node.name] = Checker(node, settings, [self.resource], {"ANSIBLE_COLLECTIONS_PATH": str(TREE)}).start()

    def _channel(self) -> dict[str, Any]:
        for node in self.lab.nodes:
            node.run("install", "-m", "0600", "/dev/stdin", "/etc/holdfast/peer.key", input="k" * 64)
            write(node, "/etc/holdfast/variables.json", self._variables(node))
        addresses = {node.name: node.place.interface("eth0").address for node in self.lab.nodes}
        trigger = {"type": "playbook", "command": str(Path(sys.executable).with_name("ansible-playbook")), "armed": False}
        return {"nodes": list(addresses), "peers": {"addresses": addresses}, "triggers": [{**trigger, "variables": "/etc/holdfast/variables.json"}]}

    def _variables(self, node: Node) -> dict[str, Any]:
        shared = {"holdfast_cluster": CLUSTER, "holdfast_store": self.settings, "holdfast_resources": [self.resource]}
        return {**shared, "holdfast_node": node.name}

    def stop(self) -> None:
        """End the checkers."""
        for checker in self.checkers.values():
            checker.stop()
        self.checkers.clear()

    def record(self) -> Record | None:
        """The lease as the store has it."""
        return self.store.read(f"{CLUSTER}/{TAG}").record

    def holder(self) -> str:
        """Who holds the lease; empty for nobody."""
        record = self.record()
        return record.holder if record else ""

    def module(self, node: Node, name: str, **options: Any) -> dict[str, Any]:
        """Run a module on a node, as Ansible does there."""
        return run_module(name, {"cluster": CLUSTER, "tag": TAG, **options}, where=node.namespace, env=dict(node.environment))

    def module_of(self, node: Node, name: str, **options: Any) -> dict[str, Any]:
        """A module that knows of the resource and of no lease."""
        return run_module(name, {"tag": TAG, "resource": self.resource, **options}, where=node.namespace, env=dict(node.environment))

    def lease(self, node: Node, **options: Any) -> dict[str, Any]:
        """The module lease on a node, for that node."""
        return self.module(node, "lease", holder=node.name, store=self.settings, **options)

    def put_in_service(self, node: Node) -> None:
        """The lease and the address on this node, nothing on EC2."""
        self.put_in_service_after(node, 2)

    def put_in_service_after(self, node: Node, wait: float) -> None:
        """As `put_in_service`, with so many seconds for a lease that is not free."""
        answer = self.lease(node, wait=wait)
        assert answer["renewed_by"] == "checker", answer
        answer = self.module(node, "lease_address")
        assert not answer["failed"], answer

    def place_on(self, node: Node) -> None:
        """All of the resource on this node, as after a switchover to it, without the time that a playbook takes."""
        ec2_on(self.lab, node)
        answer = self.module_of(node, "ip_resource", in_service=True)  # before the lease: nothing is left for a checker to bring in
        assert not answer["failed"], answer
        self.put_in_service(node)

    def has_address(self, node: Node) -> bool:
        """Whether the virtual address is on a link of this node."""
        return any(held == self.lab.place.vip for _link, held in node.addresses())

    def play(
        self,
        name: str,
        folder: Path,
        *,
        words: Sequence[str] = (),
        resources: Sequence[Mapping[str, Any]] = (),
        ways: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
        began: Callable[[str], object] = lambda task: None,
        environment: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> PlaybookRun:
        """Run a playbook from a controller, over SSH against both nodes. No traceback, no template error, no defect.

        :param ways: The addresses of nodes that are to be reached by another one than that of their first interface.
        :param names: What the inventory calls nodes that have another name there.
        :param began: Is given each task's name as it begins.
        :param environment: More of the controller's environment.
        """
        inventory = folder / "inventory.json"
        told = self.lab.inventory()
        for node, address in (ways or {}).items():
            told["all"]["hosts"][node]["ansible_host"] = address
        told["all"]["hosts"] = {(names or {}).get(node, node): about for node, about in told["all"]["hosts"].items()}
        inventory.write_text(json.dumps(told))
        shared = {"holdfast_cluster": CLUSTER, "holdfast_store": self.settings, "holdfast_resources": list(resources) or [self.resource]}
        run = run_playbook(
            name,
            {**shared, **variables},
            where=self.lab.router.namespace,
            environment={**self.lab.node_a.environment, "ANSIBLE_PIPELINING": "1", **(environment or {})},
            inventory=inventory,
            words=words,
            began=began,
        )
        return self._checked(name, run)

    @staticmethod
    def _checked(name: str, run: PlaybookRun) -> PlaybookRun:
        slowest = sorted(run.tasks, key=lambda task: -task.seconds)[:5]
        print("slowest:", [(task.task, task.host, round(task.seconds, 1)) for task in slowest], len(run.tasks))
        print(f"{name}: exit {run.status} after {run.seconds:.1f} s; {run.message}\n{run.other[-2000:]}")
        assert "Traceback" not in run.other, run.other
        for task in run.failed:
            assert not re.search(r"Traceback|defect in holdfast\.ha|is undefined|'undefined'", str(task.result.get("msg"))), task
        return run

    def play_on(self, node: Node, name: str, **variables: Any) -> PlaybookRun:
        """Run a playbook on a node itself, without SSH."""
        return self._checked(name, run_playbook(name, {**self._variables(node), **variables}, where=node.namespace, environment=node.environment))

    def switch(self, to: str, folder: Path, **variables: Any) -> PlaybookRun:
        """The playbook switchover; it has to succeed."""
        run = self.play("switchover", folder, tag=TAG, to=to, **variables)
        assert run.status == 0, run.message or run.other
        return run

    def start_instances(self) -> None:
        """Every instance runs again."""
        until(lambda: self._started([node.place.instance_id for node in self.lab.nodes]), 10, "an instance does not start")

    def _started(self, ids: list[str]) -> bool:
        found = [one for group in self.lab.ec2.describe_instances(InstanceIds=ids)["Reservations"] for one in group["Instances"]]
        off = [one["InstanceId"] for one in found if one["State"]["Name"] == "stopped"]
        if off:
            self.lab.ec2.start_instances(InstanceIds=off)
        return all(one["State"]["Name"] == "running" for one in found)

    @contextmanager
    def management_link(self, node: Node) -> Iterator[str]:
        """A third link of this node, to the controller, the store and EC2's API alone; the node's address there. It outlives both others."""
        here, there = "192.168.199.1", "192.168.199.2"
        router = self.lab.router.namespace
        router.ip(f"link add mgmt type veth peer name mgmt netns {node.namespace.pid}")
        try:
            router.batch([f"addr add {here}/30 dev mgmt", "link set mgmt up"])
            node.namespace.batch([f"addr add {there}/30 dev mgmt", "link set mgmt up", f"route replace {API_ADDRESS}/32 via {here} dev mgmt"])
            yield there
        finally:
            router.ip("link del mgmt")

    def kill(self, node: Node) -> None:
        """The machine is gone at once: all its processes, all its links."""
        self.checkers[node.name].kill()
        for interface in node.place.interfaces:
            self.lab.router.cut(interface.id)
        self.cut(node.name)

    def revive(self, node: Node) -> None:
        """The machine is there again, as after a boot."""
        clear(self.lab)
        node.configure()
        self.checkers[node.name].start()

    def oracle(self) -> Oracle:
        """Watches both kernels; and the store's log too, where the lab has one. Fails at its end when there were two holders."""
        looking = Oracle({node.name: node.namespace for node in self.lab.nodes}, self.lab.place.vip)
        record = self.record()
        if self.settings["type"] == "dynamodb" and record is not None:
            looking.follow(self.lab.control.calls, f"{CLUSTER}/{TAG}", record.holder, record.epoch)
        return looking

    def where(self) -> dict[str, set[str]]:
        """On which node everything is: address, routes, Elastic IP, as the kernels and the control plane say."""
        owners = {one.id: machine.name for machine in self.lab.place.machines for one in machine.interfaces}
        routes = {
            owners.get(route.target, route.target)
            for subnet in self.lab.view.subnets
            for route in subnet.routes
            if route.destination == self.lab.place.vip
        }
        eips = {owners.get(eip.network_interface_id or "", "-") for eip in self.lab.view.elastic_ips}
        return {"address": {node.name for node in self.lab.nodes if self.has_address(node)}, "routes": routes, "elastic ip": eips}

    def all_on(self, name: str) -> None:
        """Fails unless everything is on that node, which holds the lease, and every client is answered by it."""
        assert self.where() == {"address": {name}, "routes": {name}, "elastic ip": {name}}
        assert self.holder() == name
        for client in ("client-c", "outside"):
            with self.lab.prober(client) as prober:
                prober.wait_until_answered(5, by=name)

    def take_by_hand(self) -> bool:
        """Somebody who is no node of the lab takes the lease; whether the write took effect."""
        read = self.store.read(f"{CLUSTER}/{TAG}")
        epoch = read.record.epoch + 1 if read.record else 1
        return self.store.write(f"{CLUSTER}/{TAG}", read.token, Record("node-x", epoch, "x.1")) is not None

    def steal_when_serving(self, name: str, sign: Callable[[], object] = lambda: True) -> None:
        """Once that node's checker has put the address up, and there is that ``sign``, somebody else takes the lease by hand. Returns at once."""

        def steal() -> None:
            until(lambda: self.checkers[name].seen("serve") or self.checkers[name].seen("takeover"), 60, f"{name} never served")
            until(sign, 60, "there was no sign")
            until(self.take_by_hand, 5, "the record could not be written")
            until(lambda: self.checkers[name].seen("lost"), 10, f"{name} did not notice")
            node = self.lab.machines[name]
            node.run("touch", "/var/lib/holdfast/gone")

        threading.Thread(target=steal, daemon=True).start()
