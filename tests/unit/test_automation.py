# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX, automation controller, ansible-builder and Event-Driven Ansible read: it names what exists, and they can read it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.tests.harness.guides import variables_of
from ansible_collections.holdfast.ha.tests.lab.awx import Controller, controller_variables

ROOT = Path(__file__).resolve().parents[2]
#: Where Ansible finds the collection: beside a checkout, or around a copy that lies where collections do.
TREE = ROOT / ".tree" if (ROOT / ".tree").exists() else ROOT.parents[2]
PLAYBOOKS = {path.stem: path for path in sorted((ROOT / "playbooks").glob("*.yml"))}


CONTROLLER = controller_variables()
TEMPLATES: list[dict[str, Any]] = CONTROLLER["controller_templates"]
#: What the checkers tell a recovery besides, for the hooks of users too.
FOR_HOOKS = {"holdfast_reason", "holdfast_faults", "holdfast_order", "holdfast_expired"}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_job_template_asks_for_what_its_playbook_reads(template: dict[str, Any]) -> None:
    playbook = ROOT / template["playbook"]
    assert playbook.is_file()
    asked = {question["variable"] for question in template["survey_spec"].get("spec", [])}
    for_hooks = FOR_HOOKS if template["name"] == "Holdfast recover" else set()
    assert asked - variables_of(playbook) - for_hooks == set()
    assert for_hooks <= asked
    assert template["survey_enabled"] is bool(asked)
    for name in ("project", "inventory", "execution_environment"):
        assert template[name] in {one["name"] for one in CONTROLLER[f"controller_{name.replace('inventory', 'inventorie')}s"]}
    assert template["credentials"] == "{{ holdfast_credentials }}"


def test_every_playbook_can_be_started_from_a_controller() -> None:
    assert {Path(template["playbook"]).stem for template in TEMPLATES} == set(PLAYBOOKS)
    assert len({template["name"] for template in TEMPLATES}) == len(TEMPLATES)


def test_credentials_of_the_templates_are_made_here_and_fill_their_types() -> None:
    made = {one["name"]: one for one in CONTROLLER["controller_credentials"]}
    assert CONTROLLER["holdfast_credentials"]
    assert set(CONTROLLER["holdfast_credentials"]) <= set(made)
    own = {one["name"]: one for one in CONTROLLER["controller_credential_types"]}
    assert {one["credential_type"] for one in made.values()} == {"Machine", *own}
    for credential in made.values():
        if credential["credential_type"] in own:
            kind = own[credential["credential_type"]]
            assert set(credential["inputs"]) == {field["id"] for field in kind["inputs"]["fields"]}
        else:
            assert set(credential["inputs"]) == {"username", "ssh_key_data"}
    text = (ROOT / "extensions/aap/controller.yml").read_text()
    for variable, template in own["Holdfast lease store in etcd"]["injectors"]["extra_vars"].items():
        assert re.fullmatch(r"\{\{ (username|password) \}\}", template)
        assert f'!unsafe "{{{{ {variable} }}}}"' in text, "no inventory says how it is used"


#: The options that the modules of awx.awx take, of those that matter here; from their argument specs (24.6).
_NAMES = {"name", "description", "organization", "state"}
OPTIONS = {
    "execution_environment": {*_NAMES, "image", "credential", "pull"},
    "project": {
        *_NAMES,
        "scm_type",
        "scm_url",
        "scm_branch",
        "credential",
        "scm_clean",
        "scm_update_on_launch",
        "allow_override",
        "default_environment",
    },
    "credential_type": {"name", "description", "kind", "inputs", "injectors", "state"},
    "credential": {*_NAMES, "credential_type", "inputs", "update_secrets", "user", "team"},
    "inventory": {*_NAMES, "variables", "kind", "host_filter", "instance_groups", "input_inventories"},
    "host": {"name", "description", "inventory", "enabled", "variables", "state"},
    "job_template": {
        *(*_NAMES, "job_type", "inventory", "project", "playbook", "credentials", "execution_environment", "forks", "limit", "verbosity"),
        *("extra_vars", "timeout", "ask_variables_on_launch", "ask_limit_on_launch", "ask_inventory_on_launch", "ask_credential_on_launch"),
        *("survey_enabled", "survey_spec", "become_enabled", "diff_mode", "allow_simultaneous", "instance_groups", "labels", "scm_branch"),
    },
}
#: What AWX takes for a question of a survey.
QUESTION = {"variable", "question_name", "question_description", "type", "min", "max", "default", "required", "choices"}
QUESTION_TYPES = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}


def test_modules_take_these_options() -> None:
    (play,) = yaml.safe_load((ROOT / "extensions/aap/configure.yml").read_text())
    used = {name.removeprefix("awx.awx."): set(task[name]) for task in play["tasks"] for name in task if name.startswith("awx.awx.")}
    assert set(used) == set(OPTIONS)
    for module, options in used.items():
        assert options <= OPTIONS[module], module


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_awx_takes_the_survey(template: dict[str, Any]) -> None:
    spec = template["survey_spec"]
    assert not spec or set(spec) == {"name", "description", "spec"}
    for question in spec.get("spec", []):
        assert {"variable", "question_name", "type", "required"} <= set(question) <= QUESTION
        assert question["type"] in QUESTION_TYPES
        assert ("choices" in question) is (question["type"] in ("multiplechoice", "multiselect"))
        if "default" in question and "choices" in question:
            assert question["default"] in question["choices"]


