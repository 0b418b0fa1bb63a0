# SPDX-License-Identifier: GPL-3.0-or-later
"""How the core starts programs: through a function that it is given, so that modules, checker and tests each bring their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._errors import CommandFailed


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
