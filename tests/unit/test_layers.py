# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer rule (DESIGN.md section 2) and what every file owes, found by reading the files and never by running them."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
OURS = "ansible_collections.holdfast.ha.plugins.module_utils"

#: The files that decide: no I/O, no clock, no chance. What they import of ours is held to the same.
PURE = (
    "_core/model.py",
    "_core/errors.py",
    "_net/echo.py",
    "_net/probe_options.py",
    "*/plan*.py",
    "_ec2/arguments.py",
    "_resource/effective.py",
    "_resource/info.py",
    "_resource/probe_source.py",
    "_resource/schema.py",
    "_lease/rule*.py",
    "_lease/session*.py",
    "_lease/store.py",
    "_lifecycle/*.py",
    "_modules/failover_plan.py",
    "_control/protocol.py",
    "_checker/config_reader.py",
    "_checker/peers/channel.py",
    "_checker/peers/settings.py",
    "_checker/triggers/settings.py",
    "_cli/lkipbu.py",
)
#: The one file of the core that knows Ansible.
ADAPTER = "_core/run.py"
#: The packages of the core from the bottom to the top. None imports from one above it. Those of one line may import from each other.
ORDER = (
    {"_core"},
    {"_net", "_ec2", "_resource", "_lease"},
    {"_lifecycle"},
    {"_control"},
    {"_modules"},
    {"_checker"},
    {"_cli"},
)
#: Imports that run up, as (file, module), each with its reason. Remove a line once its import is gone.
RUNS_UP: dict[tuple[str, str], str] = {}

#: The parts of the standard library that reach outside of the process, read a clock or throw dice.
REACHES_OUT = frozenset(
    "asyncio builtins concurrent ctypes datetime fcntl ftplib getpass glob http imaplib importlib io logging mmap multiprocessing os pathlib "
    "platform poplib pwd queue random runpy sched secrets select selectors shutil signal smtplib socket socketserver sqlite3 ssl subprocess "
    "sys syslog tempfile threading time urllib.error urllib.request uuid".split()
)
CALLS_OUT = frozenset({"__import__", "compile", "eval", "exec", "input", "open", "print"})
#: Layers of ours that do I/O by their name, whatever they import.
OUTER_LAYERS = re.compile(
    r"\.(_core\.(command|http|poll|run)|apply|client|client_cache|cluster_pin|deadman|dynamodb|etcd\w*|frames|icmp|imds|keeper|observe|probe|server)(\.\w+)?$"
)


def imports(source: str) -> Iterator[str]:
    """The full names that a source text imports, anywhere in it; a relative import begins with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, packages: frozenset[str] | set[str]) -> bool:
    """Whether a name is one of these packages or lies inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def impure(source: str) -> list[str]:
    """What in this source text breaks the rule for the files that decide."""
    found = []
    for name in imports(source):
        top = name.split(".")[0]
        if name.startswith("."):
            found.append(f"relative import {name}")
        elif within(name, {OURS}):
            if OUTER_LAYERS.search(name.removeprefix(OURS)):
                found.append(f"imports {name}, an outer layer")
        elif top != "netaddr" and (top not in sys.stdlib_module_names or within(name, REACHES_OUT)):
            found.append(f"imports {name}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS_OUT:
            found.append(f"calls {node.func.id}()")
    return found


def file_of(name: str) -> Path | None:
    """The file of ours that an imported name stands for, if it is a module and not something inside one."""
    path = UTILS.joinpath(*name.removeprefix(OURS).split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if path != UTILS and file.is_file()), None)


def deciding_files() -> list[Path]:
    """The pure files, and those of ours that they lean on."""
    found: set[Path] = set()
    left = [path for pattern in PURE for path in UTILS.glob(pattern)]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [file for name in imports(path.read_text(encoding="utf-8")) if within(name, {OURS}) and (file := file_of(name))]
    return sorted(found)


@pytest.mark.parametrize("path", deciding_files(), ids=lambda path: str(path.relative_to(UTILS)))
def test_what_decides_does_no_io(path: Path) -> None:
    assert impure(path.read_text(encoding="utf-8")) == []


def test_the_files_that_decide_are_found() -> None:
    assert {"_core/model.py", "_core/errors.py", "_net/plan.py", "_ec2/plan.py", "_lifecycle/policy.py"} <= {
        str(path.relative_to(UTILS)) for path in deciding_files()
    }


