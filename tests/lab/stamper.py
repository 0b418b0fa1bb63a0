# SPDX-License-Identifier: GPL-3.0-or-later
"""A dependent that can be watched: while it runs, it appends ``NODE SERIAL TIME`` to a file every 50 ms. Run as a program by `lab.dependents`.

Usage: ``stamper.py FILE NODE SERIAL``. TIME is CLOCK_MONOTONIC in seconds, which all namespaces of a machine share. The program ends when its
standard input is closed, so it does not outlive the test. Standard library only and started with ``-I -S``.
"""

from __future__ import annotations

import os
import select
import sys
import time

INTERVAL = 0.05


def main(path: str, node: str, serial: str) -> None:
    """Append a line at each interval until standard input is closed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        os.write(file, f"{node} {serial} {time.monotonic():.6f}\n".encode())  # one write: lines of two nodes never mix
        if select.select([sys.stdin], [], [], INTERVAL)[0]:
            return


if __name__ == "__main__":
    main(*sys.argv[1:4])
