# SPDX-License-Identifier: GPL-3.0-or-later
"""README, guides and comments: every command that they name exists and takes those words, every example is valid, every message is real."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from ansible.parsing.splitter import parse_kv

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._cli.lkipbu import Usage, parse_lkipbu
from ansible_collections.holdfast.ha.plugins.module_utils._cli.main import parser
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse
from ansible_collections.holdfast.ha.tests.harness.guides import (
    EXCUSED,
    FOR_USERS,
    GUIDES,
    ROOT,
    RUN,
    TEXTS,
    Command,
    blocks,
    commands,
    commands_of,
    variables_of,
)
from ansible_collections.holdfast.ha.tests.lab.rights import NODE_RIGHTS

#: Where Ansible finds the collection: beside a checkout, or around a copy that lies where collections do.
TREE = ROOT / ".tree" if (ROOT / ".tree").exists() else ROOT.parents[2]
#: Also looked through for playbooks that are named somewhere in a line.
MENTIONS = [*TEXTS, *sorted((ROOT / "extensions").rglob("*.yml")), *sorted((ROOT / "playbooks").glob("*.yml"))]
#: Programs of others, whose words are not looked at.
FOREIGN = {
    "pip",
    "sudo",
    "ansible-doc",
    "ansible-galaxy",
    "ansible-builder",
    "ansible-rulebook",
    "promtool",
    "systemctl",
    "podman",
    "apt-get",
    "openssl",
}
FOREIGN |= {"etcdctl", "python3", "cd", "echo", "export", "."}
OURS = {"ansible-playbook", "ansible", "holdfast", "lkipbu", "make", ".venv/bin/nox", ".venv/bin/pytest", ".venv/bin/ruff", "tests/holdfast-lab"}


def of(*programs: str) -> list[Command]:
    return [command for command in commands() if command.words[0] in programs]


def test_commands_are_found_and_their_programs_known() -> None:
    assert len(of("ansible-playbook")) > 10
    assert len(of("holdfast")) >= 5
    unknown = [command for command in commands() if command.words[0] not in FOREIGN | OURS and "=" not in command.words[0]]
    assert unknown == []


def options_of(playbook: Path) -> set[str]:
    """What a playbook evaluates, and the options of its roles."""
    found = variables_of(playbook)
    for role in re.findall(r"name: holdfast\.ha\.(\w+)", playbook.read_text()):
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        found |= {option for spec in specs.values() for option in spec["options"]}
    return found


@pytest.mark.parametrize("command", [one for one in of("ansible-playbook") if "holdfast.ha." in one.text], ids=lambda command: command.text)
def test_playbook_is_there_and_reads_these_variables(command: Command) -> None:
    words = command.words
    (name,) = (word.removeprefix("holdfast.ha.") for word in words if word.startswith("holdfast.ha."))
    playbook = ROOT / "playbooks" / f"{name}.yml"
    assert playbook.is_file()
    read = options_of(playbook)
    for index, word in enumerate(words):
        if word in ("-e", "--extra-vars") and not words[index + 1].startswith("@"):
            given = words[index + 1]
            names = json.loads(given) if given.startswith("{") else [given.partition("=")[0]]
            for variable in names:
                assert variable in read, f"{name} does not read {variable}"
    PlaybookCLI(words).parse()  # exits for a flag that there is not; the playbooks' syntax is looked at by test_automation.py


def test_every_playbook_that_is_mentioned_exists() -> None:
    there = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    for path in MENTIONS:
        for name in re.findall(r"ansible-playbook [^`\n]*?holdfast\.ha\.(\w+)", path.read_text(encoding="utf-8")):
            assert name in there, f"{path.name} names the playbook {name}"


def test_every_playbook_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - set(re.findall(r"(?m)^\|.*?`holdfast\.ha\.(\w+)`", text)) == {"uninstall"}
    assert "`holdfast.ha.install`, `holdfast.ha.uninstall` |" in text  # one row for both


def test_every_guide_is_in_the_readme() -> None:
    linked = re.findall(r"\]\(docs/docsite/rst/(\w+)\.rst\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {path.stem for path in GUIDES.glob("*.rst")} == set(linked)


# --- every command is run ------------------------------------------------------------------------------------------------


def test_every_command_is_run_by_a_test_or_excused() -> None:
    """A new one fails here until a test runs it, or a reason is given in harness/guides.py."""
    told = {one.text for path in FOR_USERS for one in commands_of(path)} - {"make demo", "make test", "make test-all"}
    run = [text for texts in RUN.values() for text in texts]
    assert len(run) == len(set(run))
    assert told - set(run) - set(EXCUSED) == set(), "neither run nor excused"
    assert (set(run) | set(EXCUSED)) - told == set(), "no text tells these any more"
    assert set(run) & set(EXCUSED) == set()
    assert all(EXCUSED.values())


@pytest.mark.parametrize("test", RUN)
def test_test_that_runs_commands_exists(test: str) -> None:
    path, _colons, name = test.partition("::")
    assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", of("holdfast"), ids=lambda command: command.text)
def test_holdfast_takes_these_words(command: Command) -> None:
    filled = {"TAG": "web", "INTERFACE": "eth1", "NODE": "node-b", "SECONDS": "60"}
    words = [filled.get(word.strip("[]"), word.strip("[]")) for word in command.words[1:] if word not in ("…", "...")]
    wrong = ""
    try:
        parser().parse_args(words)
    except Usage as error:
        wrong = str(error)
    assert not wrong or "required" in wrong  # to mention the command without its tag is fine; a wrong word is not


@pytest.mark.parametrize("command", [one for one in of("lkipbu") if one.words[1:2]], ids=lambda command: command.text)
def test_lkipbu_takes_these_words(command: Command) -> None:
    flags = [word for word in command.words[1:] if word.startswith("-")]
    if len(command.words) > 2:
        parse_lkipbu(command.words[1:])
    assert set(flags) <= {"-a", "-r", "-m", "-s", "-t", "-f", "-d"}


@pytest.mark.parametrize("command", of("make", ".venv/bin/nox"), ids=lambda command: command.text)
def test_door_or_gate_exists(command: Command) -> None:
    words = command.words
    if words[0] == "make":
        targets = re.findall(r"(?m)^([\w -]+):", (ROOT / "Makefile").read_text())
        assert words[1] in " ".join(targets).split()
        return
    named = [words[index + 1] for index, word in enumerate(words) if word == "-s"]
    sessions = set(re.findall(r'name="([\w-]+)"', (ROOT / "noxfile.py").read_text())) | set(
        re.findall(r"(?m)^def (\w+)\(session", (ROOT / "noxfile.py").read_text())
    )
    settings = configparser.ConfigParser(strict=False, allow_no_value=True)
    settings.read_string("\n".join(line for line in (ROOT / "antsibull-nox.toml").read_text().splitlines() if line.startswith("[sessions")))
    sessions |= {name.removeprefix("sessions.").replace("_", "-") for name in settings.sections()}
    assert set(named) - {"NAME"} <= sessions


@pytest.mark.parametrize("command", [one for one in of("ansible") if "holdfast.ha." in one.text], ids=lambda command: command.text)
def test_module_takes_these_options(command: Command) -> None:
    words = command.words
    module = words[words.index("-m") + 1].removeprefix("holdfast.ha.")
    text = (ROOT / f"plugins/modules/{module}.py").read_text()
    assert set(parse_kv(words[words.index("-a") + 1])) <= set(re.findall(r"(?m)^  (\w+):", text)) | {"store"}


def examples() -> list[tuple[str, dict[str, Any]]]:
    """The YAML examples that set variables of ours: where, and the variables."""
    found = []
    for path in TEXTS:
        for block in blocks(path, "yaml"):
            content = yaml.safe_load(block)
            if isinstance(content, dict):
                content = content.get("all", {}).get("vars", content)
                if any(str(name).startswith(("holdfast_", "monitor_")) for name in content):
                    found.append((path.name, content))
    return found


def test_examples_are_found() -> None:
    assert len(examples()) >= 6


@pytest.mark.parametrize(("where", "variables"), examples(), ids=lambda value: value if isinstance(value, str) else "")
def test_example_is_valid(where: str, variables: dict[str, Any]) -> None:
    for index, resource in enumerate(variables.get("holdfast_resources", ())):
        parse(resource, f"{where}[{index}]")
    if "holdfast_store" in variables:
        parse_store(variables["holdfast_store"], where)
    checker = {"cluster": "web-prod", "node": "node-a", "store": {"type": "none"}}
    for name in ("triggers", "checks", "timing"):
        if f"monitor_{name}" in variables:
            checker[name] = variables[f"monitor_{name}"]
    parse_config(checker, where)


def test_timing_table_is_that_of_the_code() -> None:
    text = (GUIDES / "tuning.rst").read_text()
    for name, timing in PROFILES.items():
        values = [timing.ttl, timing.renew, timing.call, timing.margin, timing.poll]
        row = re.search(rf"\* - ``{name}``\n((?:     - .*\n)+)", text)
        assert row, name
        assert [line.strip(" -\n") for line in row[1].splitlines()][:5] == [f"{value:g} s" for value in values]


def specified() -> set[str]:
    """Every variable that a user may set: those of the roles' specifications that the playbooks do not set themselves, and the playbooks' own."""
    found = set()
    for role in (ROOT / "roles").iterdir():
        specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
        found |= {option for spec in specs.values() for option in spec["options"] if option.startswith(("holdfast_", "monitor_"))}
    found |= {name for path in (ROOT / "playbooks").glob("*.yml") for name in re.findall(r"\b(?:holdfast|monitor_remote)_\w+", path.read_text())}
    internal = {
        "holdfast_armed_socket",
        "holdfast_reason",
        "holdfast_faults",
        "holdfast_expired",
        "holdfast_fresh",
        "holdfast_first",
        "holdfast_last",
    }
    return found - internal


def test_every_variable_is_in_the_guide_and_no_other() -> None:
    text = (GUIDES / "variables.rst").read_text()
    named = set(re.findall(r"``((?:holdfast|monitor)_\w+)``", text))
    assert named == specified()
    given = re.search(r"(?s)What is given with.*?(?=\n-{5,}\n).*?\n(.*?)\nWhat the installation reads", text)
    assert given
    asked = {name for row in re.findall(r"(?m)^   \* - (.*)$", given[1]) for name in re.findall(r"``(\w+)``", row)}
    read = {name for path in (ROOT / "playbooks").glob("*.yml") for name in options_of(path)}
    assert asked <= read
    assert {"tag", "to", "state", "operation", "interface", "report", "report_on", "report_events", "report_lines", "local_recovery_tags"} <= asked


def test_every_variable_of_the_monitor_that_is_named_exists() -> None:
    named = {name for path in TEXTS for name in re.findall(r"\bmonitor_\w+", path.read_text(encoding="utf-8"))}
    assert len(named) > 4
    assert named <= specified()


def policy_of(path: Path) -> dict[str, Any]:
    shown = (json.loads(block) for block in blocks(path, "json"))
    policy: dict[str, Any] = next(content for content in shown if "Statement" in content)
    return policy


def rights(policy: dict[str, Any]) -> set[str]:
    return {action for part in policy["Statement"] for action in part["Action"]}


def printed(folder: Path, **variables: Any) -> dict[str, Any]:
    """What prepare_aws prints, with nothing asked of AWS."""
    (play,) = yaml.safe_load((ROOT / "playbooks/prepare_aws.yml").read_text())
    answer = folder / "policy.json"
    play["tasks"] = [{"ansible.builtin.copy": {"content": "{{ prepare_aws_policy | to_json }}", "dest": str(answer), "mode": "0600"}}]
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    store = {"type": "dynamodb", "table": "holdfast"}
    given = json.dumps({"holdfast_store": store, "ansible_python_interpreter": sys.executable, **variables})
    argv = [_tool("ansible-playbook"), "-i", "localhost,", "-e", given, str(folder / "play.yml")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "ANSIBLE_COLLECTIONS_PATH": str(TREE)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    policy: dict[str, Any] = json.loads(answer.read_text())
    return policy


def test_one_policy_in_readme_and_guide_and_playbook_and_lab(tmp_path: Path) -> None:
    shown = policy_of(ROOT / "README.md")
    assert shown == policy_of(GUIDES / "iam.rst")
    here = {"region": "eu-central-1"}
    store = {"type": "dynamodb", "table": "holdfast", **here}
    basic = printed(tmp_path, holdfast_cluster="web-prod", holdfast_aws=here, holdfast_store=store)
    for policy in (shown, basic):
        for part in policy["Statement"]:
            part["Action"] = sorted(part["Action"])
    assert shown == basic
    special = {"fence": "stop_instance", "ec2": {"route_tables": "all", "elastic_ip": "203.0.113.5", "missing": "create"}}
    most = rights(printed(tmp_path, holdfast_resources=[special], holdfast_instances={"node-a": "i-0123456789abcdef0"}))
    assert most == rights(NODE_RIGHTS)
    role = {"ec2": {"role_arn": "arn:aws:iam::111122223333:role/network"}}
    more = (most | rights(printed(tmp_path, holdfast_resources=[role]))) - rights(shown)
    assert more == {"ec2:CreateRoute", "ec2:StopInstances", "ec2:DescribeInstances", "sts:AssumeRole"}
    for path in (ROOT / "README.md", GUIDES / "iam.rst"):
        assert more <= set(re.findall(r"`(\w+:\w+)`", path.read_text(encoding="utf-8"))), path.name


def messages() -> list[str]:
    titles = re.findall(r"(?m)^``(.+)``$", (GUIDES / "troubleshooting.rst").read_text())
    return [message for title in titles for message in title.split("``, ``")]


@pytest.mark.parametrize("message", messages())
def test_message_is_one_of_ours(message: str) -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("plugins", "roles", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yml")
    )
    flat = " ".join(re.sub(r'"\s*\n\s*f?"', "", sources).split())
    parts = re.split(r"\s*…\s*", message)
    for part in parts:
        assert part in flat, f"nothing prints {part!r}"
    told = max((part for part in parts), key=len)
    assert len(told.split()) >= 2, "too few words to know the message by"
    if len(told.split()) < 4:  # few words: printed as such, and not by chance in a comment
        assert re.search(rf"[\"'{{}}][^\"\n]*{re.escape(told)}", sources), f"nothing prints {told!r}"


def test_messages_are_found() -> None:
    assert len(messages()) > 15


def test_quick_start_builds_and_installs_and_works_from_there(tmp_path: Path) -> None:
    """The first commands of README and guide, word for word but for the folders; then the installed collection is asked for its documentation."""
    if not (ROOT / ".tree").exists():
        pytest.skip("this is a copy without what the build leaves out")
    wanted = RUN["unit/test_guides.py::test_quick_start_builds_and_installs_and_works_from_there"]
    guides = (ROOT / "README.md", GUIDES / "first_cluster.rst", GUIDES / "automation.rst")
    told = {path.name: [one.text for one in commands_of(path) if one.text in wanted and not one.text.startswith("ansible-doc")] for path in guides}
    assert told["README.md"][:4] == told["first_cluster.rst"] == list(wanted[:4])
    asked = [text for text in wanted if text.startswith("ansible-doc")]
    assert {*told["README.md"], *told["automation.rst"], *asked} == set(wanted)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    source = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    _tool("ansible-galaxy")
    typed = ["set -e", *told["README.md"], "command -v python", *told["automation.rst"]]
    done = subprocess.run(["bash", "-c", "\n".join(typed)], cwd=source, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tmp_path}/holdfast/bin/python" in done.stdout
    assert (source / "docs/examples/holdfast-ha-0.1.0.tar.gz").is_file()

    with tarfile.open(source / "holdfast-ha-0.1.0.tar.gz") as archive:
        names = {name for name in archive.getnames() if (source / name).is_file()}
    tops = {name.split("/")[0] for name in names}
    assert {"README.md", "LICENSE", "meta", "plugins", "roles", "playbooks", "extensions", "docs"} <= tops
    assert not tops & {"tests", "noxfile.py", "Makefile", "CONTRIBUTING.md", ".gitignore", ".nox", ".venv", ".tree"}
    assert {"extensions/eda/rulebooks/holdfast.yml", "extensions/aap/controller.yml", "docs/examples/execution-environment.yml"} <= names

    pointed = {
        (path, link) for path in names if path.endswith(".md") for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", (source / path).read_text())
    }
    assert len(pointed) > 10
    assert [(path, link) for path, link in pointed if os.path.normpath(Path(path).parent / link) not in names] == [], "links to what is not shipped"
    missing = re.compile(r"`(?:changelogs/fragments|CONTRIBUTING\.md|\.venv/[^`]*)`|\bnox -")
    assert [path for path in names if path.endswith((".md", ".rst")) and missing.search((source / path).read_text())] == []

    elsewhere = {**environment, "PATH": f"{tmp_path}/holdfast/bin:{environment['PATH']}"}
    for text in asked:
        shown = subprocess.run(shlex.split(text), cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        assert str(tmp_path / ".ansible/collections") in shown.stdout, text


def _tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not in this environment")
    return str(path)
