# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of the lab: nodes with two network interfaces, metadata, a service and, if asked, sshd; and plain clients."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lab import forwarding, responder
from lab.imds import Identity, Imds, Issue
from lab.netns import Namespace
from lab.place import Machine
from lab.ssh import Keys, start_sshd
from lab.view import VpcView

#: As Debian sets it. All else is the kernel's default, and what the role `monitor` sets.
DEBIAN = {"net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.default.rp_filter": "2"}
_ROLE = Path(__file__).resolve().parents[2] / "roles/monitor/files/60-holdfast.conf"
_RESPONDER = Path(responder.__file__)


class Node:
    """One machine: a namespace, its place in the VPC, and what runs on it. Make it and start things from a thread that lasts.

    :param place: Its instance and interfaces, as the control plane made them.
    :param environment: What its programs find in their environment beside PATH and HOME.
    """

    @staticmethod
    def settings() -> dict[str, str]:
        """The switches of the kernel, as on a node where the role `monitor` was applied."""
        lines = [line.partition("=") for line in _ROLE.read_text().splitlines() if not line.startswith("#")]
        return {**DEBIAN, **{name.strip(): value.strip() for name, _equals, value in lines}}

    def __init__(self, namespace: Namespace, place: Machine, environment: Mapping[str, str], folder: Path) -> None:
        self.namespace, self.place, self.folder = namespace, place, folder
        self.name = place.name
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        self.environment = {**kept, "PATH": path, **environment}
        self.imds: Imds | None = None
        self._running: dict[str, subprocess.Popen[str]] = {}
        namespace.sysctl(self.settings())

    def configure(self) -> None:
        """Links, addresses and default routes as a cloud image makes them: the first interface preferred by its metric. Safe to repeat."""
        lines = []
        for number, interface in enumerate(self.place.interfaces):
            link, metric = interface.link, 100 * (number + 1)
            prefix_length = interface.cidr.partition("/")[2]
            lines += [
                f"link set {link} up",
                f"addr replace {interface.address}/{prefix_length} dev {link} metric {metric}",
                f"addr replace {interface.ipv6_address}/128 dev {link} metric {metric} nodad",
                f"route replace 0.0.0.0/0 via {forwarding.router_address(interface.cidr)} dev {link} metric {metric}",
                f"route replace ::/0 via {forwarding.ROUTER6} dev {link} metric {metric}",
            ]
        self.namespace.batch(lines)

    def start_metadata(self, identity: Identity, view: Callable[[], VpcView], issue: Issue) -> None:
        """Serve instance metadata at its well-known address."""
        self.imds = Imds(identity, view, issue)
        self.imds.listen(self.namespace)

    def start_service(self) -> None:
        """Run the service (`lab.responder`) on every address of this machine."""
        argv = (sys.executable, "-I", "-S", str(_RESPONDER), self.name, str(self._epoch_file), str(responder.PORT))
        process = self._running["service"] = self.namespace.spawn(*argv)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the service on {self.name} did not start")

    def stop_service(self) -> None:
        """End the service, as a crash would."""
        self._end("service")

    def start_sshd(self, keys: Keys) -> None:
        """Let root in over SSH with the client's key; programs find the environment of `run`."""
        self._running["sshd"] = start_sshd(self.namespace, keys, {name: value for name, value in self.environment.items() if name.startswith("AWS_")})

    @property
    def _epoch_file(self) -> Path:
        return self.folder / f"{self.name}.epoch"

    def set_epoch(self, epoch: int) -> None:
        """What the service answers beside its node's name, from the next ask on."""
        fresh = self._epoch_file.with_suffix(".new")
        fresh.write_text(str(epoch))
        fresh.replace(self._epoch_file)

    def run(self, *argv: str, check: bool = True, input: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program on this machine with its environment."""
        return self.namespace.run(*argv, check=check, input=input, timeout=timeout, env=self.environment)

    def hold(self, address: str, link: str) -> None:
        """Put an address (CIDR) on a link, as recovery would."""
        self.namespace.ip(f"addr replace {address} dev {link}" + (" preferred_lft 0 nodad" if ":" in address else ""))

    def drop(self, address: str) -> list[str]:
        """Take an address off every link that has it, whatever its prefix length; returns those links."""
        links = []
        for link, held in self.addresses():
            if held.partition("/")[0] == address.partition("/")[0]:
                self.namespace.ip(f"addr del {held} dev {link}")
                links.append(link)
        return links

    def addresses(self) -> list[tuple[str, str]]:
        """(link, CIDR) of every address on this machine that others could reach."""
        words = (line.split() for line in self.namespace.ip("-o addr show scope global").splitlines())
        return [(line[1], line[3]) for line in words]

    def stop(self) -> None:
        """End what runs here, and the machine."""
        if self.imds is not None:
            self.imds.stop()
        for name in list(self._running):
            self._end(name)
        self.namespace.stop()

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