def test_what_says_that_it_is_pure_is_held_to_it() -> None:
    says = {path for path in UTILS.rglob("*.py") if (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").endswith("Pure.")}
    assert says
    assert [str(path.relative_to(UTILS)) for path in says - set(deciding_files())] == []


def floor_of(name: str) -> int:
    """The place in `ORDER` of a package, by the name of a module or the path of a file."""
    package = re.split(r"[/.]", name)[0]
    return next(number for number, packages in enumerate(ORDER) if package in packages)


def running_up() -> set[tuple[str, str]]:
    """The imports of ours from a package above, as (file, module)."""
    found = set()
    for path in UTILS.glob("*/**/*.py"):
        file = str(path.relative_to(UTILS))
        for name in imports(path.read_text(encoding="utf-8")):
            module = name.removeprefix(OURS).lstrip(".")
            if within(name, {OURS}) and module and file_of(name) is not None and floor_of(module) > floor_of(file):
                found.add((file, module))
    return found


def test_no_package_of_the_core_imports_from_one_above_it() -> None:
    assert running_up() == set(RUNS_UP)


def test_every_package_of_the_core_has_its_place() -> None:
    assert {path.name for path in UTILS.iterdir() if path.is_dir() and path.name != "__pycache__"} == set().union(*ORDER)
    assert [path.name for path in UTILS.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import os.path",
        "from os import path",
        "import socket as s",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import time",
        "import boto3",
        "from ansible.module_utils.basic import AnsibleModule",
        "from . import observe",
        f"from {OURS}._net import observe",
        f"from {OURS}._net.apply import apply_all",
        f"import {OURS}._core.run",
        f"from {OURS}._core import command",
        f"from {OURS}._net.icmp import shared_echo",
        f"from {OURS}._net.probe import verify",
        "def hidden():\n    import subprocess",
        "text = open('/etc/hosts').read()",
    ],
)
def test_a_forbidden_line_is_caught(line: str) -> None:
    model = (UTILS / "_core/model.py").read_text(encoding="utf-8")
    assert impure(model) == []
    assert impure(f"{model}\n{line}\n") != []


@pytest.mark.parametrize("line", ["import urllib.parse", "import netaddr", "import ipaddress", f"from {OURS}._core.errors import BadInput"])
def test_a_harmless_line_passes(line: str) -> None:
    assert impure(line) == []


def test_only_the_adapter_knows_ansible() -> None:
    users = {
        str(path.relative_to(UTILS))
        for path in UTILS.rglob("*.py")
        if any(within(name, {"ansible"}) for name in imports(path.read_text(encoding="utf-8")))
    }
    assert users == {ADAPTER}


@pytest.mark.parametrize("path", sorted((ROOT / "plugins/modules").glob("*.py")), ids=lambda path: path.stem)
def test_a_module_leaves_the_work_to_the_core(path: Path) -> None:
    def allowed(name: str) -> bool:
        return within(name, {OURS}) or (name.split(".")[0] in sys.stdlib_module_names and not within(name, REACHES_OUT))

    assert [name for name in imports(path.read_text(encoding="utf-8")) if not allowed(name)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests/unit/plugins").rglob("*.py")), ids=lambda path: path.stem)
def test_a_test_of_the_core_runs_without_the_lab(path: Path) -> None:
    """ansible-test runs these in an environment in which only the collection can be imported."""
    lab = {"bench", "harness", "lab"}
    assert [name for name in imports(path.read_text(encoding="utf-8")) if within(name, lab)] == []


# --- what every file owes -------------------------------------------------------------------------------------------

#: Text that others wrote, and what a tool writes anew each time.
NOT_OURS = ("LICENSE", "LICENSES/", "CHANGELOG.rst", "changelogs/changelog.yaml")
WITH_LICENCE_LINE = {".cfg", ".in", ".j2", ".py", ".service", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
#: Folders of one person's machine, and hosts that a user's own settings choose.
NOWHERE_ELSE = re.compile(r"/(work|root|Users)/|/home/\w|/opt/(pypi|wheels)|\b(pypi\.org|pythonhosted\.org|deb\.debian\.org|npmjs\.(org|com))\b")


def tracked() -> list[Path]:
    """The files under version control; outside of a checkout, all that do not lie in a hidden folder."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [
            path for path in ROOT.rglob("*") if not any(part[0] == "." or part in ("__pycache__", "output") for part in path.relative_to(ROOT).parts)
        ]
    return [path for path in paths if path.is_file() and not str(path.relative_to(ROOT)).startswith(NOT_OURS)]


def test_every_file_names_its_licence() -> None:
    line = "SPDX-License-" + "Identifier: GPL-3.0-or-later"
    owing = [path for path in tracked() if path.suffix in WITH_LICENCE_LINE and path.stat().st_size]
    assert len(owing) > 20
    assert [
        str(path.relative_to(ROOT)) for path in owing if not any(line in first for first in path.read_text(encoding="utf-8").splitlines()[:2])
    ] == []


def test_no_file_names_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path != Path(__file__).resolve()
        for match in [NOWHERE_ELSE.search(path.read_text(encoding="utf-8", errors="replace"))]
        if match
    ]
    assert found == []


#: Comments that switch a check off.
SWITCHES_OFF = re.compile(r"#.*(\bnoqa\b|\bnosec\b|\btype: *ignore\b|\b(flake8|mypy|pylint|ruff): )", re.IGNORECASE)
#: Ansible's base classes have no types, and the checker starts programs without Ansible's help. Lower it with every comment that goes.
MOST_SWITCHED_OFF = 12


def switched_off(source: str) -> list[str]:
    """The comments in this source text that switch a check off, each with the number of its line."""
    words = tokenize.generate_tokens(io.StringIO(source).readline)
    return [f"{word.start[0]}: {word.string}" for word in words if word.type == tokenize.COMMENT and SWITCHES_OFF.match(word.string)]


@pytest.mark.parametrize("comment", ["# noqa", "# noqa: E402", "# type: ignore[misc]", "# type:ignore", "# ruff: noqa", "# mypy: ignore-errors"])
def test_a_comment_that_switches_a_check_off_is_found(comment: str) -> None:
    assert switched_off(f"import os  {comment}\n") == [f"1: {comment}"]
    assert switched_off(f"text = '{comment}'  # says no more\n") == []


def test_no_further_check_is_switched_off() -> None:
    python = [path for path in tracked() if path.suffix == ".py"]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in python for line in switched_off(path.read_text(encoding="utf-8"))]
    assert len(found) <= MOST_SWITCHED_OFF, "\n".join(["fix the code instead of adding to these:", *found])
