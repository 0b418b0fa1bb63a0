# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles say of themselves: defaults and argument specs agree, resources are what the core takes, and each role has its Molecule scenario."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.repair import FAULTS
from ansible_collections.holdfast.ha.plugins.module_utils._resource import schema

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".tree" if (ROOT / ".tree").exists() else ROOT.parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
SCENARIOS = ROOT / "extensions/molecule"
#: One of everything that a resource can have.
FULL = {
    "tag": "web",
    "address": "10.1.0.10/32",
    "interface": "eth0",
    "backup_interface": "eth1",
    "gateway": "10.1.0.1",
    "probe": {"targets": ["10.1.0.1"]},
    "ec2": {"route_tables": "all"},
    "dependents": [{"name": "app", "service": "app.service"}],
    "priority": {"node-a": 1},
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def entry_points(role: str) -> dict[str, Any]:
    return dict(read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"])


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What the core asks for at each place of a resource."""
    found: dict[str, set[str]] = {}

    def finish(fields: Any) -> None:
        found[re.sub(r"/\d+", "", fields._path)] = set(fields._known)

    monkeypatch.setattr(schema._Fields, "finish", finish)
    schema.parse(FULL, "")
    return found


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_play_names_the_strategy_that_it_needs(playbook: Path) -> None:
    """An ansible.cfg may set another one, and then a host does not wait for the others."""
    assert [play["name"] for play in read(playbook) if play.get("strategy") != "ansible.builtin.linear"] == []


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_specs(role: str) -> None:
    """What stands in defaults/main.yml is documented; where both name a value it is the same, and none is documented alone."""
    defaults = read(ROOT / "roles" / role / "defaults/main.yml")
    main = entry_points(role)["main"]["options"]
    assert set(defaults) - set(main) == set()
    for name, option in main.items():
        if "default" in option:
            assert defaults.get(name, "missing") == option["default"], name
        assert not (option.get("required") and name in defaults), name
    for entry in entry_points(role).values():
        for name, option in entry["options"].items():
            if "default" in option and name in defaults:
                assert option["default"] == defaults[name], name


def with_suboptions(role: str) -> list[tuple[str, dict[str, Any]]]:
    """Each list of resources of that role of which the parts are documented."""
    told = ((name, entry["options"].get("holdfast_resources", {})) for name, entry in entry_points(role).items())
    return [(name, option["options"]) for name, option in told if "options" in option]


def assert_same(options: dict[str, Any], known: dict[str, set[str]], place: str) -> None:
    assert set(options) == known[place], place or "the resource itself"
    for name, option in options.items():
        if "options" in option:
            assert_same(option["options"], known, f"{place}/{name}")


@pytest.mark.parametrize("role", ROLES)
def test_resources_are_documented_as_the_core_takes_them(role: str, known: dict[str, set[str]]) -> None:
    assert known[""] >= {"tag", "address", "interface", "fence"}
    assert {place for place in known if place} == {"/probe", "/ec2", "/dependents"}
    documented = with_suboptions(role)
    for _entry, options in documented:
        assert_same(options, known, "")
        assert {name for name, option in options.items() if option.get("required")} == {"tag", "address", "interface"}
        assert options["fence"]["choices"] == list(schema._FENCES)
        assert options["failback"]["choices"] == list(schema._FAILBACK)
    if not documented:
        told = entry_points(role)["main"]["options"]["holdfast_resources"]["description"]
        assert "P(holdfast.ha.local_recovery#role)" in str(told), "it says neither what a resource is nor where that stands"


def test_the_faults_that_a_recovery_takes_are_those_of_the_core() -> None:
    option = entry_points("local_recovery")["main"]["options"]["local_recovery_faults"]
    assert option["choices"] == option["default"] == [str(fault) for fault in FAULTS]


def test_one_role_at_least_documents_resources() -> None:
    assert with_suboptions("local_recovery")


@pytest.mark.parametrize("role", ROLES)
def test_readme_names_entry_points_that_are_documented(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| entry point .*?\n\n", text, re.MULTILINE | re.DOTALL)
    rows = [row for row in table[0].splitlines()[2:] if row] if table else []
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named - set(entry_points(role)) == set()
    for name in entry_points(role):
        assert (ROOT / "roles" / role / f"tasks/{name}.yml").is_file()


def tasks_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every task and block in the content of a task file."""
    for task in value or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_in(task.get(part))


@pytest.mark.parametrize("role", ROLES)
def test_no_variable_of_a_task_has_the_name_of_a_result(role: str) -> None:
    """A result, and what set_fact sets, precedes the variables of a task: the task would get that of the resource before."""
    tasks = [task for path in sorted((ROOT / "roles" / role).glob("[th]*/*.yml")) for task in tasks_in(read(path))]
    results = {task["register"] for task in tasks if "register" in task}
    results |= {name for task in tasks for name in task.get("ansible.builtin.set_fact", {})}
    assert results
    assert results & {name for task in tasks for name in task.get("vars", {})} == set()


# --- Molecule ----------------------------------------------------------------------------------------------------------

_BESIDE = {"shared", "config.yml"}


def test_each_role_has_a_scenario_and_each_scenario_a_role() -> None:
    assert sorted(path.name for path in SCENARIOS.iterdir() if path.name not in _BESIDE) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_scenario_applies_its_role_and_looks_at_the_result(role: str) -> None:
    assert read(SCENARIOS / role / "molecule.yml")["scenario"]["name"] == role
    (converge,) = read(SCENARIOS / role / "converge.yml")
    assert [one["role"] if isinstance(one, dict) else one for one in converge["roles"]] == [f"holdfast.ha.{role}"]
    assert "../shared/served.yml" in (SCENARIOS / role / "verify.yml").read_text(), "no client is asked"


def is_playbook(path: Path) -> bool:
    content = read(path)
    return isinstance(content, list) and all("hosts" in one or "ansible.builtin.import_playbook" in one for one in content)


def test_playbooks_of_the_scenarios_can_be_read(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        pytest.skip("ansible-playbook is not in this environment")
    playbooks = [str(path) for path in sorted(SCENARIOS.glob("*/*.yml")) if is_playbook(path)]
    assert len(playbooks) >= 3 * len(ROLES) + 2
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(TREE), "LANG": "C.UTF-8"}
    argv = [str(program), "--syntax-check", "--inventory", "node-a,node-b,", *playbooks]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
