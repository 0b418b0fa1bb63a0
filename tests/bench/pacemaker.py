# SPDX-License-Identifier: GPL-3.0-or-later
"""Pacemaker on Corosync, measured beside holdfast: two nodes in the same kind of namespaces, with the address as their one resource.

A node has processes, /run, /dev/shm and state of its own, so that nothing of it reaches the machine, which may well run the same programs.
Corosync's token is 1 s, the resource is looked at every second, and there is no fencing: as fast as it is without promising a single holder.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.contestants import HOST, PATIENCE, Contestant, new_lan
from lab.booted import Booted
from lab.lan import VIP, Lan
from lab.waiting import until

#: Debian's packages. They are not installed on the way, as keepalived is: where there is systemd, it would start a cluster here.
PACKAGES = ("pacemaker", "corosync", "resource-agents")
_NEEDED = (*map(shutil.which, ("pacemakerd", "corosync", "crm_mon")), "/usr/lib/ocf/resource.d/heartbeat/IPaddr2")
#: Seconds.
_TOKEN, _MONITOR = 1.0, 1.0

#: The first process of a node; SIGTERM stops it in good order. What is below /var outlasts it, as a disk does. A node that panics, as Pacemaker calls
#: it, asks the kernel to reset the machine: this one has to stay.
_NODE = """
exec >> /var/log/holdfast/node.log 2>&1
set -e
for tree in lib log; do
    for one in pacemaker corosync; do
        mkdir -p "/var/$tree/holdfast/$one" && mount --bind "/var/$tree/holdfast/$one" "/var/$tree/$one"
    done
done
chown hacluster:haclient /var/lib/pacemaker /var/log/pacemaker
if [ ! -e /var/lib/pacemaker/cib ]; then
    install -d -o hacluster -g haclient -m 0750 /var/lib/pacemaker/cib
    install -o hacluster -g haclient -m 0600 /etc/holdfast/cib.xml /var/lib/pacemaker/cib/cib.xml
fi
for one in /proc/sysrq-trigger /proc/sys/kernel/sysrq; do
    if [ -e "$one" ]; then mount --bind /dev/null "$one"; fi
done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock /run/resource-agents
set +e
corosync -f -c /etc/holdfast/corosync.conf & corosync=$!
until corosync-cfgtool -s > /dev/null 2>&1; do
    kill -0 "$corosync" || exit 1
    sleep 0.05
done
PCMK_logfacility=none pacemakerd & pacemaker=$!
trap 'kill -TERM "$pacemaker"' TERM
wait "$pacemaker"
wait "$pacemaker"  # the signal ends the first one
kill -TERM "$corosync" && wait "$corosync"
"""


def why_not() -> str:
    """Why it cannot be measured here, in a line; empty where it can."""
    there = all(path is not None and os.path.exists(path) for path in _NEEDED)
    return "" if there else f"not installed: {', '.join(PACKAGES)}"


def pacemakers(stack: ExitStack) -> list[Contestant]:
    """The rival; nobody where it is not installed. Measure it by itself: its looks start a shell each second, which others' figures would show."""
    return [] if why_not() else [stack.enter_context(Pacemaker(new_lan(stack, "p")))]


