# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: up, down, status, fault, exec, probe, demo."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence

from lab import booted, daemon
from lab.faults import TROUBLES
from lab.netns import Inside
from lab.prober import Prober
from lab.residence import PREFIX, LabError, Residence

_WHAT = "A VPC in a box: two nodes, a client, the internet, and EC2's API, on this machine alone."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. An error is one line on standard error."""
    args = _parser().parse_args(argv)
    try:
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and needs root: run it with sudo")
        Residence(args.prefix)  # a bad prefix is refused before anything else
        status: int = args.run(args) or 0
        return status
    except (LabError, RuntimeError, TimeoutError) as error:
        print(f"holdfast-lab: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast-lab", description=_WHAT)
    parser.add_argument("--prefix", default=PREFIX, help="what its namespaces' names begin with (default: %(default)s); one lab per prefix")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a lab and leave it running")
    up.add_argument("--tables", type=int, default=0, metavar="N", help="route tables more, each with the virtual address")
    up.add_argument("--no-ssh", action="store_true", help="without sshd on the nodes")
    up.add_argument("--booted", action="store_true", help="nodes that boot a Debian with systemd and sshd, as extensions/molecule uses them")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="end it and remove all that it made, also after a crash").set_defaults(run=_down)
    status = commands.add_parser("status", help="who holds what, route tables, Elastic IP, faults")
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=_status)
    commands.add_parser("inventory", help="an Ansible inventory of the nodes, as JSON, for use on this machine").set_defaults(run=_inventory)
    fault = commands.add_parser("fault", help="break something; without a name: list what can be broken")
    fault.add_argument("name", nargs="?")
    fault.set_defaults(run=_fault)
    run = commands.add_parser("exec", help="run a command on a machine: node-a, node-b, client-c, outside, router; or as administrator")
    run.add_argument("machine")
    run.add_argument("command", nargs=argparse.REMAINDER)
    run.set_defaults(run=_exec)
    probe = commands.add_parser("probe", help="ask the service every 5 ms from a machine, and tell each outage")
    probe.add_argument("machine", nargs="?", default="client-c")
    probe.add_argument("address", nargs="?", help="default: the virtual address; from outside the Elastic IP")
    probe.add_argument("--seconds", type=float, default=10.0)
    probe.set_defaults(run=_probe)
    demo = commands.add_parser("demo", help="break one thing after another and watch it being put right", add_help=False)
    demo.set_defaults(run=_demo)
    demo.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _up(args: argparse.Namespace) -> None:
    if not 0 <= args.tables <= 1000:
        raise LabError(f"--tables {args.tables}: 0 to 1000")
    if args.booted and booted.why_not():
        raise LabError(booted.why_not())
    begin = time.monotonic()
    daemon.start(args.prefix, extra_tables=args.tables, with_ssh=not args.no_ssh, booted=args.booted)
    print(f"the lab is up ({time.monotonic() - begin:.1f} s): see `status`, break something with `fault`, end it with `down`")


def _down(args: argparse.Namespace) -> None:
    print("the lab is gone" if daemon.stop(args.prefix) else "there was no lab")


def _status(args: argparse.Namespace) -> None:
    told = daemon.ask(args.prefix, "status", raw=args.json)
    print(json.dumps(told, indent=2) if args.json else told)


def _inventory(args: argparse.Namespace) -> None:
    print(json.dumps(daemon.ask(args.prefix, "inventory"), indent=2))


def _fault(args: argparse.Namespace) -> None:
    if args.name is not None:
        print(daemon.ask(args.prefix, "fault", name=args.name))
        return
    width = max(map(len, TROUBLES))
    for trouble in TROUBLES.values():
        print(f"{trouble.name:{width}}  {trouble.what}")


def _exec(args: argparse.Namespace) -> int:
    if not args.command:
        raise LabError("exec needs a command to run, for instance: exec node-a ip address")
    place = daemon.ask(args.prefix, "environment", machine=args.machine)
    argv = [*place["enter"], *args.command]
    sys.stdout.flush()
    os.execvpe(argv[0], argv, place["env"] or dict(os.environ))  # noqa: S606 - an argument list; nothing of this process stays


def _probe(args: argparse.Namespace) -> int:
    if not 0.1 <= args.seconds <= 3600:
        raise LabError(f"--seconds {args.seconds:g}: 0.1 to 3600")
    place = daemon.ask(args.prefix, "environment", machine=args.machine)
    address = (args.address or place["service"]).partition("/")[0]
    prober = Prober(Inside(args.machine, place["pid"]), address, seconds=args.seconds).start()
    try:
        prober.wait_until_over(args.seconds + 5)
    except KeyboardInterrupt:
        pass
    report = prober.stop()
    print("\n".join(report.lines()))
    return 0 if report.answers else 1


def _demo(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("lab.demo") is None:
        raise LabError("the demo is not part of this checkout")
    status: int = importlib.import_module("lab.demo").main(args.words, prefix=args.prefix)
    return status