def test_both_ways_into_a_controller_bring_the_same() -> None:
    (play,) = yaml.safe_load((ROOT / "extensions/aap/dispatch.yml").read_text())
    assert play["vars_files"] == ["controller.yml"]
    assert [role["role"] for role in play["roles"]] == ["infra.aap_configuration.dispatch"]
    assert {"aap_hostname", "aap_token"} == set(play["vars"])
    # the names by which the role finds them
    known = {
        f"controller_{name}"
        for name in ("execution_environments", "projects", "credential_types", "credentials", "inventories", "hosts", "templates")
    }
    assert {name for name in CONTROLLER if name.startswith("controller_")} == known


def test_every_question_allows_what_the_playbook_takes() -> None:
    choices = {
        (template["playbook"], question["variable"]): question["choices"]
        for template in TEMPLATES
        for question in template["survey_spec"].get("spec", [])
        if question["type"] == "multiplechoice" and question["variable"] not in FOR_HOOKS
    }
    assert choices
    for (playbook, variable), offered in choices.items():
        taken = re.search(rf"{variable}[^\n]* in (\[[^\]]*\])", (ROOT / playbook).read_text())
        assert taken, f"{playbook} does not say what {variable} may be"
        assert sorted(offered) == sorted(yaml.safe_load(taken[1]))


