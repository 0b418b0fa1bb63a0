# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab with a resource of each protocol in service on node-a, and what tests of the playbooks ask of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.recovery import world
from ansible_collections.holdfast.ha.tests.integration.recovery.world import Subject, World
from lab.control import Call
from lab.faults import restore
from lab.node import Node
from lab.playbook import HERE, PlaybookRun, TaskReport, run_playbook
from lab.vpc import Lab

Resource = dict[str, Any]
#: A machine and the address that it asks.
Question = tuple[str, str]
STATES = "/var/lib/holdfast"
_OURS = "72"  # the routing protocol number by which the collection knows its own rules and routes


class Cluster:
    """One lab for many tests; `reset` between them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        place = lab.place
        shared = {"interface": "eth0", "backup_interface": "eth1"}
        self.web: Resource = {"tag": "web", "address": place.vip, **shared, "ec2": {"route_tables": "all", "elastic_ip": place.elastic_ip}}
        self.web6: Resource = {"tag": "web6", "address": place.vip6, **shared, "ec2": {"route_tables": "all"}}
        self.clients: tuple[Question, ...] = (
            ("client-c", place.vip),
            ("client-c", place.vip6),
            ("node-b", place.vip),
            ("outside", place.elastic_ip),
        )
        self._states: dict[str, str] = {}
        self.before: World = {}
        self.calls: list[Call] = []  # those of the last run

    def settle(self) -> None:
        """The first run of all: it records that both resources are in service on node-a."""
        run = self.recover(self.web, self.web6)
        assert run.status == 0, run.message
        self._states = {tag: self.node_a.run("cat", f"{STATES}/{tag}.json").stdout for tag in ("web", "web6")}

    def reset(self) -> None:
        """All as it was after `settle`; `before` is the picture of that."""
        for node in self.lab.nodes:
            forget(node)
        restore(self.lab)
        for tag, text in self._states.items():
            self.node_a.run("sh", "-c", f"umask 077; cat > {STATES}/{tag}.json", input=text)
        self.before = world.take(self.lab)

    @property
    def node_a(self) -> Node:
        """The node that both are in service on."""
        return self.lab.node_a

    def play(
        self,
        name: str,
        *resources: Resource,
        words: Sequence[str] = (),
        inventory: Path | None = None,
        seen: Callable[[TaskReport], None] = lambda report: None,
        **variables: Any,
    ) -> PlaybookRun:
        """Run a playbook on node-a itself, or with an inventory from the router; the calls that it makes are counted from zero.

        Asserts what holds for every run: no traceback, no template error, no defect, messages of one line.
        """
        if resources:
            variables["holdfast_resources"] = list(resources)
        where = self.lab.router.namespace if inventory else self.node_a.namespace
        self.lab.control.calls.reset()
        run = run_playbook(name, variables, where=where, environment=self.node_a.environment, inventory=inventory or HERE, words=words, seen=seen)
        self.calls = self.lab.control.calls.all()
        print(f"{name}: exit {run.status} after {run.seconds:.1f} s, {len(self.calls)} calls; {run.message}")
        assert "Traceback" not in run.other, run.other
        for task in run.failed:
            message = str(task.result.get("msg"))
            if task.action == "ansible.builtin.validate_argument_spec":  # Ansible's own words, on two lines
                continue
            assert "\n" not in message, message
            assert not re.search(r"Task failed|Traceback|defect in holdfast\.ha|undefined", message), message
        return run

    def recover(self, *resources: Resource, **more: Any) -> PlaybookRun:
        """The playbook local_recovery; ``more`` as for `play`."""
        return self.play("local_recovery", *resources, **more)

    def inventory(self, folder: Path, **changes: Mapping[str, Any]) -> Path:
        """The lab's inventory as a file; ``changes``: variables of one host, by its name with an underscore."""
        told = self.lab.inventory()
        told["all"]["vars"]["ansible_pipelining"] = True  # half the time over SSH
        for name, variables in changes.items():
            told["all"]["hosts"][name.replace("_", "-")].update(variables)
        path = folder / "inventory.json"
        path.write_text(json.dumps(told))
        return path

    def who_answers(self, *questions: Question, seconds: float = 0.3) -> list[set[str]]:
        """For each question the nodes that answered within a while, asked all at the same time."""
        with ExitStack() as stack:
            probers = [stack.enter_context(self.lab.prober(where, address, seconds=seconds)) for where, address in questions]
            for prober in probers:
                prober.wait_until_over(seconds + 5)
            reports = [prober.stop() for prober in probers]
        assert all(report.asked > 10 for report in reports)
        return [{node for node, _epoch in report.answered_by} for report in reports]

    def assert_served(self, *questions: Question) -> None:
        """Every client gets its answers from node-a, and from no other node."""
        asked = questions or self.clients
        answers = dict(zip(asked, self.who_answers(*asked)))
        assert answers == {question: {"node-a"} for question in asked}

    def changes(self) -> dict[Subject, tuple[str, str]]:
        """What is not as it was after `reset`."""
        return world.differences(self.before, world.take(self.lab))

    def writes(self) -> list[str]:
        """The mutating calls of the last run, by their names."""
        return sorted(call.action for call in self.calls if call.mutating)

    def interface(self, link: str, node: str = "node-a") -> str:
        """The id of a node's network interface."""
        return self.lab.place.machine(node).interface(link).id


def module_of(report: TaskReport) -> str:
    """The module of a task, without its namespace."""
    return report.action.rpartition(".")[2]


def changed(run: PlaybookRun) -> list[str]:
    """The modules that changed something, in order."""
    return [module_of(report) for report in run.changed]


def told(run: PlaybookRun, module: str) -> TaskReport:
    """What that module returned, the last time that it ran."""
    return next(report for report in reversed(run.tasks) if module_of(report) == module and report.outcome != "skipped")


def forget(node: Node) -> None:
    """Remove what recovery leaves on a node and the lab's `restore` does not know of: its state files, source rules and their tables."""
    node.run("sh", "-c", f"rm -f {STATES}/*.json")
    for family in ("-4", "-6"):
        for rule in json.loads(node.run("ip", "-N", "-j", family, "rule", "show").stdout or "[]"):
            if str(rule.get("protocol")) == _OURS:
                node.run("ip", family, "rule", "del", "pref", str(rule["priority"]), "from", str(rule["src"]), "lookup", str(rule["table"]))
        node.run("ip", family, "route", "flush", "table", "all", "proto", _OURS, check=False)
