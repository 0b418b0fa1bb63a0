# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: break one thing after another, let the playbooks put it right, and show what that was like for the clients."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab import picture
from lab.control import Fault
from lab.demo_failover import failover, resource
from lab.demo_run import BACK, NOTICE, on_the_node, outage, say, show_run, start_clients
from lab.faults import strike
from lab.playbook import PlaybookRun
from lab.prober import Prober
from lab.vpc import Lab


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
    say("holdfast.ha: local recovery and failover, on a VPC in a box\n")
    say("  node-a   10.0.1.0/24  holds 10.1.0.10, the service's address, which every route table leads to; and the Elastic IP 203.0.113.5")
    say("  node-b   10.0.2.0/24  the standby")
    say("  client-c 10.0.3.0/24  asks 10.1.0.10 every 5 ms; its subnet has a route table of its own")
    say("  outside  internet     asks 203.0.113.5 every 5 ms\n")
    with Lab(prefix, tell=lambda line: say(f"  {line}")) as lab:
        say(f"The lab is up ({time.monotonic() - begin:.1f} s). First run: the resource is put in service on node-a.")
        good = show_run(recover(lab)).status == 0
        scenes = (play(lab, number, scene) for number, scene in enumerate(SCENES, 1))  # as far as they go well
        good = good and all(scenes) and nothing_to_do(lab) and failover(lab, len(SCENES) + 1)
    outcome = "Everything was repaired" if good else "It ended early: something was NOT repaired"
    say(f"\n{outcome}, in {time.monotonic() - begin:.0f} s. Nothing of the lab is left.")
    return 0 if good else 1


def play(lab: Lab, number: int, scene: Scene) -> bool:
    """Show one scene; whether the clients have the service back and the playbook succeeded."""
    say(f"\n{number}. {scene.title}\n")
    probers = start_clients(lab)
    say(f"  broken    {scene.strike(lab)}")
    for name in scene.hurt:
        probers[name].wait_until_silent(NOTICE)
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
        prober.wait_until_answered(BACK, by="node-a")
    except TimeoutError:
        say(f"  outage    {name}: still no answer from node-a")
        return False
    finally:
        report = prober.stop()
    say(f"  outage    {name}: {outage(report, 'node-a')}")
    return True


def nothing_to_do(lab: Lab) -> bool:
    """A last run on what is right already: it changes nothing and writes nothing to EC2."""
    say("\nOnce more, with nothing broken\n")
    lab.control.calls.reset()
    run = show_run(recover(lab))
    writes = len(lab.control.calls.mutating())
    say(f"  changed   {len(run.changed)} tasks; {writes} writes to EC2 among {lab.control.calls.count()} calls")
    return run.status == 0 and not run.changed and not writes


def recover(lab: Lab) -> PlaybookRun:
    """Local recovery, by hand."""
    return on_the_node(lab, "local_recovery", resource(lab))
