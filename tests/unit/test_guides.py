# SPDX-License-Identifier: GPL-3.0-or-later
"""README, guides and comments: every command that they name exists and takes those words, every example is valid, every message is real."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI

from ansible_collections.holdfast.ha.plugins.module_utils._checker.cli import parser
from ansible_collections.holdfast.ha.plugins.module_utils._checker.cli_lkipbu import Usage, parse_lkipbu
from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs/docsite/rst"
TEXTS = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(GUIDES.glob("*.rst")), *sorted((ROOT / "roles").glob("*/README.md")))
    if path.exists()
]
#: Also looked through for playbooks that are named somewhere in a line.
MENTIONS = [*TEXTS, *sorted((ROOT / "extensions").rglob("*.yml")), *sorted((ROOT / "playbooks").glob("*.yml"))]
#: Programs of others, whose words are not looked at.
FOREIGN = {"pip", "sudo", "ansible-doc", "ansible-galaxy", "ansible-builder", "ansible-rulebook", "promtool", "systemctl", "journalctl", "ip", "pcs"}
OURS = {"ansible-playbook", "ansible", "holdfast", "lkipbu", "make", ".venv/bin/nox", ".venv/bin/pytest", ".venv/bin/ruff", "tests/holdfast-lab"}


@dataclass(frozen=True)
class Command:
    """One that a reader is told to run."""

    where: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def blocks(path: Path, *kinds: str) -> Iterator[str]:
    """The code blocks of these kinds."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from re.findall(rf"(?ms)^```(?:{'|'.join(kinds)})\n(.*?)^```", text)
        return
    for found in re.finditer(rf"(?m)^( *)\.\. code-block:: (?:{'|'.join(kinds)})\n\n((?:\1   .*\n|\n)+)", text):
        yield re.sub(rf"(?m)^{found[1]}   ", "", found[2])


