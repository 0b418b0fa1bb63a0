# SPDX-License-Identifier: GPL-3.0-or-later
"""How long ec2_route_target takes against a bare boto3 script and against ClusterLabs' aws-vpc-move-ip, as ratios of one run.

    tests/holdfast-bench bench_route_target [--rounds N] [--rival-tables 1,10]

The control plane runs in a process of its own. Ours is the module's code, `RouteTargets` under `converge`, and like the
bare script it is timed from when the client is made. The two take turns, so that whatever else the machine does
meets both. Needs root for the comparison with aws-vpc-move-ip, which adds an address.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import converge
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import AwsOptions, ec2_client
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import DesiredRoutes
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import SETTLE
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_route_target import RouteTargets
from harness.module import run_module
from lab.control import ControlPlane
from lab.imds import Identity, Imds
from lab.netns import Namespace

ROOT = Path(__file__).resolve().parents[2]
VIP = "10.1.0.10/32"
LIMIT = 1.3
RIVAL = Path("/usr/lib/ocf/resource.d/heartbeat/aws-vpc-move-ip")

_SERVER = """
import json, sys
from lab.control import ControlPlane
with ControlPlane() as plane:
    keys = plane.admin_credentials
    facts = {"url": plane.endpoint_url, "region": plane.region, "access_key": keys.access_key, "secret_key": keys.secret_key}
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
"""


class Lab:
    """The control plane in another process, with one VPC and as many tables as asked."""

    def __init__(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
        self._server = subprocess.Popen([sys.executable, "-c", _SERVER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        self.facts = json.loads(self._server.stdout.readline())

    def options(self) -> AwsOptions:
        facts = self.facts
        return AwsOptions(region=facts["region"], access_key=facts["access_key"], secret_key=facts["secret_key"], endpoint_url=facts["url"])

    def latency(self, seconds: float) -> None:
        """Of each call from now on."""
        self._door("DELETE")
        if seconds:
            self._door("POST", {"kind": "latency", "seconds": seconds})

    def _door(self, method: str, body: object = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.facts['url']}/_lab/faults", data=data, method=method)).close()

    def stop(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=10)


class Vpc:
    """A VPC with ``count`` tables that have an entry, and two interfaces that it may lead to."""

    def __init__(self, client: Any, count: int) -> None:
        self.client = client
        self.id = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = client.create_subnet(VpcId=self.id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        started = client.run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2, SubnetId=subnet)["Instances"]
        self.instances = [one["InstanceId"] for one in started]
        self.interfaces = [one["NetworkInterfaces"][0] for one in started]
        self.enis = [one["NetworkInterfaceId"] for one in self.interfaces]
        self.tables = [client.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"] for _number in range(count)]
        for table in self.tables:
            client.create_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=self.enis[0])


def ours(client: Any, vpc: Vpc, eni: str) -> None:
    run = converge(RouteTargets(client, DesiredRoutes((VIP,), eni, vpc_id=vpc.id)), settle=SETTLE)
    assert run.changed
    assert not run.errors
    assert len(run.planned) == len(vpc.tables)


def bare(client: Any, vpc: Vpc, eni: str) -> None:
    """The same calls, and nothing else: look, replace with ten threads, look."""

    def look() -> list[Any]:
        filters = [{"Name": "vpc-id", "Values": [vpc.id]}]
        found: list[Any] = []
        more: dict[str, str] = {}
        while True:
            answer = client.describe_route_tables(Filters=filters, MaxResults=100, **more)
            found += answer["RouteTables"]
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}

    wrong = [table["RouteTableId"] for table in look() for route in table["Routes"] if route.get("DestinationCidrBlock") == VIP]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda table: client.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni), wrong))
    assert len(look()) == len(vpc.tables) + 1


def median_of_turns(rounds: int, vpc: Vpc, lab: Lab) -> tuple[float, float]:
    """Medians in seconds of ours and of the bare script, each moving the entries back and forth on a new client in turn."""
    taken: dict[Callable[..., None], list[float]] = {ours: [], bare: []}
    for number in range(2 * rounds):
        for way in (ours, bare) if number % 2 else (bare, ours):
            client = ec2_client(lab.options(), lambda: "")
            here = client.describe_route_tables(RouteTableIds=vpc.tables[:1])["RouteTables"][0]["Routes"]
            now = next(route["NetworkInterfaceId"] for route in here if route.get("DestinationCidrBlock") == VIP)
            target = vpc.enis[1] if now == vpc.enis[0] else vpc.enis[0]
            start = time.perf_counter()
            way(client, vpc, target)
            taken[way].append(time.perf_counter() - start)
    return statistics.median(taken[ours]), statistics.median(taken[bare])


def against_bare(lab: Lab, rounds: int) -> bool:
    print(f"{'tables':>6}  {'ms a call':>9}  {'ours':>8}  {'bare':>8}  ratio (at most {LIMIT})")
    met = True
    for count in (1, 50, 200):
        vpc = Vpc(ec2_client(lab.options(), lambda: ""), count)
        for latency in (0.0, 0.05):
            lab.latency(latency)
            mine, its = median_of_turns(rounds, vpc, lab)
            lab.latency(0)
            met = met and mine / its <= LIMIT
            print(f"{count:6}  {latency * 1000:9.0f}  {mine * 1000:5.0f} ms  {its * 1000:5.0f} ms  {mine / its:.2f}", flush=True)
    return met


def against_rival(counts: list[int]) -> None:
    """Whole processes, start to end, in a namespace that stands in for the instance: the module, then the agent's start."""
    awscli = shutil.which("aws")
    needs = {"root": os.geteuid() == 0, str(RIVAL): RIVAL.exists(), "aws": awscli, "curl": shutil.which("curl")}
    missing = [name for name, there in needs.items() if not there]
    if missing:
        print(f"aws-vpc-move-ip: left out, there is no {', '.join(missing)} here")
        return
    print(f"{'tables':>6}  {'ours':>8}  {'aws-vpc-move-ip start':>21}  ratio (whole processes, 0 ms a call)")
    for count in counts:
        with ControlPlane() as plane, Namespace(f"bench-{os.getpid()}") as node, tempfile.TemporaryDirectory() as folder:
            vpc = Vpc(plane.client("ec2"), count)
            env = _instance(plane, node, vpc, Path(folder))
            mine, its = _module(node, vpc, env), _agent(node, vpc, {**env, "OCF_RESKEY_awscli": str(awscli)})
            print(f"{count:6}  {mine:6.1f} s  {its:19.1f} s  {its / mine:.1f} times as long", flush=True)


