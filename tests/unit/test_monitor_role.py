# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitor brings to a node runs there as DESIGN.md section 7 says, from a checkout and from a collection of Galaxy's alike."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2.sandbox
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "ansible_collections.holdfast.ha.plugins.module_utils._checker"
COMMAND = "ansible_collections.holdfast.ha.plugins.module_utils._cli.main"


def pack(collection: Path, archive: Path) -> str:
    """Returns the name of the content."""
    argv = [sys.executable, str(ROOT / "roles/monitor/files/archive.py"), str(collection), str(archive)]
    return str(json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)["id"])


def unpack(archive: Path, folder: Path) -> None:
    """As root does it on a node."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "--extract", "-C", str(folder), "-f", str(archive)], check=True)


@pytest.mark.parametrize("from_galaxy", [False, True])
def test_the_packed_collection_is_run_by_its_name(tmp_path: Path, from_galaxy: bool) -> None:
    collection = ROOT
    if from_galaxy:  # which lacks what galaxy.yml leaves out
        collection = tmp_path / "collection"
        for name in ("plugins", "meta"):
            shutil.copytree(ROOT / name, collection / name, ignore=shutil.ignore_patterns("__pycache__", "__main__.py"))
    name = pack(collection, tmp_path / "one.tar")
    assert pack(collection, tmp_path / "two.tar") == name, "the same files, and yet another version"
    node = tmp_path / "node"
    unpack(tmp_path / "one.tar", node)
    environment = {"PYTHONPATH": str(node), "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run([sys.executable, "-m", PROGRAM, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage: holdfast-checker")


def test_what_is_unpacked_only_its_owner_may_change(tmp_path: Path) -> None:
    """As Ansible's unarchive does it, for a login whose umask is 0."""
    pack(ROOT, tmp_path / "one.tar")
    folder = tmp_path / "releases"
    folder.mkdir(mode=0o755)
    subprocess.run(["tar", "--extract", "-C", str(folder), "-f", str(tmp_path / "one.tar")], check=True, umask=0)
    modes = {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_dir()}
    assert modes == {"0o755"}
    assert {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file()} == {"0o644"}


def rendered(name: str, **values: Any) -> str:
    """A template of the role, as Ansible makes it."""
    environment = jinja2.sandbox.SandboxedEnvironment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(bool=bool, to_json=json.dumps)
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text) is not None
    return environment.from_string((ROOT / "roles/monitor/templates" / name).read_text(encoding="utf-8")).render(values)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of somebody else's, with modules named as those of the standard library. Who runs one leaves a file named `caught` there."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in ("argparse", "ast", "json", "runpy", "socket", "subprocess"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'caught')!r}, 'a').write(__name__)\nraise SystemExit(99)\n")
    return folder


