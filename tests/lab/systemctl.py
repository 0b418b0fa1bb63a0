# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for `systemctl` on a node without systemd: hands its arguments to `lab.dependents.Units`, and prints the answer.

Usage: ``systemctl.py SOCKET ARGUMENTS...``. Standard library only and started with ``-I -S``.
"""

from __future__ import annotations

import json
import socket
import sys


def main(path: str, words: list[str]) -> int:
    """The exit code of the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(path)
        line.sendall(json.dumps(words).encode() + b"\n")
        with line.makefile("rb") as file:
            code, out, error = json.loads(file.readline())
    sys.stdout.write(out)
    sys.stderr.write(error)
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