def _instance(plane: ControlPlane, node: Namespace, vpc: Vpc, folder: Path) -> dict[str, str]:
    """Make the namespace the second instance: its link, metadata, a way to the control plane; returns the environment."""
    mac = vpc.interfaces[1]["MacAddress"]
    node.ip(f"link add eth0 address {mac} type veth peer name peer0")
    node.ip("link set eth0 up")
    listener = node.socket()
    listener.bind(("127.0.0.1", 8001))
    listener.listen(64)
    plane.serve([listener])
    Imds(Identity(vpc.instances[1], "node"), lambda: plane.snapshot(vpc.id), plane.issue).listen(node)
    keys = plane.admin_credentials
    (folder / "credentials").write_text(f"[default]\naws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_DEFAULT_REGION": plane.region,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:8001",
    }


def _module(node: Namespace, vpc: Vpc, env: dict[str, str]) -> float:
    start = time.perf_counter()
    answer = run_module("ec2_route_target", {"destinations": [VIP]}, where=node, env=env)
    taken = time.perf_counter() - start
    assert answer["changed"], answer
    assert not answer["failed"], answer
    for table in vpc.tables:  # back to where it was, for the agent
        vpc.client.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=vpc.enis[0])
    return taken


def _agent(node: Namespace, vpc: Vpc, env: dict[str, str]) -> float:
    given = {"ip": VIP.partition("/")[0], "routing_table": ",".join(vpc.tables), "interface": "eth0", "lookup_type": "NetworkInterfaceId"}
    settings = {f"OCF_RESKEY_{name}": text for name, text in given.items()}
    settings.update(OCF_ROOT="/usr/lib/ocf", OCF_RESOURCE_INSTANCE="bench", HA_RSCTMP=env["HOME"])
    start = time.perf_counter()
    done = node.run(str(RIVAL), "start", check=False, timeout=300, env={**env, **settings})
    taken = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description="Time ec2_route_target against others.")
    parser.add_argument("--rounds", type=int, default=5, help="turns in each direction (default: %(default)s)")
    parser.add_argument("--rival-tables", default="1", help="table counts for aws-vpc-move-ip, 6 s for each table (default: %(default)s)")
    given = parser.parse_args()
    lab = Lab()
    try:
        met = against_bare(lab, given.rounds)
    finally:
        lab.stop()
    against_rival([int(count) for count in given.rival_tables.split(",") if count])
    print("The limit is kept." if met else f"The limit of {LIMIT} is not kept.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
