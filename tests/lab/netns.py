# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that stand in for machines: network, mounts and host name of their own, gone with the process that made them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab import witness

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")
#: What runs in a namespace is killed with the thread that started it, so start it from one that lasts.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_PRIVATE = ("/etc/holdfast", "/var/lib/holdfast", "/run/holdfast", "/var/log/holdfast")


class Inside:
    """A way into the namespaces that the process ``pid`` holds open."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid = name, pid

    def command(self, argv: Sequence[str]) -> list[str]:
        """The argument list that runs ``argv`` inside."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--", *argv]

    def run(
        self, *argv: str, check: bool = True, input: str | None = None, timeout: float = 60, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside; with ``check``, its standard error is in the exception."""
        done = subprocess.run(self.command(argv), input=input, capture_output=True, text=True, timeout=timeout, env=env, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"in {self.name}: {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def ip(self, words: str) -> str:
        """``ip WORDS`` inside; returns what it prints."""
        return self.run("ip", *words.split()).stdout

    def batch(self, lines: Iterable[str], *, family: int = 4, force: bool = False) -> None:
        """Many ``ip`` commands in one process; stops at the first that fails unless ``force``. ``family``: of lines that do not tell."""
        text = "".join(f"{line}\n" for line in lines)
        if text:
            chosen = ["-6"] if family == 6 else []
            self.run("ip", *chosen, *(["-force"] if force else []), "-batch", "-", input=text, check=not force)

    def spawn(
        self, *argv: str, stdin: int = subprocess.DEVNULL, stdout: int | None = subprocess.PIPE, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program inside that is killed with the thread that calls this."""
        return subprocess.Popen([*DIES_WITH_PARENT, *self.command(argv)], stdin=stdin, stdout=stdout, text=True, env=env)

    def sysctl(self, settings: Mapping[str, str | int]) -> None:
        """Set kernel settings of this network: ``{"net.ipv4.ip_forward": 1}``."""
        script = 'for one; do echo "${one#*=}" > "/proc/sys/${one%%=*}" || exit 1; done'
        self.run("sh", "-c", script, "sh", *(f"{name.replace('.', '/')}={value}" for name, value in settings.items()))

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """A socket that lives in this network, for use by this process."""
        made: list[socket.socket | OSError] = []

        def inside() -> None:  # setns moves one thread; let that thread end afterwards
            try:
                with open(f"/proc/{self.pid}/ns/net") as handle:
                    if _LIBC.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.socket(family, kind, proto))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]


class Namespace(Inside, witness.Witness):
    """A machine without a kernel of its own.

    It has an empty network (loopback up) which its /sys shows too, a host name, and private, empty folders in place of ``private``.
    It is held by a process that dies with the thread that made it; `ip netns` knows it by ``name``. Use it as a context manager or call `stop`.
    """

    def __init__(self, name: str, *, private: Sequence[str] = _PRIVATE, hostname: str | None = None) -> None:
        made = [folder for folder in private if not os.path.isdir(folder)]
        for folder in made:  # a mount needs a mount point; an empty folder on the machine hurts nobody
            os.makedirs(folder, mode=0o700)
        script = 'mount --make-rprivate / && hostname "$1" && shift && for f; do mount -t tmpfs -o mode=0700 tmpfs "$f" || exit 1; done; '
        script += "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep infinity"
        self._holder = subprocess.Popen(
            [*DIES_WITH_PARENT, "unshare", "--net", "--mount", "--uts", "sh", "-c", script, "sh", hostname or name, *private],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot make the namespace {name}: root and util-linux's unshare are needed")
        super().__init__(name, self._holder.pid)
        remove_name(name)
        subprocess.run(["ip", "netns", "attach", name, str(self._holder.pid)], check=True)
        self.appear()

    def account(self) -> str:
        """Its addresses, routes and rules."""
        script = "ip -br addr; ip -4 route show table all; ip -6 route show table all; ip rule; ip -6 rule"
        told = self.run("sh", "-c", script, check=False, timeout=witness.LIMIT).stdout.splitlines()
        return "\n".join(
            [f"--- {self.name}: addresses, routes, rules", *(line for line in told if " table local " not in line and "ff00::/8" not in line)]
        )

    def stop(self) -> None:
        """End everything that runs inside, then the namespace itself. Safe to repeat."""
        self.leave()
        if self._holder.poll() is None:
            for pid in pids_in(f"/proc/{self.pid}/ns/net"):
                _kill(pid)
            self._holder.wait(timeout=10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        remove_name(self.name)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def pids_in(namespace: str) -> list[int]:
    """The processes whose network is the one behind this path."""
    try:
        wanted = os.stat(namespace).st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if os.stat(entry / "ns/net").st_ino == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def remove_name(name: str) -> None:
    """Make `ip netns` forget a name, also one that an earlier run left; what still runs in it is ended first."""
    path = _NAMES / name
    if path.exists():
        own = os.stat("/proc/self/ns/net").st_ino
        if path.stat().st_ino != own:
            for pid in pids_in(str(path)):
                _kill(pid)
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def has_name(name: str) -> bool:
    """Whether `ip netns` knows the name."""
    return (_NAMES / name).exists()


def remove_leftovers(prefix: str) -> list[str]:
    """Remove every namespace whose name begins with ``prefix``: what a crashed run left behind. Returns their names."""
    names = sorted(path.name for path in _NAMES.glob(f"{prefix}*")) if _NAMES.is_dir() else []
    for name in names:
        remove_name(name)
    return names


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def join(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """A veth pair with one end in each namespace, both ends up."""
    left.ip(f"link add {left_name} type veth peer name {right_name} netns {right.pid}")
    left.ip(f"link set {left_name} up")
    right.ip(f"link set {right_name} up")