#: What gives whoever sets it the execution environment, the nodes, or any file of theirs.
FORBIDDEN = {
    "ansible_ssh_common_args": "-o ProxyCommand=id",
    "ansible_become_exe": "/tmp/id",
    "holdfast_resources": [{"tag": "web", "dependents": [{"name": "x", "tasks": "/tmp/x.yml"}]}],
    "report": "/etc/passwd",
    "report_events": "/etc/shadow",
    "monitor_triggers": [],
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_who_may_launch_a_template_answers_its_questions_and_sets_nothing_else(template: dict[str, Any]) -> None:
    questions = template["survey_spec"].get("spec", [])
    assert {name: template[name] for name in template if name.startswith("ask_")} == {
        "ask_variables_on_launch": False,
        "ask_limit_on_launch": False,
    }, "AWX keeps what an earlier release has set unless it is named"
    answers = {one["variable"]: (one.get("choices") or ["node-a"])[0] for one in questions if one["required"]}
    awx = Controller(survey=questions, asks_for_variables=template["ask_variables_on_launch"])
    body = json.dumps({"extra_vars": {**answers, **FORBIDDEN}, "limit": "localhost"}).encode()
    status, reply = awx.answer("POST", "/api/v2/job_templates/7/launch/", f"Bearer {awx.token}", "application/json", body)
    assert (status, reply["ignored_fields"]) == (201, {"limit": "localhost", "extra_vars": FORBIDDEN})
    assert set(awx.given[reply["job"]]) & set(FORBIDDEN) == set()


def test_what_the_checkers_launch_runs_twice_at_a_time() -> None:
    launched = {name: next(one for one in TEMPLATES if one["name"] == f"Holdfast {name}") for name in ("recover", "switchover")}
    for name, template in launched.items():
        assert template["playbook"] == f"playbooks/{name}.yml"
        assert template["allow_simultaneous"] is True
        rulebook = (ROOT / "extensions/eda/rulebooks/holdfast_controller.yml").read_text()
        assert f"default('{template['name']}')" in rulebook


def test_rulebooks_run_playbooks_that_exist_with_their_variables() -> None:
    (rulebook,) = yaml.safe_load((ROOT / "extensions/eda/rulebooks/holdfast.yml").read_text())
    assert rulebook["rules"]
    for rule in rulebook["rules"]:
        action = rule["action"]["run_playbook"]
        playbook = PLAYBOOKS[action["name"].removeprefix("holdfast.ha.")]
        assert set(action["extra_vars"]) <= variables_of(playbook)


CONDITIONS = {
    f"{path.stem} {rule['name']}": rule["condition"]
    for path in sorted((ROOT / "extensions/eda/rulebooks").glob("*.yml"))
    for rule in yaml.safe_load(path.read_text())[0]["rules"]
}


def admits(condition: str, field: str, value: str) -> bool:
    """What the condition asks of one field of an order, with the regular expressions of Python."""
    asked = re.findall(rf'event\.payload\.{re.escape(field)} is (not )?(match|search)\("([^"]*)"\)', condition)
    assert asked, f"nothing is asked of {field}"
    return all((getattr(re, how)(pattern, value) is not None) is not bool(negated) for negated, how, pattern in asked)


@pytest.mark.parametrize("name", CONDITIONS)
def test_rulebooks_take_names_of_their_own_cluster_and_nothing_behind_them(name: str) -> None:
    condition = CONDITIONS[name]
    assert "and event.payload.cluster == vars.holdfast_cluster" in condition
    names = {
        "tag": ("web", "web-2", "ip-172.17.106.10"),
        **({"variables.to": ("node-a", "ip-10-0-1-10.eu-central-1.compute.internal")} if "Switch" in name else {}),
    }
    for field, good in names.items():
        assert all(admits(condition, field, one) for one in good)
        for bad in ("", "-web", f"{good[0]}\n", f"{good[0]}\n{{{{ x }}}}", "{{ lookup('pipe', 'id') }}", "web;id", "we\u2028b"):
            assert not admits(condition, field, bad), bad


def list_of(task: dict[str, Any]) -> str:
    """The variable over which a task loops."""
    name = re.fullmatch(r"\{\{ (\w+) \}\}", task["loop"])
    assert name is not None, task
    return name[1]


def test_modules_of_a_controller_get_every_field() -> None:
    (play,) = yaml.safe_load((ROOT / "extensions/aap/configure.yml").read_text())
    lists = {name for name in CONTROLLER if name.startswith("controller_")}
    assert {list_of(task) for task in play["tasks"]} == lists
    for task in play["tasks"]:
        (module,) = (name for name in task if name.startswith("awx.awx."))
        described = CONTROLLER[list_of(task)]
        for item in described:
            assert set(item) == set(task[module]), module


def parts(path: Path) -> Iterator[dict[str, Any]]:
    """The plays of a playbook and their tasks, or the tasks of a role's file."""

    def tasks(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for task in found:
            yield task
            for name in ("block", "rescue", "always"):
                yield from tasks(task.get(name, []))

    for part in yaml.safe_load(path.read_text()):
        yield from tasks([part])
        yield from tasks(part.get("tasks", []))


def test_become_is_for_the_nodes() -> None:
    """A controller is no node: with ansible_become in `all`, what is done there would want a user that it does not have."""
    paths = [*PLAYBOOKS.values(), *(ROOT / "roles").glob("*/tasks/*.yml")]
    here = [part for path in paths for part in parts(path) if "localhost" in (part.get("hosts"), part.get("delegate_to"))]
    assert len(here) >= 4
    assert [part["name"] for part in here if part.get("vars", {}).get("ansible_become") is not False] == []


def test_builder_finds_what_the_modules_need(tmp_path: Path) -> None:
    place = tmp_path / "ansible_collections/holdfast"
    place.mkdir(parents=True)
    (place / "ha").symlink_to(ROOT)
    done = subprocess.run([_tool("ansible-builder"), "introspect", str(tmp_path)], capture_output=True, text=True, check=True)
    found = yaml.safe_load(done.stdout)
    assert {line.split()[0] for line in found["python"]} == {"boto3", "botocore", "netaddr"}
    assert {line.split()[0] for line in found["system"]} == {"iproute", "iproute2"}


def test_builder_takes_the_example(tmp_path: Path) -> None:
    example = ROOT / "docs/examples/execution-environment.yml"
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    archive = tmp_path / f"holdfast-ha-{version}.tar.gz"
    archive.touch()
    (tmp_path / example.name).write_text(example.read_text())
    argv = [_tool("ansible-builder"), "create", "-f", example.name, "--output-filename", "Containerfile", "-c", "context"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = (tmp_path / "context/Containerfile").read_text()
    assert "quay.io/centos/centos:stream9" in made
    assert archive.name in "".join(path.read_text() for path in (tmp_path / "context/_build").rglob("requirements.yml"))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_playbook_is_one_for_the_engine(playbook: str, tmp_path: Path) -> None:
    """ansible-runner starts each by its name in the collection; Ansible reads it to the end, with every role and module that it names."""
    for name in ("project", "env", "inventory"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory/hosts").write_text("localhost ansible_connection=local\n")
    (tmp_path / "env/envvars").write_text(json.dumps({"ANSIBLE_COLLECTIONS_PATH": str(TREE)}))
    words = ["run", str(tmp_path), "--playbook", f"holdfast.ha.{playbook}", "--ident", "check", "--quiet"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [_tool("ansible-runner"), *words, "--cmdline=--syntax-check"],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "artifacts/check/rc").read_text() == "0", done.stdout + (tmp_path / "artifacts/check/stdout").read_text()


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_a_run_with_tags_is_refused(playbook: str, tmp_path: Path) -> None:
    """`--tags web` is easily typed for `-e tag=web`. No task has a tag, so nothing would run, and that would count as success."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "HOME": str(tmp_path)}
    (tmp_path / "ansible.cfg").touch()
    argv = [_tool("ansible-playbook"), "-i", "node-a,", "-c", "local", f"holdfast.ha.{playbook}", "--tags", "web"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "--tags web is refused: no task has a tag. Name the resource with -e tag=web" in done.stdout + done.stderr


def _tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not in this environment")
    return str(path)
