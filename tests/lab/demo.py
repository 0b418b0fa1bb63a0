# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: break one thing after another, let the playbook repair it, and show what that was like for the clients."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab import picture
from lab.control import Fault
from lab.faults import strike
from lab.playbook import PlaybookRun, TaskReport, run_playbook
from lab.prober import Prober, Report
from lab.progress import PATIENCE
from lab.vpc import Lab

#: How long a client may take to notice that something broke, or that it works again, in seconds.
_NOTICE, _BACK = 3.0, 5.0
_CLIENTS = ("client-c", "outside")


@dataclass(frozen=True)
class Scene:
    """One thing that goes wrong. ``hurt``: the clients that lose the service. ``kinds``: what of the picture is worth showing."""

    title: str
    strike: Callable[[Lab], str]
    hurt: tuple[str, ...]
    kinds: tuple[str, ...]


def _point(lab: Lab, tables: Sequence[str]) -> str:
    for table in tables:
        lab.ec2.replace_route(
            RouteTableId=lab.place.table(table), DestinationCidrBlock=lab.place.vip, NetworkInterfaceId=lab.node_b.place.interfaces[0].id
        )
    return f"the entry for {lab.place.vip} in the route table of {', '.join(tables)} now leads to node-b"


def _everything_while_throttled(lab: Lab) -> str:
    told = _point(lab, ("node-a", "node-b", "client-c"))
    lab.control.faults.inject(Fault("throttle", action="*", times=4))
    return f"{told}, and EC2 turns the next four calls away: too many requests"


SCENES = (
    Scene("A route table entry is changed by hand", lambda lab: _point(lab, ("client-c",)), ("client-c",), ("route",)),
    Scene("All of them are, and EC2 is throttling", _everything_while_throttled, ("client-c",), ("route",)),
    Scene("The source/destination check is switched on", lambda lab: strike(lab, "sdc-on"), ("client-c",), ("check",)),
    Scene("The Elastic IP is taken by another node", lambda lab: strike(lab, "eip-taken"), (), ("elastic ip",)),
    Scene("The address is deleted", lambda lab: strike(lab, "address-deleted"), ("client-c",), ("address",)),
    Scene("The link is set down", lambda lab: strike(lab, "link-down"), ("client-c", "outside"), ("address",)),
    Scene("The primary interface dies", lambda lab: strike(lab, "primary-dead"), ("client-c", "outside"), picture.KINDS),
)


def main(words: Sequence[str], prefix: str) -> int:
    """Run the demonstration; 0 when everything was repaired."""
    parser = argparse.ArgumentParser(prog="holdfast-lab demo", description="Break one thing after another and watch it being put right.")
    parser.parse_args(list(words))
    begin = time.monotonic()
    say("holdfast.ha: local recovery, on a VPC in a box\n")
    say("  node-a   10.0.1.0/24  holds 10.1.0.10, the service's address, which every route table leads to; and the Elastic IP 203.0.113.5")
    say("  node-b   10.0.2.0/24  the other node")
    say("  client-c 10.0.3.0/24  asks 10.1.0.10 every 5 ms; its subnet has a route table of its own")
    say("  outside  internet     asks 203.0.113.5 every 5 ms\n")
    with Lab(prefix, tell=lambda line: say(f"  {line}")) as lab:
        say(f"The lab is up ({time.monotonic() - begin:.1f} s). First run: the resource is put in service on node-a.")
        good = show_run(recover(lab)).status == 0
        scenes = (play(lab, number, scene) for number, scene in enumerate(SCENES, 1))  # as far as they go well
        good = good and all(scenes) and nothing_to_do(lab)
    outcome = "Everything was repaired" if good else "It ended early: something was NOT repaired"
    say(f"\n{outcome}, in {time.monotonic() - begin:.0f} s. Nothing of the lab is left.")
    return 0 if good else 1


def play(lab: Lab, number: int, scene: Scene) -> bool:
    """Show one scene; whether the clients have the service back and the playbook succeeded."""
    say(f"\n{number}. {scene.title}\n")
    probers = {name: lab.prober(name).start() for name in _CLIENTS}
    for prober in probers.values():
        prober.wait_until_answered(_BACK)
    say(f"  broken    {scene.strike(lab)}")
    for name in scene.hurt:
        probers[name].wait_until_silent(_NOTICE)
    say(f"  noticed   {' and '.join(f'{name} gets no answer' for name in scene.hurt) or 'answers come from the wrong node'}")
    before = picture.take(lab)
    run = show_run(recover(lab))
    say("")
    for line in picture.compare(before, picture.take(lab), scene.kinds):
        say(f"  {line}")
    say("")
    back = [_back(name, prober) for name, prober in probers.items()]  # each is told, whatever the others say
    return all(back) and run.status == 0


def _back(name: str, prober: Prober) -> bool:
    """Wait for the service to be back, and tell how long the client did without."""
    try:
        prober.wait_until_answered(_BACK, by="node-a")
    except TimeoutError:
        say(f"  outage    {name}: still no answer from node-a")
        return False
    finally:
        report = prober.stop()
    say(f"  outage    {name}: {_without(report)}")
    return True


def _without(report: Report) -> str:
    wrong = [answer for answer in report.answers if answer.node != "node-a"]
    if wrong:
        return f"{(wrong[-1].answered - wrong[0].asked) * 1000:,.0f} ms of answers from {wrong[0].node}"
    return f"{report.longest_ms:,.0f} ms" if report.outages else "none"


def nothing_to_do(lab: Lab) -> bool:
    """A last run on what is right already: it changes nothing and writes nothing to EC2."""
    say("\nOnce more, with nothing broken\n")
    lab.control.calls.reset()
    run = show_run(recover(lab))
    writes = len(lab.control.calls.mutating())
    say(f"  changed   {len(run.changed)} tasks; {writes} writes to EC2 among {lab.control.calls.count()} calls")
    return run.status == 0 and not run.changed and not writes


def recover(lab: Lab) -> PlaybookRun:
    """The playbook, on node-a itself, telling that it still runs every two seconds."""
    told = [time.monotonic()]

    def progress(report: TaskReport) -> None:
        if time.monotonic() - told[0] > PATIENCE and report.outcome != "skipped":
            say(f"            ... {report.task}")
            told[0] = time.monotonic()

    say("  repair    ansible-playbook holdfast.ha.local_recovery, on node-a")
    resource = {"tag": "web", "address": lab.place.vip, "interface": "eth0", "backup_interface": "eth1"}
    variables = {"holdfast_resources": [{**resource, "ec2": {"route_tables": "all", "elastic_ip": lab.place.elastic_ip}}]}
    node = lab.node_a
    return run_playbook("local_recovery", variables, where=node.namespace, environment=node.environment, seen=progress)


def show_run(run: PlaybookRun) -> PlaybookRun:
    """Tell what a run changed, and how it ended."""
    for task in run.changed:
        say(f"  changed   {task.task}")
    ended = "done" if run.status == 0 else f"FAILED: {run.message or run.other.strip()[-300:]}"
    say(f"  {ended:9} after {run.seconds:.1f} s")
    return run


def say(line: str) -> None:
    """Print a line now: whoever watches should not wait for a buffer to fill."""
    print(line)
    sys.stdout.flush()
