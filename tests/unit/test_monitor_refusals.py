# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitor refuses to install, in one line and before anything is written on the node.

Each case is a host of one run of the role on this machine, with a folder of its own in place of /opt/holdfast.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".tree" if (ROOT / ".tree").exists() else ROOT.parents[2]
LIBRARIES = next(path for path in sys.path if path.endswith("site-packages"))
WEB = {"tag": "web", "address": "192.0.2.100/24", "interface": "eth0"}
DYNAMODB = {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1"}
OF_ROOT, HOMES = "/root", "/home"
#: A run that refuses nothing fails here: after the first folder was made, and before anything is written to /etc.
TAKEN = "no collection"


@dataclass(frozen=True)
class Python:
    """A Python of the node, with the system's one behind it.

    :param version: What it says of itself.
    :param libraries: Whether it has those of the checker.
    :param without: A library that it lacks.
    :param program: Whether ansible-playbook is beside it.
    :param more: What else is done at its start.
    :param core: The release of its ansible-core.
    """

    version: str = ""
    libraries: bool = False
    without: str = ""
    program: bool = False
    more: str = ""
    core: str = ""

    def make(self, folder: Path) -> Path:
        """Its path."""
        path, site = folder / "bin/python3", folder / "site"
        path.parent.mkdir(parents=True)
        site.mkdir()
        lines = ["import sys", self.more]
        if self.version:
            info = tuple(map(int, self.version.split(".")))
            lines += [f"sys.version = {self.version!r} + ' (main)'", f"sys.version_info = {(*info, 'final', 0)!r}"]
        if self.without:
            lines += [f"sys.modules[{self.without!r}] = None"]
        if self.core:
            (site / "ansible").mkdir()
            (site / "ansible/__init__.py").touch()
            (site / "ansible/release.py").write_text(f"__version__ = {self.core!r}\n")
        (site / "sitecustomize.py").write_text("\n".join(lines) + "\n")
        more = f":{LIBRARIES}" if self.libraries else ""
        path.write_text(f'#!/bin/sh\nPYTHONPATH={site}{more} exec /usr/bin/python3 "$@"\n')
        path.chmod(0o755)
        if self.program:
            (path.parent / "ansible-playbook").symlink_to("/bin/true")
        return path


@dataclass(frozen=True)
class Case:
    """A node with this Python, or without, and with these variables. ``told``: what the refusal has to say, or `TAKEN`."""

    told: tuple[str, ...]
    python: Python | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


def alone(name: str, *told: str, given: Mapping[str, Any] | None = None, **python: Any) -> dict[str, Case]:
    """A case without a virtual environment."""
    return {f"without an environment: {name}": Case(told, Python(libraries=True, **python), {"monitor_venv": False, **(given or {})})}


LACKS = ("monitor_venv is false", "Install that for this Python, or set monitor_venv to true.")
CASES = {
    **{
        f"Python {version}, monitor_packages {packages}, monitor_venv {venv}": Case(
            ("the checker requires Python 3.11 or newer", f"bin/python3 is Python {version}. Set monitor_python"),
            Python(version),
            {"monitor_venv": venv, "monitor_packages": packages},
        )
        for version, packages, venv in (("3.6.8", True, True), ("3.9.2", False, True), ("3.9.2", True, False), ("3.10.12", False, False))
    },
    **{
        f"no Python, monitor_venv {venv}": Case(("/gone/python3 cannot be run", "or set monitor_python"), given={"monitor_venv": venv})
        for venv in (True, False)
    },
    "no ensurepip": Case(("has no ensurepip", "set monitor_packages to true"), Python(without="ensurepip")),
    "Python in a home": Case(
        (f"the checker cannot see {HOMES}/admin/py", "set monitor_python"), Python(more=f"sys.base_prefix = '{HOMES}/admin/py'")
    ),
    "all is right": Case((TAKEN,), Python()),
    **alone("no ansible-core", *LACKS, "has no ansible-core.", without="ansible"),
    **alone("packages bring no ansible-core", *LACKS, "has no ansible-core.", without="ansible", given={"monitor_packages": True}),
    **alone("no ansible-playbook", *LACKS, "/bin/ansible-playbook."),
    **{
        f"without an environment: ansible-core {core}": Case(
            (f"is {core}, which the playbooks refuse. Install 2.17.7 or newer",),
            Python(libraries=True, program=True, core=core),
            {"monitor_venv": False},
        )
        for core in ("2.9.27", "2.14.18", "2.17.6", "2.18.0")
    },
    **{
        f"without an environment: ansible-core {core} is new enough": Case(
            (TAKEN,), Python(libraries=True, program=True, core=core), {"monitor_venv": False}
        )
        for core in ("2.17.7", "2.17.10", "2.18.1", "2.18.10", "3.0.0")
    },
    **alone("no netaddr", *LACKS, "has no netaddr.", program=True, without="netaddr"),
    **alone("no boto3 for DynamoDB", *LACKS, "has no boto3.", program=True, without="boto3", given={"holdfast_store": DYNAMODB}),
    **alone(
        "no boto3 for EC2",
        *LACKS,
        "has no boto3.",
        program=True,
        without="boto3",
        given={"holdfast_resources": [{**WEB, "ec2": {"route_tables": "all"}}]},
    ),
    **alone("no boto3, and no need of it", TAKEN, program=True, without="boto3"),
    **alone(
        "no prometheus-client",
        *LACKS,
        "has no prometheus_client.",
        program=True,
        without="prometheus_client",
        given={"monitor_metrics_listen": "127.0.0.1:9447"},
    ),
    **alone("no prometheus-client, and no need of it", TAKEN, program=True, without="prometheus_client"),
    **alone("all is right", TAKEN, program=True),
    **{
        str(given): Case(("the checker cannot see", "Put it below /etc", "AWS_SHARED_CREDENTIALS_FILE in monitor_environment"), Python(), given)
        for given in (
            {"monitor_environment": {"AWS_SHARED_CREDENTIALS_FILE": f"{OF_ROOT}/.aws/credentials"}},
            {"monitor_environment": {"AWS_CONFIG_FILE": "~/.aws/config"}},
            {"holdfast_store": {"type": "etcd", "endpoints": ["https://192.0.2.21:2379"], "ca_cert": f"{HOMES}/etcd/ca.pem"}},
            {"holdfast_aws": {"region": "eu-central-1", "aws_ca_bundle": f"{OF_ROOT}/ca.pem"}},
            {"holdfast_resources": [{**WEB, "ec2": {"route_tables": "all", "aws_ca_bundle": "/run/user/0/ca.pem"}}]},
            {"holdfast_resources": [{**WEB, "dependents": [{"name": "app", "tasks": f"{HOMES}/app/tasks.yml"}]}]},
            {"monitor_triggers": [{"type": "awx", "url": "https://awx", "token_file": f"{OF_ROOT}/token"}]},
            {"monitor_notify": [{"command": [f"{OF_ROOT}/bin/notify"]}]},
        )
    },
    "a password that looks like a path": Case((TAKEN,), Python(), {"holdfast_store": {"type": "etcd", "endpoints": [], "password": "~/x"}}),
}


@dataclass(frozen=True)
class Ended:
    """The messages of the tasks that failed on a host, and whether its folder was written."""

    messages: tuple[str, ...]
    wrote: bool


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Each case, run."""
    folder = tmp_path_factory.mktemp("refusals")
    places = {name: folder / f"case-{number}" for number, name in enumerate(CASES)}
    hosts = {
        place.name: {
            "home": str(place / "home"),
            "monitor_python": str(python.make(place)) if (python := CASES[name].python) else "/gone/python3",
            "monitor_packages": False,
            "holdfast_store": {"type": "etcd", "endpoints": ["http://192.0.2.21:2379"]},
            "holdfast_resources": [WEB],
            **CASES[name].given,
        }
        for name, place in places.items()
    }
    common = {"monitor_peers": False, "holdfast_cluster": "web-prod", "ansible_connection": "local", "monitor_collection": str(folder / TAKEN)}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": {**common, "ansible_python_interpreter": sys.executable}}}))
    role = {"ansible.builtin.include_role": {"name": "holdfast.ha.monitor", "tasks_from": "install"}}
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(TREE), "HOME": str(folder), "PATH": os.environ["PATH"]}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.json", "-e", '{"monitor_home": "{{ home }}"}', "play.yml"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-20000:], done.stderr[-2000:])
    found: dict[str, list[str]] = {place.name: [] for place in places.values()}
    for line in done.stdout.splitlines():
        if line.startswith("fatal: ["):
            about = json.loads(line.partition("=> ")[2])
            found[line.split("[")[1].split("]")[0].split(" ")[0]].append(f"{about['msg']} {about.get('stderr', '')}")
    return {name: Ended(tuple(found[place.name]), (place / "home").exists()) for name, place in places.items()}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_work_is_refused_before_anything_is_written(name: str, ended: dict[str, Ended]) -> None:
    told, run = CASES[name].told, ended[name]
    (message,) = run.messages
    assert [part for part in told if part not in message] == [], message
    assert run.wrote is (told == (TAKEN,))
    if told != (TAKEN,):
        assert message.startswith("case-")
        assert "\n" not in message
