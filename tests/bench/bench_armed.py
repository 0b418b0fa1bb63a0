# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that waits in advance saves: from the checker's order to the playbook's end, with one EC2 task that repairs a route.

    tests/holdfast-bench bench_armed [--rounds N] [--latency SECONDS] [--idle SECONDS]

Cold and armed, the module in a process of its own and in Ansible's worker, its client made then or beforehand. The ways take turns, so that whatever
else the machine does meets all of them. Then what a waiting run costs: its memory, and its share of a core while nothing happens.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.dispatcher import Order, Triggers, parse_triggers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from bench.bench_route_target import VIP, Lab, Vpc
from lab.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0


class Way:
    """One way to run the same order."""

    def __init__(self, name: str, folder: Path, *, armed: bool, in_worker: bool, ahead: bool, variables: dict[str, Any]) -> None:
        self.name, self.armed = name, armed
        collection = folder / "ansible_collections/holdfast/ha"
        (collection / "playbooks").mkdir(parents=True)
        for part in ("plugins", "roles", "meta", "galaxy.yml"):
            (collection / part).symlink_to(ROOT / part)
        tasks = yaml.safe_load((ROOT / "playbooks/recover.yml").read_text(encoding="utf-8"))[0]["tasks"]
        first = next(one for one in tasks if "holdfast_armed_socket" in str(one.get("when")))
        options = {"destinations": ["{{ vip }}"], "network_interface_id": "{{ eni }}", "vpc_id": "{{ vpc }}"}
        environment = {} if in_worker else {"HOLDFAST_BENCH": "1"}  # what makes Ansible run the module itself
        task = {"name": "Repair", "holdfast.ha.ec2_route_target": options, "environment": environment}
        play = {"hosts": "all", "gather_facts": False, "tasks": [first, task]}
        (collection / "playbooks/recover.yml").write_text(json.dumps([play]), encoding="utf-8")
        told = dict(variables)
        if ahead:
            told.update(holdfast_aws={}, holdfast_resources=[{"tag": "web", "ec2": {"route_tables": "all"}}])
        file = folder / "variables.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(told), encoding="utf-8")
        command = str(Path(sys.executable).with_name("ansible-playbook"))
        settings = parse_triggers([{"type": "playbook", "command": command, "variables": str(file), "armed": armed}], "bench")
        self._folder = folder
        self.triggers = Triggers(settings, lambda *_, **__: None, folder=folder / "run", definitions=folder)

    def ready(self) -> None:
        """Returns once an order can be given."""
        os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(self._folder)
        if self.armed:
            self.triggers.arm()
            until(lambda: self.triggers.describe()["armed"]["waiting"], PATIENCE, "no run was armed")

    def run(self) -> float:
        """Seconds from the order to its end."""
        begin = time.monotonic()
        outcome = self.triggers.run(Order("web", "recover", "bench"), threading.Event())
        took = time.monotonic() - begin
        if not outcome.ok:
            raise RuntimeError(f"{self.name}: {outcome.message}")
        return took

    def rest(self) -> None:
        """End what waits, so that the others have the machine."""
        self.triggers.close()


def point(vpc: Vpc, eni: str) -> None:
    """Lead every entry there."""
    for table in vpc.tables:
        vpc.client.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni)


def targets(vpc: Vpc) -> set[str]:
    """Where the entries lead."""
    tables = vpc.client.describe_route_tables(RouteTableIds=vpc.tables)["RouteTables"]
    return {route["NetworkInterfaceId"] for table in tables for route in table["Routes"] if route.get("DestinationCidrBlock") == VIP}


def cpu_seconds(pids: list[int]) -> float:
    """Processor time used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each EC2 call takes")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds for which a waiting run is looked at")
    given = parser.parse_args()
    lab = Lab()
    facts = lab.facts
    os.environ.update(
        AWS_ACCESS_KEY_ID=facts["access_key"], AWS_SECRET_ACCESS_KEY=facts["secret_key"], AWS_REGION=facts["region"], AWS_ENDPOINT_URL=facts["url"]
    )
    try:
        with tempfile.TemporaryDirectory(prefix="bench-armed-") as place:
            measure(lab, given, Path(place))
    finally:
        lab.stop()


def measure(lab: Lab, given: argparse.Namespace, place: Path) -> None:
    """Run the rounds."""
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import ec2_client

    client = ec2_client(lab.options(), lambda: lab.facts["region"])
    vpc = Vpc(client, 1)
    right, wrong = vpc.enis
    variables = {"vip": VIP, "eni": right, "vpc": vpc.id}
    ways = [
        Way(name, place / str(number), armed=armed, in_worker=in_worker, ahead=ahead, variables=variables)
        for number, (name, armed, in_worker, ahead) in enumerate(
            (
                ("cold, module", False, False, False),
                ("cold, in the worker", False, True, False),
                ("armed, module", True, False, False),
                ("armed, in the worker", True, True, False),
                ("armed, in the worker, client made beforehand", True, True, True),
            )
        )
    ]
    lab.latency(given.latency)
    took: dict[str, list[float]] = {way.name: [] for way in ways}
    for _round in range(given.rounds):
        for way in ways:
            point(vpc, wrong)
            way.ready()
            took[way.name].append(way.run())
            if targets(vpc) != {right}:
                raise RuntimeError(f"{way.name} left {targets(vpc)}")
            way.rest()
    print(f"{given.rounds} rounds, {given.latency * 1000:g} ms an EC2 call; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; seconds")
    for name, seconds in took.items():
        print(f"  {name:<46} median {statistics.median(seconds):6.3f}  worst {max(seconds):6.3f}  best {min(seconds):6.3f}")
    last = ways[-1]
    last.ready()
    about = last.triggers.describe()["armed"]
    tree = [about["pid"], *below(about["pid"])]
    before = cpu_seconds(tree)
    time.sleep(given.idle)
    share = (cpu_seconds(tree) - before) / given.idle
    print(f"a waiting run: {about['memory'] / 1e6:.1f} MB (PSS) in {len(tree)} processes, {share:.2%} of a core over {given.idle:g} s")
    last.rest()


if __name__ == "__main__":
    main()