@pytest.mark.parametrize("words", [COMMAND, f"{COMMAND} lkipbu", PROGRAM])
@pytest.mark.parametrize("venv", [True, False])
def test_commands_run_no_module_of_the_callers_folder(tmp_path: Path, hostile: Path, words: str, venv: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    pack(ROOT, tmp_path / "one.tar")
    unpack(tmp_path / "one.tar", home / "collections")
    (home / "venv").symlink_to(sys.prefix)
    values = {"monitor_home": str(home), "monitor_venv": venv, "monitor_interpreter": sys.executable, "item": {"words": words}}
    script = rendered("command.j2", **values)
    called = subprocess.run(["/bin/sh", "-c", script, "holdfast", "--help"], cwd=hostile, capture_output=True, text=True, check=False)
    assert not (hostile / "caught").exists(), called
    assert (called.returncode, called.stdout[:7]) == (0, "usage: "), called


def commands(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tasks that run a command, those of blocks too."""
    for task in tasks:
        yield from commands(task.get("block", []))
        if "ansible.builtin.command" in task:
            yield task


def test_no_secret_of_the_configuration_is_shown(tmp_path: Path) -> None:
    """Each file that the role writes to /etc/holdfast, with all that Ansible can say of it."""
    found = [
        {"ansible.builtin.copy": {"content": copy["content"], "dest": str(tmp_path / f"file{number}"), "mode": copy["mode"]}}
        | {name: value for name, value in task.items() if name in ("loop", "loop_control", "no_log")}
        for number, task in enumerate(yaml.safe_load((ROOT / "roles/monitor/tasks/configuration.yml").read_text(encoding="utf-8")))
        if (copy := task.get("ansible.builtin.copy"))
    ]
    assert len(found) == 5
    secret = "EXTERNAL-ID-42"
    resource = {"tag": "web", "ec2": {"role_arn": "arn:aws:iam::1:role/x", "external_id": secret}}
    values = {
        **{name: {"aws": {"external_id": secret}} for name in ("monitor_checker", "monitor_variables")},
        "monitor_resources": [resource],
        "monitor_secrets": {"token": secret},
        "monitor_key": secret,
        "ansible_python_interpreter": sys.executable,
    }
    assert secret not in run_tasks(tmp_path, found, values, "--diff", "-vvv")
    assert [secret in file.read_text() for file in sorted(tmp_path.glob("file*"))] == [True] * len(found)


def variables() -> dict[str, Any]:
    """Those of the role, as they are written."""
    return dict(yaml.safe_load((ROOT / "roles/monitor/vars/main.yml").read_text(encoding="utf-8")))


def written(folder: Path, template: str, values: dict[str, Any]) -> Path:
    """A template of the role, as Ansible writes it."""
    target = folder / template.removesuffix(".j2")
    given = {"src": str(ROOT / "roles/monitor/templates" / template), "dest": str(target), "mode": "0600"}
    needed = {name: value for name, value in variables().items() if name in ("monitor_needed", "monitor_writable", "monitor_home")}
    run_tasks(folder, [{"ansible.builtin.template": given}], {"ansible_python_interpreter": sys.executable, **needed, **values})
    return target


PLACES = {
    "monitor_longest_stop": 90,
    "monitor_capabilities": [],
    "monitor_may_reboot": False,
    "monitor_metrics_textfile": "/var/lib/node exporter/holdfast.prom",
    "monitor_events": "/srv/100% full/events.jsonl",
    "monitor_read_write_paths": ["/srv/plain"],
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_each_line_of_the_unit(tmp_path: Path) -> None:
    unit = written(tmp_path, "holdfast-checker.service.j2", PLACES)
    read = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    told = [line for line in read.stderr.splitlines() if unit.name in line and "/opt/holdfast/bin/holdfast-checker is not executable" not in line]
    assert told == []
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False)
    score = re.search(r"exposure level for \S+: ([\d.]+)", judged.stdout)
    assert score is not None, judged
    assert float(score[1]) <= 3.5, judged.stdout
    lines = unit.read_text().splitlines()
    assert [line for line in lines if line.startswith("ReadWritePaths")] == [
        'ReadWritePaths="-/proc/sys/net"',
        'ReadWritePaths="-/run/systemd/system"',
        'ReadWritePaths="-/var/lib/node exporter"',
        'ReadWritePaths="-/srv/100%% full"',
        'ReadWritePaths="-/srv/plain"',
    ]
    bounds = {"LimitCORE=0", "LimitNOFILE=4096:524288", "TasksMax=1024", "Environment=AWS_EC2_METADATA_V1_DISABLED=true"}
    assert bounds <= set(lines)


_GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
ODD = {
    "PROXY": "http://u:p\u00e4ss\u00df@proxy:3128",
    "QUOTES": "a \"b\" 'c' \\ d\\n",
    "LINES": "one\ntwo",
    "BLANKS": "  x  # y ; z ",
    "NUMBER": 8080,
}


@pytest.mark.skipif(not _GENERATOR.exists(), reason="no program of systemd that reads such a file")
def test_systemd_reads_the_environment_as_it_was_given(tmp_path: Path) -> None:
    """By systemd's own reader of such files, which also has a program to itself."""
    (tmp_path / "config/environment.d").mkdir(parents=True)
    file = written(tmp_path, "environment.j2", {"monitor_environment": ODD})
    shutil.copy(file, tmp_path / "config/environment.d/50-holdfast.conf")
    clean = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    told = subprocess.run([str(_GENERATOR)], env=clean, capture_output=True, check=True).stdout.decode()
    found = {}
    for line in told.splitlines():
        name, _sign, value = line.partition("=")
        quoted = value.startswith('"') and value.endswith('"') and len(value) > 1
        found[name] = re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], value[1:-1]) if quoted else value
    assert {name: found.get(name) for name in ODD} == {name: str(value) for name, value in ODD.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"HTTPS_PROXY": "http://192.0.2.9:3128"}, {"NO_PROXY": '"169.254.169.254,fd00:ec2::254"'}),
        ({"http_proxy": "http://192.0.2.9:3128"}, {"NO_PROXY": '"169.254.169.254,fd00:ec2::254"'}),
        ({"HTTPS_PROXY": "http://192.0.2.9:3128", "no_proxy": ".example.org"}, {"no_proxy": '".example.org"'}),
        ({"LANG": "C"}, {}),
    ],
)
def test_a_proxy_is_not_asked_for_instance_metadata(tmp_path: Path, given: dict[str, str], expected: dict[str, str]) -> None:
    lines = written(tmp_path, "environment.j2", {"monitor_environment": given}).read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert {name: value for name, value in found.items() if name.lower() == "no_proxy"} == expected


