# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the lab that boot: a Debian with systemd and sshd in a node's network, run by systemd-nspawn.

The system is made by debootstrap once and kept; each node gets an overlay over it, which lasts as long as the lab, power cuts included.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import witness
from lab.netns import DIES_WITH_PARENT, Inside, Namespace
from lab.node import DEBIAN, Node
from lab.place import Machine
from lab.residence import LabError
from lab.ssh import Keys
from lab.waiting import until

#: Debian's releases that nodes may have, and the version of Python in each.
SYSTEMS = {"bookworm": "3.11", "trixie": "3.13"}
SUITE = "bookworm"
#: What a release's image has besides `PACKAGES`. It is masked until a test wants it.
FURTHER = {"trixie": ("network-manager",)}
#: What a cloud image has, and what the tests look with. The mirror is not in reach of the nodes, so what the roles install is here too.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "iproute2", "openssh-server", "python3", "python3-venv", "python3-apt", "logrotate")
_MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "e2scrub_all.timer", "fstrim.timer", "NetworkManager.service")
WHEELS = "/srv/wheels"
_WHEEL_PLATFORMS = ("manylinux2014", "manylinux_2_28", "manylinux_2_34")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT_LIMIT = 90.0
_CGROUPS = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
#: $1: name of the control group, $2: the image, $3: the node's folder, $4: its network; then nspawn's own words.
_START = (
    """
mount --make-rprivate / && mount -t overlay overlay -o "lowerdir=$2,upperdir=$3/upper,workdir=$3/work" "$3/root" || exit 1
"""
    f"for tree in {' '.join(map(str, _CGROUPS))}; do"
    """
    if [ -f "$tree/cgroup.procs" ]; then mkdir -p "$tree/$1" && echo $$ > "$tree/$1/cgroup.procs" || exit 1; fi
done
root=$3/root network=$4; shift 4
exec nsenter --net="$network" systemd-nspawn --directory="$root" "$@"
"""
)


def why_not() -> str:
    """Why nodes cannot boot here, in a line; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [package for tool, package in (("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container")) if shutil.which(tool) is None]
    return f"nodes that boot need Debian's packages {' and '.join(missing)}" if missing else ""


def cache() -> Path:
    """Where what takes long to make is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "holdfast-lab")


