# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lkipbu in the VPC: an address in service moves, and all that belongs to it on EC2 follows (scenarios.md C10 and D)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness.module import TREE
from lab.checker import Checker, write
from lab.faults import active
from lab.node import Node
from lab.waiting import until

_CLI = "ansible_collections.holdfast.ha.plugins.module_utils._cli.main"


def command(node: Node, *words: str) -> tuple[int, str, str]:
    """One of the commands, on a node."""
    environment = {**node.environment, "PYTHONPATH": str(TREE), "COLUMNS": "200"}
    done = node.namespace.run(sys.executable, "-m", _CLI, *words, check=False, timeout=300, env=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def with_triggers(cluster: Cluster, node: Node) -> Checker:
    """The node's checker, which goes on with its lease and has the playbooks run."""
    variables = {"holdfast_cluster": CLUSTER, "holdfast_store": STORE, "holdfast_node": node.name, "holdfast_resources": [cluster.resource]}
    write(node, "/etc/holdfast/variables.json", variables)
    program = Path(sys.executable).with_name("ansible-playbook")
    script = f'#!/bin/sh\nANSIBLE_COLLECTIONS_PATH={TREE} ANSIBLE_LOCALHOST_WARNING=0 exec {program} "$@"\n'
    node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/playbook", input=script)
    cluster.checkers[node.name].kill()
    trigger = {"type": "playbook", "command": "/etc/holdfast/playbook", "variables": "/etc/holdfast/variables.json", "timeout": 120, "armed": False}
    checker = Checker(node, {"cluster": CLUSTER, "store": STORE, "timing": cluster.timing, "triggers": [trigger]}, [cluster.resource])
    cluster.checkers[node.name] = checker
    return checker.start()


def test_a_move_takes_everything_along(cluster: Cluster, tmp_path: Path) -> None:
    node, place = cluster.lab.node_a, cluster.lab.place
    cluster.switch("node-a", tmp_path)
    cluster.all_on("node-a")
    checker = with_triggers(cluster, node)
    until(lambda: checker.seen("resumed"), 20, "it did not go on with its lease")

    assert command(node, "lkipbu", "-m", "-t", TAG) == (0, "", "")

    assert active(cluster.lab) == (node, "eth1")
    backup = node.place.interface("eth1").id
    owners = {route.target for subnet in cluster.lab.view.subnets for route in subnet.routes if route.destination == place.vip}
    assert owners == {backup}
    assert [eip.network_interface_id for eip in cluster.lab.view.elastic_ips if eip.public_ip == place.elastic_ip] == [backup]
    cluster.all_on("node-a")
    shown = command(node, "lkipbu", "-s", "-t", TAG)[1].splitlines()
    assert shown[2:] == ["Primary interface: eth1 (up)", "Backup interface: eth0"]
    until(lambda: command(node, "check", TAG)[0] == 0, 60, "it is not healthy")
    (one,) = json.loads(command(node, "status", "--json")[1])["resources"]
    total = one["ec2"]["routes_total"]
    assert (total > 1, one["ec2"]["routes_right"], one["ec2"]["elastic_ip_right"], one["ec2"]["source_dest_check"]) == (True, total, True, False)
    row = next(line for line in command(node, "status")[1].splitlines() if line.startswith(f"{TAG} "))
    for cell in ("HEALTHY", "node-a (here)", "eth1 (up)", f"{total}/{total}", f"{place.elastic_ip} (here)", "worked"):
        assert cell in row, row