def test_secrets_that_are_named_stay_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    named = {"schl\u00fcssel", "awx.token", "ca.pem", 'a "quoted" name', "notify", "bundle.pem", "word", "aws"}
    for name in named | {"awx", "ca", "old", "given"}:
        (folder / name).touch()
    at = {name: f"{folder}/{name}" for name in named}
    values = {
        "monitor_checker": {
            "store": {"type": "etcd", "endpoints": ["https://x"], "ca_cert": at["ca.pem"]},
            "aws": {"aws_ca_bundle": f"{folder}/../secrets/bundle.pem"},
            "triggers": [{"type": "awx", "token_file": at["awx.token"]}, {"type": "webhook", "token_file": at["schl\u00fcssel"], "at_once": 2}],
            "notify": [{"command": ["/bin/x", at["word"]]}, {"url": "https://x", "token_file": at["notify"]}],
        },
        "monitor_resources": [{"tag": "a"}, {"tag": "b", "ec2": None}, {"tag": "c", "ec2": {"aws_ca_bundle": at['a "quoted" name']}}],
        "monitor_secrets": {"given": "x"},
        "monitor_environment": {"AWS_SHARED_CREDENTIALS_FILE": at["aws"]},
        "monitor_secret_folder": str(folder),
        "monitor_has_peers": True,
        "ansible_python_interpreter": sys.executable,
    }
    tasks = yaml.safe_load((ROOT / "roles/monitor/tasks/install.yml").read_text(encoding="utf-8"))[-2:]
    run_tasks(tmp_path, tasks, values)
    assert {path.name for path in folder.iterdir()} == named | {"given"}


def run_tasks(folder: Path, tasks: list[dict[str, Any]], values: dict[str, Any], *words: str, umask: int = 0o077) -> str:
    """Tasks of the role, on this machine and with these variables. What Ansible says."""
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": values, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(play))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", *words, "play.yml"]
    environment = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(folder / "local"), "ANSIBLE_REMOTE_TEMP": str(folder / "remote")}
    ended = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, umask=umask)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_the_role_runs_python_in_no_folder_of_the_login(tmp_path: Path) -> None:
    """Each task that starts Python on the node, run with a Python that says where it is."""
    python, said = tmp_path / "bin" / "python", tmp_path / "said"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$PWD $1 $2 $(umask)" >>{said}\ncase $2 in *.validate) cat >/dev/null ;; esac\n')
    python.chmod(0o755)
    found = [task for path in sorted((ROOT / "roles").glob("*/tasks/*.yml")) for task in commands(yaml.safe_load(path.read_text(encoding="utf-8")))]
    on_the_node = ("monitor_base_python", "monitor_next_python", "monitor_next_venv", "monitor_interpreter")
    tasks = [{"ansible.builtin.command": task["ansible.builtin.command"]} for task in found if any(name in str(task) for name in on_the_node)]
    assert len(tasks) == 5, "a task was added: see that it runs in /"
    values = {
        **dict.fromkeys(("monitor_base_python", "monitor_next_python", "monitor_interpreter"), str(python)),
        **dict.fromkeys(("monitor_checker", "monitor_resources", "monitor_environment", "monitor_playbook_program", "monitor_secret_folder"), "-"),
        **{name: [] for name in ("monitor_venv", "monitor_libraries", "monitor_pip_options")},
        **{name: variables()[name] for name in ("monitor_masked", "monitor_ask_python")},
        "monitor_secrets": {},
        "monitor_next_venv": str(tmp_path),
        "monitor_program": PROGRAM,
    }
    values["ansible_python_interpreter"] = sys.executable
    run_tasks(tmp_path, tasks, values, umask=0)
    assert {line.split()[3] for line in said.read_text().splitlines() if line.split()[2] in ("venv", "pip")} == {"0022"}, said.read_text()
    assert {line.split()[0] for line in said.read_text().splitlines()} == {"/"}, said.read_text()
    assert len(said.read_text().splitlines()) == len(tasks)


@pytest.mark.parametrize("may_reboot", [False, True])
def test_the_checker_may_restart_the_machine_only_where_a_resource_asks_for_it(may_reboot: bool) -> None:
    unit = rendered(
        "holdfast-checker.service.j2",
        monitor_home="/opt/holdfast",
        monitor_longest_stop=150,
        monitor_writable=[],
        monitor_needed=["CAP_NET_ADMIN"],
        monitor_capabilities=[],
        monitor_may_reboot=may_reboot,
    )
    lines = unit.splitlines()
    assert ("CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_BOOT" in lines, "SystemCallFilter=@system-service @reboot" in lines) == (may_reboot,) * 2
    assert ("CapabilityBoundingSet=CAP_NET_ADMIN" in lines, "SystemCallFilter=@system-service" in lines) == (not may_reboot,) * 2
