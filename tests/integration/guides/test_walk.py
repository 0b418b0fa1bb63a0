# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide for EC2 on two fresh nodes that boot, with its own inventory: each command that README and guides tell, as it stands there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.guides import GUIDES, ROOT, RUN, inventory_of
from lab import booted
from lab.router import API_ADDRESS
from lab.vpc import Lab
from lab.waiting import until

API = f"http://{API_ADDRESS}"
#: For the packages python3-netaddr and python3-boto3, which come from Debian's mirror.
_UNPACK = 'for wheel in {wheels}/*-none-any.whl; do python3 -m zipfile -e "$wheel" {site} || exit 1; done'
_SITE = "/usr/lib/python3/dist-packages"
_APP = "[Service]\nExecStart=/bin/sleep infinity\n"
#: The guides name commands of the nodes with what a reader fills in; in an order in which they can be run.
ON_THE_ACTIVE_NODE = {
    "holdfast status": "holdfast status",
    "holdfast status [TAG] [--json]": "holdfast status web --json",
    "holdfast check [TAG] [--json]": "holdfast check web --json",
    "holdfast recover TAG [--wait SECONDS]": "holdfast recover web --wait 120",
    "holdfast pause [TAG]": "holdfast pause web",
    "holdfast resume [TAG]": "holdfast resume web",
    "holdfast pause": "holdfast pause",
    "holdfast resume": "holdfast resume",
    "holdfast backup show TAG": "holdfast backup show web",
    "holdfast backup remove TAG INTERFACE": "holdfast backup remove web eth1",
    "lkipbu -a": "lkipbu -a -t web -f eth1",
    "lkipbu -s": "lkipbu -s -t web",
    "holdfast backup move TAG": "holdfast backup move web",
    "lkipbu -m": "lkipbu -m -t web",
    "holdfast switchover TAG --to NODE [--wait SECONDS]": "holdfast switchover web --to node-b --wait 120",
}
#: Out of service the two values are only exchanged, and may be set again.
ON_THE_STANDBY = {"holdfast backup add TAG INTERFACE": "holdfast backup remove web eth1 && holdfast backup add web eth1"}


