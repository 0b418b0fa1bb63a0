# SPDX-License-Identifier: GPL-3.0-or-later
"""At which address of a node the role has its peers look for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.netns import Namespace

ROOT = Path(__file__).resolve().parents[3]
VIP, VIP6 = "10.9.0.100/24", "2001:db8:9::100/64"
RESOURCES = [{"tag": "web", "address": VIP, "interface": "eth0"}, {"tag": "web6", "address": VIP6.upper(), "interface": "eth0"}]


@pytest.fixture
def node() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    with Namespace(f"hfpa{os.getpid()}") as machine:
        machine.batch(["link add eth0 type veth peer name far", "link set lo up", "link set far up", "link set eth0 up"])
        yield machine


def looked_up(node: Namespace, folder: Path, **given: Any) -> str:
    """What a run of the role on this node has the peers told; `-` for an address that has to be given."""
    tasks = yaml.safe_load((ROOT / "roles/monitor/tasks/look.yml").read_text(encoding="utf-8"))
    needed = [task for task in tasks if "ansible.builtin.setup" in task or "monitor_found_address" in task.get("ansible.builtin.set_fact", ())]
    needed[1:1] = [task for task in tasks if task.get("register") == "monitor_ip"]
    assert len(needed) == 3
    told = {"ansible.builtin.copy": {"content": "{{ monitor_addresses | to_json }}", "dest": f"{folder}/told", "mode": "0600"}}
    play = {"hosts": "all", "gather_facts": False, "vars_files": [str(ROOT / "roles/monitor/vars/main.yml")], "tasks": [*needed, told]}
    values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "holdfast_resources": RESOURCES, "monitor_is_on": False}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"node-a": {**values, **given}}}}))
    (folder / "play.yml").write_text(json.dumps([play]))
    program = Path(sys.executable).with_name("ansible-playbook")
    inside = ["nsenter", f"--net=/proc/{node.pid}/ns/net", "--"]  # its network, and the files of this machine
    argv = [*inside, str(program), "-i", "hosts.json", "-e", '{"monitor_reply": {}}', "play.yml"]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (address,) = json.loads((folder / "told").read_text())
    return str(address)


def test_the_protected_address_is_the_first_of_the_link(node: Namespace, tmp_path: Path) -> None:
    node.batch([f"addr add {VIP} dev eth0", "addr add 10.9.0.11/24 dev eth0", "route add default via 10.9.0.1 dev eth0"])
    assert looked_up(node, tmp_path) == "10.9.0.11"


def test_the_same_with_ipv6(node: Namespace, tmp_path: Path) -> None:
    node.batch(["addr add 2001:db8:9::11/64 dev eth0 nodad", f"addr add {VIP6} dev eth0 nodad"])
    node.ip("-6 route add default via 2001:db8:9::1 dev eth0 src 2001:db8:9::100")
    assert looked_up(node, tmp_path) == "2001:db8:9::11"


def test_a_node_that_has_no_address_but_the_protected_one(node: Namespace, tmp_path: Path) -> None:
    node.batch([f"addr add {VIP} dev eth0", "route add default via 10.9.0.1 dev eth0"])
    assert looked_up(node, tmp_path) == "-"
    assert looked_up(node, tmp_path, ansible_host="10.9.0.100") == "-"
    assert looked_up(node, tmp_path, ansible_host="10.9.0.11") == "10.9.0.11"


@pytest.mark.parametrize("given", [{"monitor_peer_address": "10.9.0.100"}, {"monitor_peer_address": "2001:db8:9::100"}])
def test_a_protected_address_is_not_taken_where_it_is_given(node: Namespace, tmp_path: Path, given: dict[str, str]) -> None:
    node.batch(["addr add 10.9.0.11/24 dev eth0", "route add default via 10.9.0.1 dev eth0"])
    assert looked_up(node, tmp_path, **given) == "-"
    assert looked_up(node, tmp_path, monitor_peer_address="10.9.0.111") == "10.9.0.111"


def test_what_an_earlier_run_told_is_not_taken_either(node: Namespace, tmp_path: Path) -> None:
    node.batch(["addr add 10.9.0.11/24 dev eth0"])
    assert looked_up(node, tmp_path, monitor_old_addresses={"node-a": "10.9.0.100"}) == "-"
    assert looked_up(node, tmp_path, monitor_old_addresses={"node-a": "10.9.0.12"}) == "10.9.0.12"
