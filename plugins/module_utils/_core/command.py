# SPDX-License-Identifier: GPL-3.0-or-later
"""How the core starts programs: through a function that it is given, so that modules, checker and tests each bring their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed


@dataclass(frozen=True)
class Completed:
    """What a program left behind."""

    rc: int
    stdout: str
    stderr: str


#: Runs a program given as an argument list, never through a shell, in the C locale.
Runner = Callable[[Sequence[str]], Completed]


def checked(run: Runner, argv: Sequence[str]) -> str:
    """The program's standard output; `CommandFailed` when it reports failure or is not installed."""
    done = run(argv)
    if done.rc != 0:
        cause = (done.stderr or done.stdout).strip().splitlines()
        raise CommandFailed(
            f"`{' '.join(argv)}` failed: {cause[-1] if cause else f'exit code {done.rc}'}", argv=list(argv), rc=done.rc, stderr=done.stderr
        )
    return done.stdout


#: Seconds; no program that the core starts takes nearly as long.
_LIMIT = 20.0


def run_command(argv: Sequence[str], limit: float = _LIMIT) -> Completed:
    """Run a program of this host in the C locale, for at most ``limit`` seconds (`_core.command.Runner`)."""
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=limit, env=environment
        )
    except OSError as error:
        return Completed(127, "", f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Completed(124, "", f"{argv[0]} did not end within {limit:g} s")
    return Completed(done.returncode, done.stdout, done.stderr)
