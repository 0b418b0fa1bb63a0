# SPDX-License-Identifier: GPL-3.0-or-later
"""An EC2 module run as a process and the action plugin of its name in Ansible's worker give the same answer and make the same calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.module import TREE

from .conftest import VIP, World

#: Ansible leaves the module to itself where the task has an environment.
BY_MODULE, IN_WORKER = {"HOLDFAST_TEST": "1"}, {}
CALLBACK = Path(__file__).resolve().parents[2] / "lab/callback"


class Doors:
    """Runs tasks by either door in one ansible-playbook each, and tells each task's result."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder

    def run(
        self, tasks: list[dict[str, Any]], environment: dict[str, str], *words: str, more: dict[str, str] | None = None, **play: Any
    ) -> list[dict[str, Any]]:
        book = self.folder / "play.json"
        # a task that fails is an answer too
        named = [{"name": str(number), "ignore_errors": True, "environment": environment, **task} for number, task in enumerate(tasks)]
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": named, **play}]))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", *words, str(book)]
        self.world.plane.calls.reset()
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={
                **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
                **self.world.env,
                "ANSIBLE_COLLECTIONS_PATH": str(TREE),
                "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACK),
                "ANSIBLE_STDOUT_CALLBACK": "lab_report",
                "ANSIBLE_CONFIG": str(CALLBACK / "ansible.cfg"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                **(more or {}),
            },
        )
        reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"host"')]
        assert len(reports) == len(tasks), done.stdout + done.stderr
        return [{"outcome": one["outcome"], **plain(one["result"])} for one in reports]


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """The answer without Ansible's own notes."""
    return {name: value for name, value in result.items() if not name.startswith("_ansible") and name not in ("exception", "deprecations")}


@pytest.fixture
def doors(world: World, tmp_path: Path) -> Doors:
    return Doors(world, tmp_path)


def tasks(world: World, elastic_ip: str) -> list[dict[str, Any]]:
    """All the modules: work, work that is done, what cannot be meant, and what EC2 refuses."""
    eni = {"network_interface_id": world.ours}
    return [
        {"holdfast.ha.ec2_source_dest_check": eni},
        {"holdfast.ha.ec2_source_dest_check": {**eni, "enabled": "no"}},
        {"holdfast.ha.ec2_source_dest_check": {}},
        {"holdfast.ha.ec2_route_target": {"destinations": [VIP], "missing": "perhaps", **eni}},
        {"holdfast.ha.ec2_source_dest_check": {**eni, "interface": "eth0"}},
        {"holdfast.ha.ec2_source_dest_check": {**eni, "nonsense": 1}},
        {"holdfast.ha.ec2_source_dest_check": {"network_interface_id": "eni-0123456789abcdef0"}},
        {"holdfast.ha.ec2_route_target": {"destinations": VIP, **eni}},
        {"holdfast.ha.ec2_route_target": {"destinations": [VIP], **eni}},
        {"holdfast.ha.ec2_route_target": {"destinations": ["10.9.9.9/32"], "missing": "ignore", **eni}},
        {"holdfast.ha.ec2_route_target": {"destinations": ["10.9.9.9/32"], **eni}},
        {"holdfast.ha.ec2_route_target": {**eni}},
        {"holdfast.ha.ec2_eip_association": {"public_ip": elastic_ip, **eni}},
        {"holdfast.ha.ec2_eip_association": {"public_ip": elastic_ip, **eni}},
        {"holdfast.ha.ec2_eip_association": {"public_ip": elastic_ip, "state": "absent", **eni}},
        {"holdfast.ha.ec2_eip_association": eni},
        {"holdfast.ha.ec2_resource": {"destinations": [VIP], "public_ip": elastic_ip, "network_interface_id": world.theirs}},
        {"holdfast.ha.ec2_resource": {"destinations": [VIP], "public_ip": elastic_ip, "network_interface_id": world.theirs}},
        {"holdfast.ha.ec2_resource": {"destinations": ["10.9.9.9/32"], "public_ip": elastic_ip, **eni}},
        {"holdfast.ha.ec2_resource": eni},
        {"holdfast.ha.ec2_route_target": {"destinations": [VIP], "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "hush-hush-hush", **eni}},
    ]


def prepare(world: World) -> str:
    """Everything leads elsewhere."""
    for table in world.add_tables(2, {VIP: world.theirs}) if not world.tables else world.tables:
        world.ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=world.theirs)
    for eni in (world.ours, world.theirs):
        world.ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck={"Value": True})
    known = world.ec2.describe_addresses()["Addresses"]
    if known and "AssociationId" in known[0]:
        world.ec2.disassociate_address(AssociationId=known[0]["AssociationId"])
    return str(known[0]["PublicIp"] if known else world.ec2.allocate_address(Domain="vpc")["PublicIp"])


