# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is measured, each with two nodes on a switch of its own: holdfast's checkers, and keepalived in the same kind of namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import LabEtcd
from harness.pair import CLUSTER, TAG, Pair
from lab.checker import write
from lab.handover import hand_over
from lab.lan import VIP, Lan
from lab.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
HOST = VIP.partition("/")[0]
_VARIABLES = "/etc/holdfast/variables.json"
#: So many addresses at most are in a packet of VRRP; keepalived is told of the others as excluded from it.
_ADVERTISED = 20
#: Each round is a fault of its own: what is repaired once may be repaired again a second later.
_CHECKS = {"grace": 0, "window": 1, "max_recoveries": 1000, "backoff": 0.1, "hold_down": 0}


class Contestant(ABC):
    """A pair of nodes that keeps the address in service."""

    name: str
    lan: Lan

    def places(self) -> list[tuple[str, str]]:
        """The nodes and links that have the address: one, where all is well."""
        return [(node.name, link) for node in self.lan.nodes for link, held in node.addresses() if held == VIP]

    def story(self) -> list[str]:
        """What its programs have told of late, where they tell anything."""
        return []

    @abstractmethod
    def settle(self) -> None:
        """Returns once all is well, the other node stands by, and nothing is under way."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """That machine is gone at once."""

    def revive(self, name: str) -> None:
        """That machine is there again."""
        node = self.lan.machines[name]
        node.drop(VIP)  # before the cable: a machine that boots has it no more
        self.lan.mend(name)
        node.configure()
        self.launch(name)

    def launch(self, name: str) -> None:
        """Start its program on that machine."""
        raise NotImplementedError

    @abstractmethod
    def leave(self, name: str) -> None:
        """That node gives the service up in good order."""


class Holdfast(Contestant, Pair):
    """``runs``: how ``recover`` is started: ``cold``, ``armed``, or not at all, where there is no trigger."""

    def __init__(self, lan: Lan, profile: str, *, reflex: bool = True, runs: str = "", etcd: LabEtcd | None = None) -> None:
        more: dict[str, Any] = {"reflex": reflex, "checks": _CHECKS, **({"store": etcd.settings} if etcd else {})}
        if runs:
            command = str(Path(sys.executable).with_name("ansible-playbook"))
            more["triggers"] = [{"type": "playbook", "command": command, "variables": _VARIABLES, "armed": runs == "armed"}]
        Pair.__init__(self, lan, profile, etcd.store if etcd else None, **more)
        self.resource["backup_interface"] = "eth1"
        self.resource["probe"] = {"targets": [lan.machines["client-c"].place.interfaces[0].address]}  # nobody here answers a broadcast ping
        self._runs, self.has_reflex, self.profile = runs, reflex, profile
        self.name = f"holdfast {profile}, reflex {'on' if reflex else 'off'}, {runs or 'no playbook'}"
        for node in lan.nodes:
            node.environment.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".tree"), ANSIBLE_LOCALHOST_WARNING="0")
            shared = {"holdfast_cluster": CLUSTER, "holdfast_store": self.settings["store"], "holdfast_resources": [self.resource]}
            write(node, _VARIABLES, {**shared, "holdfast_node": node.name})

    def __enter__(self) -> Holdfast:
        Pair.start(self)
        return self

    def settle(self) -> None:
        until(lambda: sorted(map(self._at_rest, self.checkers)) == ["active", "standby"], PATIENCE, f"{self.name} does not come to rest")
        time.sleep(_CHECKS["window"])  # the reflex of this fault is forgotten

    def _at_rest(self, name: str) -> str:
        told = self.checkers[name].ask("status")
        one = told["resources"][0]
        if self._runs == "armed" and not (told["armed"] or {}).get("waiting"):
            return ""
        if one["serving"] and (one["in_service"] or not self._runs) and (one["health"], one["phase"]) == ("healthy", "watching"):
            return "active"
        return "standby" if one["ready"] and all(peer["alive"] for peer in one["peers"]) else ""

    def story(self) -> list[str]:
        told = [event for checker in self.checkers.values() for event in checker.events[-20:]]
        return [json.dumps(event) for event in sorted(told, key=lambda event: str(event["time"]))]

    def kill(self, name: str) -> None:
        Pair.kill(self, name)

    def revive(self, name: str) -> None:
        Pair.revive(self, name)

    def leave(self, name: str) -> None:
        other = next(one for one in self.checkers if one != name)
        hand_over(self.checkers[name], self.checkers[other], TAG)


def keepalived_there() -> bool:
    """Whether the rival is here; installed from Debian where it can be, which is told."""
    if shutil.which("keepalived") is None and shutil.which("apt-get") is not None:
        print("installing Debian's keepalived, to measure it beside holdfast", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-qq", "-y", "keepalived"], env=environment, capture_output=True, check=False)
    return shutil.which("keepalived") is not None


def keepaliveds(stack: ExitStack) -> list[Contestant]:
    """The rival as it is best and as it is usual, with both adverts; nobody where it is not installed."""
    if not keepalived_there():
        return []
    kinds = [(advert, priorities) for advert in (1.0, 0.1) for priorities in ((254, 253), (150, 100))]
    return [stack.enter_context(Keepalived(new_lan(stack, f"k{number}"), *kind)) for number, kind in enumerate(kinds)]


def new_lan(stack: ExitStack, name: str) -> Lan:
    """Two nodes with two links each on a switch of their own; a link answers for its own addresses alone, or clients might use the wrong one."""
    lan = stack.enter_context(Lan(f"b{name}{os.getpid()}-", links=2))
    for node in lan.nodes:
        node.namespace.sysctl({"net.ipv4.conf.all.arp_ignore": 1})
    return lan


class Keepalived(Contestant):
    """VRRP version 3. The backup takes over (256 - its priority) / 256 of ``advert`` later than it could: 254 is the best that it can do."""

    def __init__(self, lan: Lan, advert: float, priorities: tuple[int, int], addresses: Sequence[str] = (VIP,)) -> None:
        self.lan = lan
        blocks = {"virtual_ipaddress": addresses[:_ADVERTISED], "virtual_ipaddress_excluded": addresses[_ADVERTISED:]}
        listed = "".join(f" {name} {{\n{''.join(f'  {one} dev eth0{chr(10)}' for one in these)} }}\n" for name, these in blocks.items() if these)
        self.name = f"keepalived {advert:g} s, priority {priorities[0]}/{priorities[1]}"
        self._advert = advert
        self._running: dict[str, subprocess.Popen[str]] = {}
        for node, priority in zip(lan.nodes, priorities):
            text = (  # without a router_id it asks a name server for its host name, and here is none
                "global_defs {\n vrrp_version 3\n router_id web\n}\nvrrp_instance web {\n state BACKUP\n interface eth0\n virtual_router_id 51\n"
                f" priority {priority}\n advert_int {advert:g}\n{listed}}}\n"
            )
            node.run("install", "-m", "0600", "/dev/stdin", "/etc/holdfast/keepalived.conf", input=text)

    def __enter__(self) -> Keepalived:
        for node in self.lan.nodes:
            self.launch(node.name)
        return self

    def __exit__(self, *_about: object) -> None:
        for name in list(self._running):
            self._end(name, signal.SIGKILL)

    def settle(self) -> None:
        until(lambda: self.places() == [("node-a", "eth0")], PATIENCE, f"{self.name}: node-a does not come to have the address")
        time.sleep(3 * self._advert + 0.3)  # it has announced itself, and the other has heard of it

    def pids(self, name: str = "node-a") -> list[int]:
        """Its processes on a node."""
        return [self._running[name].pid, *below(self._running[name].pid)]

    def kill(self, name: str) -> None:
        self._end(name, signal.SIGKILL)
        self.lan.cut(name)

    def leave(self, name: str) -> None:
        self._end(name, signal.SIGTERM)

    def launch(self, name: str) -> None:
        words = "--dont-fork --vrrp --log-console --use-file=/etc/holdfast/keepalived.conf"
        pids = "--pid=/run/holdfast/keepalived.pid --vrrp_pid=/run/holdfast/vrrp.pid"
        program = f"exec keepalived {words} {pids} > /var/log/holdfast/keepalived.log 2>&1"
        self._running[name] = self.lan.machines[name].namespace.spawn("sh", "-c", program, stdout=subprocess.DEVNULL)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._running.pop(name)
        # the child first: it would give the addresses up in good order once its parent is gone
        for pid in (*below(process.pid), process.pid) if number == signal.SIGKILL else (process.pid,):
            os.kill(pid, number)
        process.wait(timeout=30)
