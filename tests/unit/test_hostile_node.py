# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose root is not to be trusted: the text that it answers with stays text on the controller, in every playbook that collects answers.

The playbooks and roles are the real ones, and so are the modules that plan on the controller. The others are replaced, because a node can answer with
anything in their place. Each run is repeated with the oldest ansible-core that is supported, which `nox -s oldest` installs.
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
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = [path.stem for path in sorted((ROOT / "playbooks").glob("*.yml"))]
#: `nox -s oldest` makes this environment.
OLDEST = ROOT / ".nox/oldest/bin/python"
ENGINES = {"default": Path(sys.executable), "oldest": OLDEST}
#: A module that answers with one fixed JSON object, whatever it is asked.
MODULE = "#!/usr/bin/python\n# WANT_JSON\nprint(r'''{}''')\n"
#: The modules that run on the controller, by their action plugins.
PLANS = [path.stem for path in (ROOT / "plugins/action").glob("*.py") if "(OnController)" in path.read_text(encoding="utf-8")]
#: Without a `requires_ansible` that excludes them, the releases before CVE-2024-11079 was fixed evaluate such a text.
HOSTILE = "{{ lookup('pipe', 'touch MARK; echo evaluated') }}"


@dataclass(frozen=True)
class Hostile:
    """One playbook, and the answers of all nodes by module. A module that is not named fails with the hostile text."""

    playbook: str
    answers: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("node-a", "node-b")


def lease(**more: Any) -> dict[str, Any]:
    """The answer of `ip_resource_info`, with what the checker of the node says of the lease."""
    said = {"cluster": "web-prod", "node": "node-a", "held": False, "holder": "", "watching": True, "ready": True, "peers": [], **more}
    link = {
        "primary_interface": "eth0",
        "primary_state": "up",
        "backup_interface": None,
        "backup_state": None,
        "in_service": False,
        "recorded": False,
    }
    return {"resources": [{"tag": "web", "address": "10.1.0.10/32", "places": [], "info": "node-a eth0", "text": HOSTILE, **link, "lease": said}]}


def checker(**more: Any) -> dict[str, Any]:
    """The answer of `checker_info`."""
    one = {"tag": "web", "health": HOSTILE, "reasons": [HOSTILE], "advice": HOSTILE, "holder": HOSTILE, "ready": False, "ready_reason": HOSTILE}
    return {"running": True, "status": {"node": HOSTILE, "resources": [{**one, "held": True, **more}]}}


PEER = {"node": "node-c", "held": False, "alive": True, "ready": False, "reason": HOSTILE, "priority": 1}
FAILED = {**lease()["resources"][0], "in_service": True, "info": HOSTILE, "health": "failed", "reasons": [HOSTILE]}
CASES = {
    "why it is not ready": Hostile("switchover", {"ip_resource_info": lease(ready=False, ready_reason=HOSTILE)}, {"to": "node-b"}),
    "why a module failed": Hostile("failover", {}),
    "why a peer is not ready": Hostile("failover", {"ip_resource_info": lease(holder="node-a", held=True, peers=[PEER])}, hosts=("node-a",)),
    "why it could not be repaired": Hostile("recover", {"ping": {"ping": "pong"}}),
    "the status": Hostile("status", {"checker_info": checker()}),
    "the status without a checker": Hostile("status", {"checker_info": {"running": False}, "ip_resource_info": {"resources": [FAILED]}}),
    "the report": Hostile("report", {"checker_info": checker(), "ip_resource_info": lease()}),
}


def collection(place: Path, answers: Mapping[str, Any]) -> Path:
    """This collection, with modules that give these answers; the folder that Ansible is told of."""
    made = place / "ansible_collections/holdfast/ha"
    (made / "plugins/modules").mkdir(parents=True)
    (made / "plugins/action").mkdir()
    for name in PLANS:
        (made / f"plugins/action/{name}.py").symlink_to(ROOT / f"plugins/action/{name}.py")
    for one in ROOT.iterdir():
        if one.name not in ("plugins", ".tree", ".nox", ".venv", ".git"):
            (made / one.name).symlink_to(one)
    for one in (ROOT / "plugins").iterdir():
        if one.name not in ("modules", "action"):
            (made / "plugins" / one.name).symlink_to(one)
    for one in (ROOT / "plugins/modules").glob("*.py"):
        if one.stem in PLANS:
            (made / "plugins/modules" / one.name).symlink_to(one)
            continue
        answer = answers.get(one.stem, {"failed": True, "msg": HOSTILE})
        text = json.dumps({"changed": False, **answer}).replace("MARK", str(place / "evaluated"))
        (made / "plugins/modules" / one.name).write_text(MODULE.format(text))
    return place


def play(python: Path, place: Path, case: Hostile, version: str = "") -> subprocess.CompletedProcess[str]:
    """Run the playbook from a collection that lies in `place`, against nodes that answer as the case says.

    :param version: The release of ansible-core that this one is to pass itself off as.
    """
    shared = {"holdfast_cluster": "web-prod", "holdfast_store": {"type": "etcd", "endpoints": ["https://192.0.2.21:2379"]}}
    web = {"tag": "web", "address": "10.1.0.10/32", "interface": "eth0"}
    variables = {"tag": "web", "report": str(place / "report.html"), "report_events": str(place / "events"), **case.variables}
    hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": str(python)} for name in case.hosts}
    (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": {**shared, "holdfast_resources": [web]}}}))
    (place / "ansible.cfg").touch()
    (place / "events").write_text(json.dumps({"event": "lost", "tag": "web", "node": HOSTILE, "reason": HOSTILE}) + "\n")
    posing = f"import ansible.release; ansible.release.__version__ = '{version}'; " if version else ""
    program = f"{posing}import sys; from ansible.cli.playbook import main; sys.exit(main())"
    words = ["-i", str(place / "inventory.yml"), "-e", json.dumps(variables), f"holdfast.ha.{case.playbook}"]
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(place),
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(place / "tmp"),
        "HOME": str(place),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    return subprocess.run([str(python), "-c", program, *words], env=environment, cwd=place, capture_output=True, text=True, check=False)


def one_line(text: str) -> str:
    """Without the marks that JSON and HTML put before quotes, and without what the cut of a table leaves."""
    return text.replace("\\", "").replace("&#x27;", "'").replace("&#39;", "'")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_text_that_a_node_words_stays_text(name: str, engine: str, tmp_path: Path) -> None:
    python, case = ENGINES[engine], CASES[name]
    if not python.exists():
        pytest.skip("the oldest supported ansible-core is not there: `nox -s oldest`, with a Python from 3.10 to 3.12")
    done = play(python, collection(tmp_path, case.answers), case)
    report = tmp_path / "report.html"
    shown = one_line(report.read_text() if report.exists() else done.stdout)
    assert "lookup('pipe'" in shown, f"the text did not come as far as this: {done.stdout}{done.stderr}"
    assert not (tmp_path / "evaluated").exists(), done.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_ansible_that_evaluates_the_text_of_nodes_is_refused(playbook: str, tmp_path: Path) -> None:
    case = Hostile(playbook, {})
    done = play(Path(sys.executable), collection(tmp_path, {}), case, version="2.18.0" if playbook in ("install", "status") else "2.17.6")
    told = [line for line in done.stdout.splitlines() if line.startswith(("TASK", "[ERROR]", "fatal"))]
    assert done.returncode == 2, done.stdout + done.stderr
    assert len([line for line in told if line.startswith("TASK")]) == 1, done.stdout
    assert "ansible-core 2.1" in done.stdout
    assert "Install 2.17.7 or newer, but not 2.18.0" in done.stdout