class Pacemaker(Contestant):
    """The address stays where it is when a node comes back, so the nodes take turns."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.name = f"pacemaker, token {_TOKEN:g} s, monitor {_MONITOR:g} s"
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._inside: dict[str, Booted] = {}
        addresses = {node.name: node.place.interfaces[0].address for node in lan.nodes}
        for node in lan.nodes:
            for name, text in (("corosync.conf", _corosync(addresses)), ("cib.xml", _cib())):
                node.run("install", "-m", "0600", "/dev/stdin", f"/etc/holdfast/{name}", input=text)

    def __enter__(self) -> Pacemaker:
        for node in self.lan.nodes:
            self.launch(node.name)
        return self

    def __exit__(self, *_about: object) -> None:
        for name in list(self._running):
            self._end(name)

    def settle(self) -> None:
        self._until(self._both_online, "the nodes do not come together")
        self._inside["node-a"].run("crm_resource", "--wait", f"--timeout={PATIENCE:g}s", timeout=2 * PATIENCE)
        self._until(lambda: len(self.places()) == 1, "no node, or more than one, has the address")
        time.sleep(random.uniform(1, 1 + _MONITOR))  # its looks have to be hit at no moment in particular

    def kill(self, name: str) -> None:
        self.lan.cut(name)  # first: nothing may tell the other that these processes have ended
        self._end(name)

    def leave(self, name: str) -> None:
        os.kill(self._inside[name].pid, signal.SIGTERM)
        self._running.pop(name).wait(timeout=PATIENCE)

    def _both_online(self) -> bool:
        told = self._inside["node-a"].run("crm_mon", "--one-shot", "--output-as=xml", check=False).stdout
        nodes = re.findall(r'<node name="[^"]+" [^>]*online="(\w+)" [^>]*pending="(\w+)"', told)
        return nodes == [("true", "false")] * len(self.lan.nodes)

    def launch(self, name: str) -> None:
        words = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _NODE)
        process = self._running[name] = self.lan.machines[name].namespace.spawn(*words, stdout=subprocess.DEVNULL)
        first = until(lambda: _children(process.pid), 10, f"{self.name}: {name} does not start")
        self._inside[name] = Booted(name, first[0])

    def _end(self, name: str) -> None:
        """All that runs on that node."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        until(lambda: not _runs(self._inside[name].pid), 10, f"{self.name}: processes of {name} are left")

    def _until(self, question: Callable[[], bool], otherwise: str) -> None:
        """With what the nodes wrote at last, which goes with their namespaces."""
        try:
            until(question, PATIENCE, f"{self.name}: {otherwise}", every=0.2)
        except TimeoutError as error:
            logs = "/var/log/holdfast/node.log /var/log/holdfast/corosync/corosync.log /var/log/holdfast/pacemaker/pacemaker.log"
            last = [f"{node.name}: {node.run('sh', '-c', f'tail -n 2 {logs}', check=False).stdout}" for node in self.lan.nodes]
            raise TimeoutError("\n".join((str(error), *last))) from None


def _runs(pid: int) -> bool:
    """Of the first process of a node, which ends after all others of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _corosync(addresses: dict[str, str]) -> str:
    nodes = "".join(
        f" node {{\n  name: {name}\n  nodeid: {number}\n  ring0_addr: {address}\n }}\n" for number, (name, address) in enumerate(addresses.items(), 1)
    )
    return (
        f"totem {{\n version: 2\n cluster_name: bench\n transport: knet\n token: {_TOKEN * 1000:.0f}\n}}\n"
        "quorum {\n provider: corosync_votequorum\n two_node: 1\n}\n"
        f"nodelist {{\n{nodes}}}\n"
        "logging {\n to_stderr: no\n to_syslog: no\n to_logfile: yes\n logfile: /var/log/corosync/corosync.log\n}\n"
        "system {\n move_to_root_cgroup: no\n}\n"
    )


def _cib() -> str:
    """The configuration that both nodes start with. ``dc-deadtime``: how long they wait for each other before they elect, at their first start."""
    options = _pairs("cluster", {"stonith-enabled": "false", "no-quorum-policy": "ignore", "dc-deadtime": "2s"})
    address = _pairs("address", {"ip": HOST, "cidr_netmask": VIP.partition("/")[2], "nic": "eth0"})
    return (
        '<cib validate-with="pacemaker-3.0" admin_epoch="0" epoch="1" num_updates="0"><configuration>'
        f'<crm_config><cluster_property_set id="cluster">{options}</cluster_property_set></crm_config><nodes/>'
        '<resources><primitive id="web" class="ocf" provider="heartbeat" type="IPaddr2">'
        f'<instance_attributes id="address">{address}</instance_attributes>'
        f'<operations><op id="look" name="monitor" interval="{_MONITOR:g}s" timeout="20s"/></operations></primitive></resources><constraints/>'
        f'<rsc_defaults><meta_attributes id="defaults">{_pairs("defaults", {"resource-stickiness": "100"})}</meta_attributes></rsc_defaults>'
        "</configuration><status/></cib>"
    )


def _pairs(owner: str, values: dict[str, str]) -> str:
    return "".join(f'<nvpair id="{owner}-{name}" name="{name}" value="{value}"/>' for name, value in values.items())