def image(suite: str = SUITE, packages: Sequence[str] = ()) -> Path:
    """The system that all nodes of a release share; made, in a minute or two, where it is not there yet. Raises `LabError`.

    :param packages: What it has, where it is not meant to boot.
    """
    packages = tuple(packages) or PACKAGES + FURTHER.get(suite, ())
    name = f"{suite}-{_short('|'.join(packages))}"
    with _made_once(name) as (place, fresh):
        if fresh is not None:
            _call("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(fresh))
            shutil.rmtree(fresh / "var/cache/apt/archives", ignore_errors=True)
            for key in (fresh / "etc/ssh").glob("ssh_host_*"):
                key.unlink()
    return place


def wheels(requirements: Path, suite: str = SUITE) -> Path:
    """A folder with the packages that a file of pins names, for the Python of a release; downloaded once. Raises `LabError`."""
    from packaging.requirements import Requirement

    python = SYSTEMS[suite]
    target = {"python_version": python, "python_full_version": f"{python}.2", "sys_platform": "linux", "platform_system": "Linux"}
    pinned = requirements.read_text(encoding="utf-8").replace("\\\n", "")
    lines = [re.split(r"#|\s--hash=", line)[0].strip() for line in pinned.splitlines()]
    wanted = [one for one in map(Requirement, filter(None, lines)) if one.marker is None or one.marker.evaluate(target)]
    pins = sorted(f"{one.name}{one.specifier}" for one in wanted)
    with _made_once(f"wheels-{_short('|'.join((python, *pins)))}") as (place, fresh):
        if fresh is not None:
            kinds = [f"--platform={one}_{platform.machine()}" for one in _WHEEL_PLATFORMS]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={python}"]
            _call(*pip, *kinds, "--dest", str(fresh), *pins)
    return place


@contextmanager
def _made_once(name: str) -> Iterator[tuple[Path, Path | None]]:
    """The folder's place in the cache and, where it is not there yet, a fresh one to fill. One process at a time."""
    place = cache() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            yield place, None
            return
        fresh = place.with_name(f"{name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o755)
        yield place, fresh
        fresh.rename(place)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _call(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{argv[0]} failed with exit code {done.returncode}: {' / '.join(done.stdout.split(chr(10))[-4:]).strip()}")


class Booted(Inside):
    """A way into a machine that has booted: its files, processes and network."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """The argument list that runs ``argv`` inside."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--ipc", "--pid", "--", *argv]


class BootedNode(Node, witness.Witness):
    """A node whose programs are those of its own system. ``namespace`` stays a way into its network alone, with this machine's programs.

    :param keys: The host key that its sshd has, and the client's that it lets in.
    :param binds: Folders of this machine that it sees, read only: where they are, and where it sees them.
    :param suite: Its release of Debian, one of `SYSTEMS`.
    """

    @staticmethod
    def settings() -> dict[str, str]:
        """The kernel's defaults and Debian's: the role has yet to come."""
        return DEBIAN

    def __init__(
        self,
        namespace: Namespace,
        place: Machine,
        environment: Mapping[str, str],
        folder: Path,
        keys: Keys,
        binds: Mapping[Path, str],
        suite: str = SUITE,
    ) -> None:
        super().__init__(namespace, place, environment, folder)
        self._given = {name: value for name, value in environment.items() if value != os.devnull}
        self.outer_environment, self.environment = self.environment, {"HOME": "/root", "PATH": _PATH, "LANG": "C.UTF-8", **self._given}
        self._keys, self._binds, self._suite = keys, dict(binds), suite
        self._home = folder / f"{self.name}.machine"
        self._nspawn: subprocess.Popen[str] | None = None
        self.machine: Booted | None = None
        self._group = f"holdfast-lab-{namespace.name}"
        #: When its power was cut, in seconds of the epoch.
        self.cuts: list[float] = []

    # --- power ---------------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Start it; returns at once. See `wait_until_up`."""
        assert self._nspawn is None, f"{self.name} is on"
        if not self._home.exists():
            for name in ("upper", "work", "root"):
                (self._home / name).mkdir(parents=True)
            self._furnish(self._home / "upper")
        _remove_groups(self._group)
        words = ["--register=no", "--keep-unit", f"--machine={self.namespace.name}", "--capability=CAP_NET_ADMIN", "--resolv-conf=off"]
        words += ["--timezone=off", "--link-journal=no", "--console=pipe", *(f"--bind-ro={here}:{there}" for here, there in self._binds.items())]
        start = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            _START,
            "sh",
            self._group,
            str(image(self._suite)),
            str(self._home),
            f"/run/netns/{self.namespace.name}",
        ]
        with open(self._home / "console.log", "a") as console:
            self._nspawn = subprocess.Popen(
                [*DIES_WITH_PARENT, *start, *words, "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", _PATH), "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )

    def wait_until_up(self) -> None:
        """Until systemd has started all there is to start, and sshd answers. Raises RuntimeError or TimeoutError."""
        init = until(self._find_init, _BOOT_LIMIT, f"{self.name} did not boot; see {self._home}/console.log")
        self.machine = Booted(self.name, init or 0)
        until(lambda: self.run("test", "-S", "/run/systemd/private", check=False).returncode == 0, _BOOT_LIMIT, f"systemd on {self.name} is silent")
        state = self.run("systemctl", "is-system-running", "--wait", check=False, timeout=_BOOT_LIMIT).stdout.strip()
        if state != "running":
            raise RuntimeError(f"{self.name} is {state}: {self.run('systemctl', '--failed', '--no-legend', check=False).stdout.strip()}")
        until(self._has_sshd, 20, f"sshd on {self.name} does not answer")
        self.appear()

    def account(self) -> str:
        """Its last messages, and the units that failed."""
        script = "systemctl --failed --no-legend --plain; journalctl --output=short-precise --no-hostname --lines=60"
        told = self.run("sh", "-c", script, check=False, timeout=witness.LIMIT).stdout.splitlines()
        return "\n".join([f"--- {self.name} has booted; units that failed, and its last messages", *(line[:400] for line in told)])

    def power_off(self) -> None:
        """At once, as a cut of its power: no program of it gets to say anything, and its links are dead. Safe to repeat."""
        self._end_machine()
        self.cuts.append(time.time())
        lines = [line for one in self.place.interfaces for line in (f"link set {one.link} down", f"addr flush dev {one.link}")]
        self.namespace.batch(lines)

    def _end_machine(self) -> None:
        self.leave()
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is None:
            return
        init = self.machine.pid if self.machine is not None else self._init_of(nspawn.pid)
        self.machine = None
        for pid in (init, nspawn.pid):
            if pid is not None and nspawn.poll() is None:
                try:
                    os.kill(pid, 9)
                    nspawn.wait(timeout=10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
        nspawn.wait(timeout=10)
        until(lambda: _remove_groups(self._group), 10, f"processes of {self.name} are left")

    def stop(self) -> None:
        """Cut its power, end what this machine runs for it, and its network."""
        self._end_machine()
        super().stop()

    # --- inside --------------------------------------------------------------------------------------------------------

    def run(self, *argv: str, check: bool = True, input: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of its own on this machine, with the environment that its units and logins have."""
        if self.machine is None:
            raise RuntimeError(f"{self.name} is not on")
        return self.machine.run(*argv, check=check, input=input, timeout=timeout, env=self.environment)

    def written(self, path: str) -> str:
        """What a file that it has written contains, also while it is off; empty where there is none."""
        place = self._home / "upper" / path.lstrip("/")
        return place.read_text() if place.exists() else ""

    def start_service(self) -> None:
        """As on a node that does not boot: with this machine's programs."""
        inside, self.environment = self.environment, self.outer_environment
        try:
            super().start_service()
        finally:
            self.environment = inside

    def start_sshd(self, keys: Keys) -> None:
        """It has one."""

    def _find_init(self) -> int | None:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            tail = (self._home / "console.log").read_text(errors="replace").splitlines()[-3:]
            raise RuntimeError(f"systemd-nspawn ended with {self._nspawn.returncode}: {' / '.join(tail)}")
        return self._init_of(self._nspawn.pid)

    @staticmethod
    def _init_of(nspawn: int) -> int | None:
        """The process that is the first of its own list of processes, below nspawn."""
        try:
            children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
            for child in children:
                status = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
                if status["NSpid"].split()[1:] == ["1"] and status["Name"].strip() in ("systemd", "init"):
                    return int(child)
        except OSError:
            pass  # it is on its way, or has ended
        return None

    def _has_sshd(self) -> bool:
        with self.namespace.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 22)) == 0

    def _furnish(self, upper: Path) -> None:
        """What a cloud's first boot writes: its name, keys, and the way to the cloud's API."""
        quoted = " ".join(f'"{name}={value}"' for name, value in self._given.items())
        host_key = "/etc/ssh/ssh_host_ed25519_key"
        sshd = f"HostKey {host_key}\nUsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\nMaxStartups 100\nSetEnv {quoted}\n"
        for path, text, mode in (
            ("etc/hostname", f"{self.name}\n", 0o644),
            ("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n", 0o644),
            ("etc/machine-id", f"{hashlib.sha256(self.namespace.name.encode()).hexdigest()[:32]}\n", 0o444),
            ("etc/systemd/system.conf.d/lab.conf", f"[Manager]\nDefaultEnvironment={quoted}\n", 0o644),
            ("etc/ssh/sshd_config.d/lab.conf", sshd, 0o644),
            (host_key[1:], self._keys.host.read_text(), 0o600),
            ("root/.ssh/authorized_keys", self._keys.client.with_suffix(".pub").read_text(), 0o600),
        ):
            place = upper / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(mode)
        units = upper / "etc/systemd/system"
        units.mkdir(exist_ok=True)
        for folder in (upper, *(one for one in upper.rglob("*") if one.is_dir())):  # they cover those of the image, whatever our umask is
            folder.chmod(0o700 if upper / "root" in (folder, *folder.parents) else 0o755)
        for unit in (
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "console-getty.service",
            "e2scrub_all.timer",
            "fstrim.timer",
            "NetworkManager.service",
        ):
            (units / unit).symlink_to("/dev/null")


def _remove_groups(name: str) -> bool:
    """Remove the control groups of a machine that has ended. Whether none is left."""
    left = False
    for tree in _CGROUPS:
        for folder, _folders, _files in os.walk(tree / name, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                left = True
    return not left
