# SPDX-License-Identifier: GPL-3.0-or-later
"""How the checker and its command start programs of this host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ansible_collections.holdfast.ha.plugins.module_utils._command import Completed

#: Seconds; no program that the core starts takes nearly as long.
_LIMIT = 20.0


def run_command(argv: Sequence[str], limit: float = _LIMIT) -> Completed:
    """Run a program of this host in the C locale, for at most ``limit`` seconds (`_command.Runner`)."""
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