class Reader:
    """Somebody at the controller with the guide's inventory, who types what it says."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.ran: list[str] = []
        keys = lab.control.admin_credentials
        self.environment = {
            **lab.client.environment,  # where the emulated EC2 is
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".tree"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def writes_the_inventory(self) -> None:
        """That of the guide; the lab's links, its keys and its API in place of the guide's, and a folder of packages in place of PyPI."""
        told = inventory_of(GUIDES / "ec2.rst")
        place, shared = self.lab.place, told["all"]["vars"]
        assert shared["holdfast_store"]["region"] == place.region
        for name in ("holdfast_store", "holdfast_aws"):
            shared[name]["endpoint_url"] = API
        (web,) = shared["holdfast_resources"]
        web |= {"address": place.vip, "interface": "eth0", "backup_interface": "eth1"}
        web["ec2"]["elastic_ip"] = place.elastic_ip
        for node in self.lab.nodes:
            told["all"]["hosts"][node.name]["ansible_host"] = node.place.interface("eth0").address
        login = self.lab.keys.inventory({})["all"]["vars"]
        shared |= {name: value for name, value in login.items() if name != "ansible_python_interpreter"}
        shared |= {"monitor_wheelhouse": booted.WHEELS, "ansible_pipelining": True}
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(told))

    def types(self, text: str) -> str:
        """A command at the controller; it has to succeed. What it prints."""
        self.ran.append(text)
        argv = self.lab.router.namespace.command(["env", f"--chdir={self.folder}", *shlex.split(text)])
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=500, check=False)
        print(f"$ {text}\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        assert done.returncode == 0, text
        assert "Traceback" not in done.stdout + done.stderr
        assert "Unable to parse" not in done.stdout + done.stderr
        return done.stdout

    def types_on(self, name: str, told: dict[str, str]) -> None:
        """Commands at a node, once all is well there."""
        node = next(node for node in self.lab.booted_nodes if node.name == name)
        for text, completed in told.items():
            if "resume" not in completed:
                self.waits_until_well()
            self.ran.append(text)
            done = node.run("sh", "-c", completed, check=False, timeout=200)
            print(f"{name}# {completed}\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
            assert done.returncode == 0, completed

    def waits_until_well(self) -> None:
        """In service on one node, and nothing under way there; the other ready to take over."""
        try:
            until(self._is_well, 120, "the resource does not come to rest", every=0.5)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {[self._status(node.name) for node in self.lab.nodes]}") from None

    def _is_well(self) -> bool:
        sights = [self._status(node.name) for node in self.lab.nodes]
        leading = [one for one in sights if one.get("serving")]
        standing = [one for one in sights if one and not one.get("serving")]
        return (
            [(one["health"], one["phase"]) for one in leading] == [("healthy", "watching")]
            and [one["ready"] for one in standing] == [True]
            and any(peer.get("ready") for peer in leading[0]["peers"])
        )

    def _status(self, name: str) -> dict[str, Any]:
        node = next(node for node in self.lab.booted_nodes if node.name == name)
        try:
            told: dict[str, Any] = json.loads(node.run("holdfast", "status", "--json", check=False).stdout)
        except ValueError:
            return {}
        peers = [peer["resources"].get("web", {}) for peer in told.get("peers", [])]
        return {**told["resources"][0], "peers": peers} if told.get("resources") else {}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    if booted.why_not():
        pytest.skip(booted.why_not())
    wheels = booted.wheels(ROOT / "roles/monitor/files/requirements.txt")
    with Lab(f"gu{os.getpid()}-", booted=True, binds={wheels: booted.WHEELS}) as lab:
        for node in lab.booted_nodes:
            node.run("sh", "-c", "cat > /etc/systemd/system/nginx.service", input=_APP)
        yield Reader(lab, tmp_path)


@pytest.mark.long
def test_the_guides_from_their_first_command_to_their_last(reader: Reader) -> None:
    playbook = "ansible-playbook -i inventory.yml holdfast.ha."
    node_a = reader.lab.booted_nodes[0]
    reader.writes_the_inventory()

    reader.types(
        'ansible-playbook holdfast.ha.prepare_aws -e \'{"holdfast_store": {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1"}}\''
    )
    policy = reader.types(f"{playbook}prepare_aws")
    assert "dynamodb:PutItem" in policy
    assert "changed=0" in policy, "the table was there, by the inventory's variables"

    # who comes from another program looks first; nothing is changed
    node_a.run("sh", "-c", _UNPACK.format(wheels=booted.WHEELS, site=_SITE))
    before = node_a.addresses()
    assert "No checker watches the lease here yet" in reader.types(f"{playbook}local_recovery --limit node-a --check --diff")
    assert node_a.addresses() == before
    node_a.run("sh", "-c", f"rm -r {_SITE}/netaddr {_SITE}/boto3 {_SITE}/botocore")  # from here on nodes have what the installation brings

    reader.types(f"{playbook}install")
    reader.types(f"{playbook}switchover -e tag=web -e to=node-a")
    reader.waits_until_well()
    assert "node-b" in reader.types(f"{playbook}status")
    lease = reader.types("ansible -i inventory.yml node-a -m holdfast.ha.lease_info -a 'cluster=web-prod tag=web store=\"{{ holdfast_store }}\"'")
    assert '"holder": "node-a"' in lease
    assert "changed=0" in reader.types(f"{playbook}local_recovery")
    reader.types(f"{playbook}local_recovery --limit node-a --diff")
    assert "eth1" in reader.types(f"{playbook}backup_interface -e tag=web -e operation=show --limit node-b")
    for which in ("", " -e tag=web"):
        for state in ("paused", "resumed"):
            reader.types(f"{playbook}maintenance -e state={state}{which}")
    page = Path("/tmp/report.html")  # as the guide says
    try:
        reader.types(f"{playbook}report -e report={page}")
        assert "web-prod: protected addresses" in page.read_text()
    finally:
        page.unlink(missing_ok=True)
    reader.types(f"{playbook}report -e report_on=node-a -e report=/var/lib/holdfast/report.html")
    assert "web-prod: protected addresses" in node_a.run("cat", "/var/lib/holdfast/report.html").stdout

    reader.types_on("node-a", ON_THE_ACTIVE_NODE)
    reader.types_on("node-a", ON_THE_STANDBY)
    reader.waits_until_well()
    reader.types(f"{playbook}switchover -e tag=web -e to=node-a")
    reader.waits_until_well()
    reader.types(f"{playbook}switchover -e tag=web -e to=node-b")
    reader.waits_until_well()

    reader.types(f"{playbook}uninstall")
    left = [place for node in reader.lab.booted_nodes for place in node.addresses() if place[1] == reader.lab.place.vip]
    assert len(left) == 1, "uninstall leaves the address where it is"
    assert set(reader.ran) == set(RUN["integration/guides/test_walk.py::test_the_guides_from_their_first_command_to_their_last"])
