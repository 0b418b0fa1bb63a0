# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes that boot, a controller that installs over SSH, and what the tests ask of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from lab import booted
from lab.booted import WHEELS, BootedNode
from lab.dependents import read_spans, two_at_once
from lab.faults import clear
from lab.oracle import Oracle, lease_writes
from lab.playbook import PlaybookRun, run_playbook
from lab.router import API_ADDRESS
from lab.vpc import Lab
from lab.waiting import until

CLUSTER, TABLE, TAG, UNIT, APP = "web-prod", "holdfast", "web", "holdfast-checker.service", "app.service"
#: Where the dependent notes when it starts and stops.
NOTES = "/var/log/app"
API = f"http://{API_ADDRESS}"
TOKEN = "no-secret-of-anybody"
EVENTS = "/var/log/holdfast/events.jsonl"
_ROOT = Path(__file__).resolve().parents[3]
#: A unit that notes when it is started and stopped.
_APP = """[Service]
Type=exec
ExecStart=/bin/sleep infinity
ExecStartPost=/bin/sh -c 'echo "$(date +%%s.%%N) started" >> /var/log/app'
ExecStopPost=/bin/sh -c 'echo "$(date +%%s.%%N) stopped" >> /var/log/app'
"""


class Installed:
    """One lab for many tests. ``web`` is in service on one of the nodes; each test leaves both checkers running."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder, self.installed = lab, folder, False
        self.store = DynamoDbStore(lab.control.client("dynamodb"), TABLE)
        self.store.create(pause=lambda _: time.sleep(0.05))
        parts = {"route_tables": "all", "elastic_ip": lab.place.elastic_ip}
        self.web: dict[str, Any] = {"tag": TAG, "address": lab.place.vip, "interface": "eth0", "backup_interface": "eth1", "ec2": parts}
        self.web["dependents"] = [{"name": "app", "service": APP, "timeout": 100}]
        self.web["priority"] = {"node-a": 1, "node-b": 2}
        self.variables: dict[str, Any] = {
            "holdfast_cluster": CLUSTER,
            "holdfast_store": {"type": "dynamodb", "table": TABLE, "region": lab.place.region, "endpoint_url": API},
            "holdfast_aws": {"region": lab.place.region, "endpoint_url": API},
            "holdfast_resources": [self.web],
            "monitor_timing": {"profile": "fast", "ttl": 7},  # longer, so that a busy machine has the time to exchange a process
            # the window is short, so that each fault is the first of its kind
            "monitor_checks": {"interval": 0.5, "deep_interval": 2, "grace": 0.5, "backoff": 1, "hold_down": 1, "max_recoveries": 50, "window": 1},
            "monitor_metrics_textfile": "/var/lib/node_exporter/holdfast.prom",
            "monitor_secrets": {"token": TOKEN},
            "monitor_environment": {"SOME_PASSWORD": TOKEN},
            "monitor_wheelhouse": WHEELS,
        }
        for node in self.nodes:
            node.run("sh", "-c", f"cat > /etc/systemd/system/{APP}; mkdir -p /var/lib/node_exporter", input=_APP)

    # --- the controller ------------------------------------------------------------------------------------------------

    def play(self, name: str, *, words: Sequence[str] = (), began: Callable[[str], object] = lambda task: None, **more: Any) -> PlaybookRun:
        """Run a playbook from a controller over SSH. No traceback, no secret, no template error."""
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps(self.lab.inventory()))
        environment = {**self.lab.client.environment, "ANSIBLE_PIPELINING": "1"}
        given = {**self.variables, **more}
        run = run_playbook(name, given, where=self.lab.router.namespace, environment=environment, inventory=inventory, words=words, began=began)
        slowest = sorted(run.tasks, key=lambda task: -task.seconds)[:5]
        print("slowest:", [(task.task, task.host, round(task.seconds, 1)) for task in slowest], len(run.tasks))
        print(f"{name}: exit {run.status} after {run.seconds:.1f} s; {run.message}\n{run.other[-3000:]}")
        text = run.other + json.dumps([task.result for task in run.tasks], default=str)
        assert "Traceback" not in text, text
        for secret in self.secrets():
            assert secret not in text, "a secret shows in what Ansible prints"
        for task in run.failed:
            assert not re.search(r"defect in holdfast\.ha|is undefined|'undefined'", str(task.result.get("msg"))), task
        return run

    def converge(self, **more: Any) -> PlaybookRun:
        """The playbook install; it has to succeed."""
        run = self.play("install", **more)
        assert run.status == 0, run.message or run.other
        self.installed = True
        return run

    def secrets(self) -> set[str]:
        """The token, and the keys of the nodes that have one."""
        keys = {node.run("cat", "/etc/holdfast/peer.key", check=False).stdout.strip() for node in self.nodes if node.machine is not None}
        return {TOKEN, *self.variables["monitor_secrets"].values(), *filter(None, keys)}

    # --- what is so ----------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[BootedNode, ...]:
        """node-a and node-b."""
        return self.lab.booted_nodes

    def node(self, name: str) -> BootedNode:
        """By its name."""
        return next(node for node in self.nodes if node.name == name)

    def record(self) -> Record | None:
        """The lease as the store has it."""
        return self.store.read(f"{CLUSTER}/{TAG}").record

    def holder(self) -> str:
        """Who holds the lease; empty for nobody."""
        record = self.record()
        return record.holder if record else ""

    def other(self, name: str) -> str:
        """The other node."""
        return next(node.name for node in self.nodes if node.name != name)

    def status(self, node: BootedNode) -> dict[str, Any]:
        """What the command `holdfast` says of the resource there; empty where no checker answers."""
        done = node.run("holdfast", "status", "--json", check=False)
        try:
            return next(one for one in json.loads(done.stdout)["resources"] if one["tag"] == TAG)
        except (ValueError, KeyError, StopIteration):
            return {}

    def pid(self, node: BootedNode) -> int:
        """The checker's process, as the node numbers it; 0 where none runs."""
        return int(node.run("systemctl", "show", "--property=MainPID", "--value", UNIT).stdout)

    def events(self, node: BootedNode, since: float = 0.0) -> list[dict[str, Any]]:
        """The checker's events in the journal of the node, from that time (seconds of the epoch) on."""
        text = node.run("journalctl", "--unit", UNIT, "--output=cat", f"--since=@{since:.3f}", check=False).stdout
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [one for one in found if isinstance(one, dict) and "event" in one]

    def tells(self, node: BootedNode, since: float, *wanted: str) -> bool:
        """Whether these events came in this order, with others between: ``EVENT``, or ``EVENT: what one of its facts says``."""
        rest = iter(self.events(node, since))
        return all(any(_says(one, want) for one in rest) for want in wanted)

    def wait_told(self, node: BootedNode, since: float, *wanted: str, seconds: float = 60) -> None:
        """Until it `tells` that. Raises TimeoutError with what it told instead."""
        try:
            until(lambda: self.tells(node, since, *wanted), seconds, "-", every=0.2)
        except TimeoutError:
            told = "\n".join(json.dumps(one)[:400] for one in self.events(node, since))
            raise TimeoutError(f"{node.name} does not tell of {wanted} within {seconds:g} s, but:\n{told}") from None

    def is_active(self, node: BootedNode, unit: str = APP) -> bool:
        """Whether the unit runs."""
        return node.machine is not None and node.run("systemctl", "is-active", unit, check=False).stdout.strip() == "active"

    def places(self) -> set[str]:
        """The nodes and links whose kernels have the address; asks no store."""
        return {f"{node.name} {link}" for node in self.nodes for link, cidr in node.addresses() if cidr == self.lab.place.vip}

    def where(self) -> dict[str, set[str]]:
        """Where everything is, as kernels, systemd and control plane say: node and link for what has a link."""
        vip = self.lab.place.vip
        owners = {one.id: f"{machine.name} {one.link}" for machine in self.lab.place.machines for one in machine.interfaces}
        routes = {owners.get(route.target, route.target) for subnet in self.lab.view.subnets for route in subnet.routes if route.destination == vip}
        checks = {owners.get(one.id, one.id): one.source_dest_check for one in self.lab.view.interfaces}
        held = self.places()
        return {
            "address": held,
            "routes": routes,
            "elastic ip": {owners.get(eip.network_interface_id or "", "-") for eip in self.lab.view.elastic_ips},
            "checked": {place for place in held if checks.get(place)},
            "app": {node.name for node in self.nodes if self.is_active(node)},
            "lease": {self.holder()},
        }

    def settled(self, name: str, link: str = "eth0") -> dict[str, set[str]]:
        """What `where` says when all is well and in service there."""
        place = {f"{name} {link}"}
        return {"address": place, "routes": place, "elastic ip": place, "checked": set(), "app": {name}, "lease": {name}}

    def wait_settled(self, name: str, link: str = "", seconds: float = 120) -> None:
        """Until all is well there, on that link or any, and both clients are answered by it. Raises TimeoutError with how it is instead."""
        wanted = [self.settled(name, one) for one in ([link] if link else ["eth0", "eth1"])]
        try:
            until(lambda: self.where() in wanted, seconds, "-", every=0.1)
        except TimeoutError:
            raise TimeoutError(f"wanted one of {wanted}, it is {self.where()} after {seconds:g} s\n{self.story()}") from None
        for client in ("client-c", "outside"):
            with self.lab.prober(client) as prober:
                prober.wait_until_answered(5, by=name)

    @contextmanager
    def dependents(self) -> Iterator[None]:
        """Asserts at its end that the dependent did not run on two nodes at once meanwhile."""
        begin = since_now()
        yield
        spans = [span for node in self.nodes for span in read_spans(node.name, node.written(NOTES), node.cuts)]
        twice = two_at_once(spans, begin)
        assert not twice, "\n".join([*twice, self.story()])

    def stays(self, before: Record | None) -> None:
        """Asserts that the lease was not given away since it was so."""
        after = self.record()
        assert before is not None
        assert after is not None
        assert (after.holder, after.epoch) == (before.holder, before.epoch), f"it moved to another node\n{self.story()}"

    def story(self, last: int = 25) -> str:
        """What the checkers said last."""
        lines = []
        for node in self.nodes:
            if node.machine is not None:
                text = node.run("journalctl", "--unit", UNIT, "--output=cat", f"--lines={last}", check=False).stdout
                lines += [f"{node.name}: {line[:400]}" for line in text.splitlines()]
        return "\n".join(lines)

    def kernels(self) -> Oracle:
        """Watches that never both kernels have the address; for when there may be no lease."""
        return Oracle({node.name: node.namespace for node in self.nodes}, self.lab.place.vip)

    def oracle(self) -> Oracle:
        """As `kernels`, and that a kernel has it only while its node has the lease."""
        _when, holder, epoch = lease_writes(self.lab.control.calls, f"{CLUSTER}/{TAG}", 0)[-1]
        return self.kernels().follow(self.lab.control.calls, f"{CLUSTER}/{TAG}", holder, epoch)

    # --- put right -----------------------------------------------------------------------------------------------------

    def reset(self) -> str:
        """Nothing goes wrong any more, both nodes are on, and the resource is well in service somewhere; says where."""
        clear(self.lab)
        if not self.installed:  # a test that is run without those before it
            self.converge()
        for node in self.nodes:
            node.configure()
            if node.machine is None:
                node.power_on()
                node.wait_until_up()
            node.run("systemctl", "reset-failed", check=False)
            node.run("systemctl", "start", UNIT)
        name = until(self.holder, 60, f"nobody holds the lease\n{self.story()}")
        link = next((link for link, cidr in self.node(name).addresses() if cidr == self.lab.place.vip), "eth0")
        self.wait_settled(name, link)
        # not while a run of the fault before is still under way, or with a standby that has just begun: that is another story
        until(lambda: self.is_quiet(name), 120, f"{name} is not at rest\n{self.story()}", every=0.2)
        return name

    def is_quiet(self, name: str) -> bool:
        """Whether that node's checker finds all well and does nothing about it, and the other one stands by."""
        told = self.status(self.node(name))
        return (told.get("health"), told.get("phase")) == ("healthy", "watching") and all(one["ready"] for one in told["peers"])


