# SPDX-License-Identifier: GPL-3.0-or-later
"""Python 3.9, the oldest that the modules support, with the libraries of its time: that of Debian 11, on this machine's files.

RHEL 9 and Amazon Linux 2023 have the same version. Nothing boots: the programs below are Python for a process whose /usr is Debian 11's, with its
`ip` too. All else, such as the network, /etc, /run and the collection, is what the caller has.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import ansible

from lab.booted import image

_SUITE, _PACKAGES = "bullseye", ("iproute2", "python3-boto3", "python3-netaddr")
#: $0: the system's /usr.
_SCRIPT = """\
#!/bin/sh
{settings}exec unshare --mount sh -c '
mount --make-rprivate / && mount --bind "$0" /usr && mount -o remount,bind,ro /usr && exec /usr/bin/python3 "$@"' '{usr}' "$@"
"""


@dataclass(frozen=True)
class Python39:
    """Programs. ``plain``: for Ansible, which brings its own part along. ``with_ansible``: finds Ansible's part of modules in its path."""

    plain: Path
    with_ansible: Path


def why_not() -> str:
    """Why there is none here, in a line; empty where it can be made."""
    if os.geteuid() != 0:
        return "the modules on Python 3.9 need root"
    if shutil.which("debootstrap") is None:
        return "the modules on Python 3.9 need Debian's package debootstrap, which installs Debian 11"
    return "" if Path("/lib").is_symlink() else "the modules on Python 3.9 need a machine that has all programs in /usr, as Debian 12"


def make(folder: Path) -> Python39:
    """Write the programs into an empty folder. The system is installed where it is not there yet, in half a minute. Raises `LabError`."""
    part = folder / "lib/ansible"  # what AnsiballZ has too; the rest of Ansible needs a newer Python
    part.mkdir(parents=True)
    for name in ("module_utils", "release.py"):
        (part / name).symlink_to(Path(ansible.__file__).with_name(name))
    (part / "__init__.py").touch()
    usr = image(_SUITE, _PACKAGES) / "usr"
    made = Python39(folder / "python3.9", folder / "python3.9-with-ansible")
    for program, settings in ((made.plain, ""), (made.with_ansible, f'export PYTHONPATH="$PYTHONPATH:{part.parent}"\n')):
        program.write_text(_SCRIPT.format(settings=settings, usr=usr), encoding="utf-8")
        program.chmod(0o755)
    return made
