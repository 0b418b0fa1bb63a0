# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd in a node, with keys that live as long as the lab."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.netns import Namespace
from lab.waiting import until

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Keys:
    """Files in ``folder``: a key of the hosts, and one that every node lets in as root."""

    folder: Path

    @property
    def host(self) -> Path:
        """The nodes' private host key."""
        return self.folder / "host_key"

    @property
    def client(self) -> Path:
        """The private key of whoever may log in."""
        return self.folder / "client_key"

    @property
    def known_hosts(self) -> Path:
        """Every node's host key, whatever its address."""
        return self.folder / "known_hosts"

    def make(self) -> Keys:
        """Make them, once."""
        for key in (self.host, self.client):
            if not key.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key)], check=True)
        self.known_hosts.write_text(f"* {self.host.with_suffix('.pub').read_text()}")
        return self

    def client_options(self) -> list[str]:
        """Options for ``ssh`` that trust these keys and nothing else."""
        settings = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.known_hosts}", "IdentitiesOnly=yes", "PasswordAuthentication=no"]
        return ["-F", "/dev/null", "-i", str(self.client), *(word for one in settings for word in ("-o", one))]

    def inventory(self, hosts: Mapping[str, str], interpreter: str = sys.executable) -> dict[str, Any]:
        """An Ansible inventory of hosts by name and address. ``interpreter``: their Python."""
        shared = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.client),
            "ansible_ssh_common_args": " ".join(self.client_options()),
            "ansible_control_path_dir": str(self.folder / "cp"),  # labs side by side have the same addresses
            "ansible_python_interpreter": interpreter,
        }
        return {"all": {"hosts": {name: {"ansible_host": address} for name, address in hosts.items()}, "vars": shared}}


def start_sshd(node: Namespace, keys: Keys, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Run sshd on port 22 of a node; logins get ``environment`` and this Python's folder first in their PATH. Returns once it answers."""
    path = f"{os.path.dirname(sys.executable)}:{_PATH}"
    given = " ".join(f'"{name}={value}"' for name, value in {**environment, "PATH": path}.items())
    lines = {
        "HostKey": str(keys.host),
        "AuthorizedKeysFile": str(keys.client.with_suffix(".pub")),
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "UseDNS": "no",
        "StrictModes": "no",
        "PidFile": "none",
        "PrintMotd": "no",
        "MaxStartups": "100",
        "Subsystem": "sftp internal-sftp",
        "SetEnv": given,
    }
    config = keys.folder / f"sshd_config.{node.name}"
    config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    node.run("mkdir", "-p", "-m", "0755", "/run/sshd")
    log = keys.folder / f"sshd.{node.name}.log"
    process = node.spawn("/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(log), stdout=None)
    until(lambda: _answers(node), 5, f"sshd on {node.name} did not start; see {log}")
    return process


def _answers(node: Namespace) -> bool:
    with node.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 22)) == 0