def _says(event: Mapping[str, Any], wanted: str) -> bool:
    name, _colon, text = wanted.partition(": ")
    return event["event"] == name and text in json.dumps({key: value for key, value in event.items() if key not in ("event", "cluster", "time")})


def margin(cluster: Installed, name: str, signal: str) -> float:
    """End the checker of the active node for good, or have it hang, until the other node has taken over.

    :param name: The active node. At the end its checker runs again.
    :param signal: ``KILL`` or ``STOP``.
    :returns: Seconds from the end of the dependent on the old node to the lease of the new one.
    """
    node, other, begin = cluster.node(name), cluster.node(cluster.other(name)), since_now()
    folder = f"/run/systemd/system/{UNIT}.d"
    for_good = f"mkdir -p {folder}; printf '[Service]\\nRestart=no\\n' > {folder}/for-good.conf; systemctl daemon-reload"
    node.run("sh", "-euc", for_good)
    try:
        node.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", UNIT)
        until(lambda: cluster.holder() == other.name, 60, f"nobody took over\n{cluster.story()}", every=0.05)
        cluster.wait_told(other, begin, "acquired")
    finally:
        end = f"systemctl kill --signal=KILL {UNIT} || true; rm -r {folder}; systemctl daemon-reload"
        node.run("sh", "-euc", f"{end}; systemctl reset-failed {UNIT} || true; systemctl start {UNIT}")
    acquired = next(one["time"] for one in cluster.events(other, begin) if one["event"] == "acquired" and one["tag"] == TAG)
    ended = [line.split()[0] for line in node.run("cat", "/var/log/app").stdout.splitlines() if line.endswith(" stopped")]
    assert ended, "the dependent did not end on the old node"
    assert float(ended[-1]) > begin, "the dependent did not end on the old node"
    return datetime.fromisoformat(acquired.replace("Z", "+00:00")).timestamp() - float(ended[-1])


def since_now() -> float:
    """For `Installed.events`: now, in seconds of the epoch."""
    return time.time()


@contextmanager
def two_nodes(folder: Path, suite: str = booted.SUITE) -> Iterator[Installed]:
    """A lab with two nodes that boot this release of Debian. Nothing is installed on them yet."""
    wheels = booted.wheels(_ROOT / "roles/monitor/files/requirements.txt", suite)
    version = folder / "collection"  # what a release has; a copy, so that a test can make a newer one of it
    for name in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(_ROOT / name, version / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("galaxy.yml", "LICENSE", "README.md"):
        shutil.copy(_ROOT / name, version)
    with Lab(f"m{suite[0]}{os.getpid()}-", booted=True, suite=suite, binds={wheels: booted.WHEELS}) as lab:
        made = Installed(lab, folder)
        made.variables["monitor_collection"] = str(version)
        yield made