def commands() -> list[Command]:
    found = []
    for path in TEXTS:
        for block in blocks(path, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if path.suffix == ".rst" and not line.startswith("$ "):
                    continue
                if line.strip():
                    found.append(Command(path.name, line.removeprefix("$ ").strip()))
        found += [Command(path.name, text) for text in re.findall(r"`+((?:holdfast|lkipbu|make) [^`]+)`+", path.read_text(encoding="utf-8"))]
    return sorted({command.text: command for command in found}.values(), key=lambda command: command.text)


def of(*programs: str) -> list[Command]:
    return [command for command in commands() if command.words[0] in programs]


def test_commands_are_found_and_their_programs_known() -> None:
    assert len(of("ansible-playbook")) > 10
    assert len(of("holdfast")) >= 5
    unknown = [command for command in commands() if command.words[0] not in FOREIGN | OURS and "=" not in command.words[0]]
    assert unknown == []


@pytest.mark.parametrize("command", [one for one in of("ansible-playbook") if "holdfast.ha." in one.text], ids=lambda command: command.text)
def test_playbook_is_there_and_reads_these_variables(command: Command) -> None:
    words = command.words
    (name,) = (word.removeprefix("holdfast.ha.") for word in words if word.startswith("holdfast.ha."))
    playbook = ROOT / "playbooks" / f"{name}.yml"
    assert playbook.is_file()
    roles = set(re.findall(r"name: holdfast\.ha\.(\w+)", playbook.read_text()))
    read = playbook.read_text() + "".join(
        path.read_text()
        for role in roles
        for path in (ROOT / "roles" / role).rglob("*.yml")
        if path.parent.name in ("tasks", "defaults", "vars", "meta")
    )
    for index, word in enumerate(words):
        if word in ("-e", "--extra-vars") and not words[index + 1].startswith("@"):
            given = words[index + 1]
            names = json.loads(given) if given.startswith("{") else [given.partition("=")[0]]
            for variable in names:
                assert re.search(rf"\b{variable}\b", read), f"{name} does not read {variable}"
    PlaybookCLI(words).parse()  # exits for a flag that there is not; the playbooks' syntax is looked at by test_automation.py


def test_every_playbook_that_is_mentioned_exists() -> None:
    there = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    for path in MENTIONS:
        for name in re.findall(r"ansible-playbook [^`\n]*?holdfast\.ha\.(\w+)", path.read_text(encoding="utf-8")):
            assert name in there, f"{path.name} names the playbook {name}"


def test_every_playbook_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - set(re.findall(r"holdfast\.ha\.(\w+)", text)) - {"dependents"} == set()


@pytest.mark.parametrize("command", of("holdfast"), ids=lambda command: command.text)
def test_holdfast_takes_these_words(command: Command) -> None:
    words = [word.strip("[]") for word in command.words[1:] if word not in ("…", "...")]
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
        targets = re.findall(r"(?m)^([\w ]+):", (ROOT / "Makefile").read_text())
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


@pytest.mark.parametrize("command", [one for one in of("ansible") if "-m" in one.words], ids=lambda command: command.text)
def test_module_takes_these_options(command: Command) -> None:
    words = command.words
    module = words[words.index("-m") + 1].removeprefix("holdfast.ha.")
    text = (ROOT / f"plugins/modules/{module}.py").read_text()
    assert set(json.loads(words[words.index("-a") + 1])) <= set(re.findall(r"(?m)^  (\w+):", text)) | {"store"}


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


def test_every_variable_of_the_monitor_that_is_named_exists() -> None:
    known = set(yaml.safe_load((ROOT / "roles/monitor/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"])
    named = {name for path in TEXTS for name in re.findall(r"\bmonitor_\w+", path.read_text(encoding="utf-8"))}
    assert len(named) > 4
    playbooks = "".join(path.read_text() for path in (ROOT / "playbooks").glob("*install.yml"))
    assert named <= known | set(re.findall(r"\bmonitor_\w+", playbooks))


def messages() -> list[str]:
    return re.findall(r"(?m)^``(.+)``$", (GUIDES / "troubleshooting.rst").read_text())


@pytest.mark.parametrize("message", messages())
def test_message_is_one_of_ours(message: str) -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("plugins", "roles", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yml")
    )
    flat = " ".join(re.sub(r'"\s*\n\s*f?"', "", sources).split())
    for part in re.split(r"\s*…\s*", message):
        assert part in flat, f"nothing prints {part!r}"


def test_messages_are_found() -> None:
    assert len(messages()) > 15


def test_quick_start_builds_and_installs_and_works_from_there(tmp_path: Path) -> None:
    """The first commands of README and guide, word for word but for the folders; then the installed collection is asked for its documentation."""
    if not (ROOT / ".tree").exists():
        pytest.skip("this is a copy without what the build leaves out")
    lines = [command.text for command in of("ansible-galaxy")]
    assert lines == ["ansible-galaxy collection build", "ansible-galaxy collection install holdfast-ha-0.1.0.tar.gz --offline"]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    source = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    for line in lines:
        subprocess.run([_tool("ansible-galaxy"), *shlex.split(line)[1:]], cwd=source, env=environment, check=True, capture_output=True)

    with tarfile.open(source / "holdfast-ha-0.1.0.tar.gz") as archive:
        names = {name for name in archive.getnames() if (source / name).is_file()}
    tops = {name.split("/")[0] for name in names}
    assert {"README.md", "LICENSE", "meta", "plugins", "roles", "playbooks", "extensions", "docs"} <= tops
    assert not tops & {"tests", "noxfile.py", "Makefile", "CONTRIBUTING.md", ".gitignore", ".nox", ".venv", ".tree"}
    assert {"extensions/eda/rulebooks/holdfast.yml", "extensions/aap/controller.yml", "docs/examples/execution-environment.yml"} <= names

    asked = subprocess.run(
        [_tool("ansible-doc"), "-t", "module", "holdfast.ha.lease"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert str(tmp_path / ".ansible/collections") in asked.stdout
    role = subprocess.run([_tool("ansible-doc"), "-t", "role", "holdfast.ha.failover"], env=environment, capture_output=True, text=True, check=True)
    assert "failover_tag" in role.stdout


def _tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not in this environment")
    return str(path)
