# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the sessions of noxfile.py side by side, one for each processor, and prints a line for each: its result and its time.

The output of a session is shown only if it fails.

usage: python -m harness.gates [--all | --rest]
  --all    also the sessions that are tagged ``all``
  --rest   those alone
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: The sessions that take longest start first, so that none is left alone at the end.
_LONGEST = ("ansible-test-sanity", "ansible-test", "build-import-check", "ansible-lint", "eda")
_OPTIONS = ("--reuse-venv", "yes", "--no-install", "--non-interactive", "--error-on-missing-interpreters")


@dataclass(frozen=True)
class Gate:
    """How a session ended. ``seconds``: how long it took."""

    name: str
    passed: bool
    seconds: float
    output: str


def in_order(names: Iterable[str]) -> list[str]:
    """The sessions, the longest first. Pure."""
    rank = {name: next((place for place, prefix in enumerate(_LONGEST) if name.startswith(prefix)), len(_LONGEST)) for name in names}
    return sorted(rank, key=lambda name: (rank[name], name))


def main(argv: list[str]) -> int:
    """0 if every session passed, 1 if one failed."""
    listed = ([] if "--rest" in argv else _list()) + (_list("--tags", "all") if argv else [])
    for one in listed:
        if not _has_python(one):
            print(f"gate {one['session']}: left out, since this machine has no Python {one['python']}", flush=True)
    names = in_order(one["session"] for one in listed if _has_python(one))
    begin, failed = time.monotonic(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, job in enumerate(as_completed([pool.submit(_run, name) for name in names]), 1):
            gate = job.result()
            print(f"gate {number:2} of {len(names)}: {gate.name} {'passed' if gate.passed else 'FAILED'} after {gate.seconds:.0f} s", flush=True)
            if not gate.passed:
                failed.append(gate.name)
                print(gate.output, flush=True)
    print(f"gates: {len(names) - len(failed)} passed, {len(failed)} failed in {time.monotonic() - begin:.0f} s", flush=True)
    for name in failed:
        print(f"gates: {name} failed, see its output above. Run it again with: .venv/bin/nox -R -s '{name}'", flush=True)
    return 1 if failed else 0


def _nox(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("nox")), *words]


def _list(*words: str) -> list[dict[str, Any]]:
    """The sessions that nox would run with these words."""
    done = subprocess.run(_nox(*words, "--list-sessions", "--json"), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"gates: nox cannot list its sessions: {done.stderr.strip()}")
    return [one for one in json.loads(done.stdout) if not one["description"].startswith("Meta session")]  # those start others of the list


def _has_python(session: Mapping[str, Any]) -> bool:
    """Whether the Python that the session names is here, and works."""
    if not session["python"]:
        return True
    found = shutil.which(f"python{session['python']}")
    return found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0


def _run(name: str) -> Gate:
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryDirectory(prefix="holdfast-") as home:
        # Each has a folder of Ansible's own: at its end, ansible-lint removes there what another one, in another session, still needs.
        environment = {**os.environ, "ANSIBLE_HOME": home}
        command = _nox(*_OPTIONS, "--session", name)
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False)
        output.seek(0)
        return Gate(name, done.returncode == 0, time.monotonic() - begin, output.read())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
