# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a person waits for a playbook over SSH: a switchover, and local recoveries, in the lab's VPC.

    tests/holdfast-bench bench_playbooks [--rounds N] [--against CHECKOUT]

The whole run counts, with the start of Ansible. With ``--against`` the playbooks of another checkout, which lies in ``CHECKOUT/.tree``, take turns
with those of this one, in the same lab and with the same checkers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from bench.figures import Table
from lab.faults import strike
from lab.playbook import PlaybookRun, run_playbook
from lab.vpc import Lab

HERE, THERE = "this checkout", "the other checkout"


class Bench:
    """One lab, and the playbooks of one or two trees."""

    def __init__(self, cluster: Cluster, folder: Path, trees: dict[str, Path | None]) -> None:
        self._cluster, self.trees = cluster, trees
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps(cluster.lab.inventory()))

    def _play(self, name: str, by: str, **variables: object) -> PlaybookRun:
        cluster = self._cluster
        run = run_playbook(
            name,
            {"holdfast_cluster": CLUSTER, "holdfast_resources": [cluster.resource], **variables},
            where=cluster.lab.router.namespace,
            environment={**cluster.lab.node_a.environment, "ANSIBLE_PIPELINING": "1"},
            inventory=self._inventory,
            collections=self.trees[by],
        )
        if run.status != 0:
            raise RuntimeError(f"{name} of {by}: {run.message or run.other}")
        return run

    def switchover(self, by: str) -> tuple[float, int]:
        """To the other node; seconds, and the number of tasks that ran on hosts."""
        to = "node-b" if self._cluster.holder() == "node-a" else "node-a"
        run = self._play("switchover", by, holdfast_store=STORE, tag=TAG, to=to)
        self._cluster.all_on(to)
        return _told(run)

    def recovery(self, fault: str | None) -> Callable[[str], tuple[float, int]]:
        """On the node that has it, without checkers; ``None``: nothing is broken."""

        def recover(by: str) -> tuple[float, int]:
            if fault is not None:
                strike(self._cluster.lab, fault)
            return _told(self._play("local_recovery", by))

        return recover


def _told(run: PlaybookRun) -> tuple[float, int]:
    return run.seconds, sum(task.outcome != "skipped" for task in run.tasks)


def measure(table: Table, event: str, once: Callable[[str], tuple[float, int]], trees: dict[str, Path | None], rounds: int) -> None:
    """Turn by turn, with one round before that does not count."""
    taken: dict[str, list[tuple[float, int]]] = {by: [] for by in trees}
    for number in range(rounds + 1):
        for by in trees:
            told = once(by)
            if number:
                taken[by].append(told)
    for by in trees:
        table.row(event, f"{by}, {max(tasks for _seconds, tasks in taken[by])} tasks", [seconds for seconds, _tasks in taken[by]])
    if len(trees) > 1:
        medians = [sorted(seconds for seconds, _tasks in taken[by])[len(taken[by]) // 2] for by in (HERE, THERE)]
        print(f"  ratio: {medians[0] / medians[1]:.2f} x", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout")
    given = parser.parse_args()
    trees: dict[str, Path | None] = {**({THERE: given.against / ".tree"} if given.against else {}), HERE: None}
    table = Table("Playbooks over SSH, whole runs")
    with tempfile.TemporaryDirectory() as folder, Lab(f"bp{os.getpid()}-", with_ssh=True) as lab:
        cluster = Cluster(lab, timing="fast")
        bench = Bench(cluster, Path(folder), trees)
        cluster.reset()
        cluster.place_on(lab.node_a)
        measure(table, "switchover", bench.switchover, trees, given.rounds)
        cluster.reset()
        cluster.stop()
        strike(lab, "restore")
        for event, fault in (
            ("recovery, nothing is wrong", None),
            ("recovery, a wrong route", "forgotten-table"),
            ("recovery, address deleted", "address-deleted"),
        ):
            measure(table, event, bench.recovery(fault), trees, given.rounds)
    table.close()


if __name__ == "__main__":
    main()