def test_both_doors_give_the_same_answers_and_make_the_same_calls(doors: Doors, world: World) -> None:
    seen: list[tuple[list[dict[str, Any]], list[str], dict[str, Any]]] = []
    for environment in (BY_MODULE, IN_WORKER):
        elastic_ip = prepare(world)
        answers = doors.run(tasks(world, elastic_ip), environment, "--diff")
        calls = [call.action for call in world.plane.calls.all()]
        seen.append((answers, calls, world.everything()))
    by_module, in_worker = seen
    for task, one, other in zip(tasks(world, elastic_ip), by_module[0], in_worker[0], strict=True):
        assert without_ids(one) == without_ids(other), task
    did, fine, not_done = "changed", "ok", "failed"
    expected = [did, fine, fine, *[not_done] * 4, did, fine, fine, not_done, not_done, did, fine, did, not_done, did, fine, *[not_done] * 3]
    assert [one["outcome"] for one in in_worker[0]] == expected
    assert in_worker[0][0]["diff"]["before"] != in_worker[0][0]["diff"]["after"]
    assert in_worker[0][9]["warnings"] == by_module[0][9]["warnings"] != []
    assert sorted(in_worker[1]) == sorted(by_module[1])
    assert in_worker[2] == by_module[2]
    assert "hush-hush-hush" not in json.dumps(in_worker[0])


def without_ids(answer: dict[str, Any]) -> Any:
    """Associations get a new id each time."""
    return json.loads(json.dumps(answer), object_hook=lambda part: {name: bool(v) if name == "association_id" else v for name, v in part.items()})


def test_check_mode_writes_nothing_by_either_door(doors: Doors, world: World) -> None:
    elastic_ip = prepare(world)
    before = world.everything()
    foreseen = [doors.run(tasks(world, elastic_ip), environment, "--check", "--diff") for environment in (BY_MODULE, IN_WORKER)]
    assert foreseen[0] == foreseen[1]
    assert world.everything() == before
    assert world.writes() == []
    assert foreseen[1][0]["changed"] is True


def test_defaults_of_the_action_group_reach_both_doors(doors: Doors, world: World) -> None:
    prepare(world)
    defaults = [{"group/holdfast.ha.aws": {"region": "xx-nowhere-1", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "hush-hush-hush"}}]
    task = {"holdfast.ha.ec2_source_dest_check": {"network_interface_id": world.ours}}
    answers = [doors.run([task], environment, module_defaults=defaults)[0] for environment in (BY_MODULE, IN_WORKER)]
    assert answers[0] == answers[1]
    assert answers[1]["outcome"] == "failed"
    assert "AWS does not accept these credentials" in answers[1]["msg"], "those of the environment were used"


def test_what_asks_for_a_process_gets_one(doors: Doors, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's own process leaves its program behind, where Ansible is told to keep it."""
    python = doors.folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    left = doors.folder / "left"
    task = {"holdfast.ha.ec2_source_dest_check": {"network_interface_id": world.ours}}
    tasks = [
        {**task, "async": 60, "poll": 1},
        {**task, "vars": {"ansible_python_interpreter": str(python)}},
        {**task, "environment": BY_MODULE},
        task,
        {**task, "become": True},
    ]
    kept = {"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TEMP": str(left)}
    for number, one in enumerate(tasks):
        before = len(list(left.glob("*/AnsiballZ_ec2_*")))
        (answer,) = doors.run([one], IN_WORKER, more=kept)
        assert answer["outcome"] in ("ok", "changed"), answer
        assert len(list(left.glob("*/AnsiballZ_ec2_*"))) - before == (1 if number < 3 else 0), one
