# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as small as one can be: two links to one network, a store of its own, the checker, and the commands. No VPC, no EC2."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from harness.module import TREE, run_module
from lab.checker import Checker, write
from lab.netns import Namespace, join
from lab.node import Node
from lab.ssh import Keys, start_sshd
from lab.waiting import until

CLUSTER, NAME, TAG = "web-prod", "node-a", "web"
HOST, ROUTER, OWN = "172.17.106.10", "172.17.106.1", "172.17.106.11"
STATE = f"/var/lib/holdfast/{TAG}.json"
SOCKET = "/run/holdfast/checker.sock"
#: Bytes that etcd may use.
QUOTA = 64 << 20
STORE = {"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}
WEB: dict[str, Any] = {
    "tag": TAG,
    "address": f"{HOST}/22",
    "interface": "eth0",
    "probe": {"targets": [ROUTER], "tries": 2, "timeout": 0.5},
}
_CLI = "ansible_collections.holdfast.ha.plugins.module_utils._cli.main"
_PACKAGES = "ansible_collections.holdfast.ha.plugins.module_utils"
#: Lines of Python that make a process of root one of nobody.
DROP = "import os\nos.setgroups([])\nos.setresgid(65534, 65534, 65534)\nos.setresuid(65534, 65534, 65534)\n"
#: Where the commands are installed: a private folder that logins have in their PATH.
_BIN = "/usr/local/sbin"


class SmallNode:
    """Start it from a thread that lasts. ``router``: the machine at the other end of both links, whose bridge has the address `ROUTER`."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        prefix = f"small{os.getpid()}-"
        home = f"{pwd.getpwuid(os.getuid()).pw_dir}/.ssh"
        private = ("/etc/holdfast", "/var/lib/holdfast", "/run/holdfast", "/var/log/holdfast", _BIN)
        self.folder = folder
        self.namespace = Namespace(f"{prefix}a", private=private, hostname=NAME)
        self.router = Namespace(f"{prefix}r", private=(home, "/run/holdfast"), hostname="router")
        self.environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ} | {"PYTHONPATH": str(TREE)}
        self._bridge()
        self._install()
        self._etcd = self._start_etcd()
        self.keys = Keys(folder).make()
        self._sshd = start_sshd(cast(Node, self.namespace), self.keys, {"PYTHONPATH": str(TREE)})
        settings = f"Host *\nIdentityFile {self.keys.client}\nUserKnownHostsFile {self.keys.known_hosts}\nIdentitiesOnly yes\n"
        self.router.run("install", "-m", "0600", "/dev/stdin", f"{home}/config", input=settings)
        self.checker: Checker | None = None

    def _bridge(self) -> None:
        self.router.ip("link add br0 type bridge")
        for link in ("eth0", "eth1"):
            join(self.namespace, link, self.router, link)
            self.router.ip(f"link set {link} master br0")
        self.router.ip("link set br0 up")
        self.router.ip(f"addr add {ROUTER}/22 dev br0")
        self.namespace.ip(f"addr add {OWN}/22 dev eth0")

    def _install(self) -> None:
        for name, word in (("holdfast", ""), ("lkipbu", "lkipbu ")):
            script = f'#!/bin/sh\nPYTHONPATH={TREE} exec {sys.executable} -m {_CLI} {word}"$@"\n'
            self.namespace.run("install", "-m", "0755", "/dev/stdin", f"{_BIN}/{name}", input=script)

    def _start_etcd(self) -> subprocess.Popen[str]:
        log = (self.folder / "etcd.log").open("w")
        with log:
            script = 'exec etcd --log-level warn --data-dir "$0" --quota-backend-bytes "$1" 2>&1'
            process = self.namespace.spawn("sh", "-c", script, str(self.folder / "etcd"), str(QUOTA), stdout=log.fileno())
        until(lambda: self._listens(2379), 60, "etcd did not start")
        return process

    def _listens(self, port: int) -> bool:
        with self.namespace.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def etcd(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A call of etcd's gateway, past the code under test; what it answers, also where it refuses."""
        connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=20)
        with self.namespace.socket() as connection.sock:
            connection.sock.settimeout(20)
            connection.sock.connect(("127.0.0.1", 2379))
            connection.request("POST", f"/v3/{path}", json.dumps(body))
            return dict(json.load(connection.getresponse()))

    def reset(self, *, watched: bool = True, checks: Mapping[str, Any] | None = None, store: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """The resource defined with ``changes``, nothing learned, and the address nowhere. With ``watched`` the checker runs and serves it."""
        self.stop_checker()
        self.run("sh", "-c", "rm -rf /var/lib/holdfast/* /etc/holdfast/* /run/holdfast/*")
        for link in ("eth0", "eth1"):
            self.router.ip(f"link set {link} up master br0")
            self.namespace.ip(f"link set {link} up")
            self.run("ip", "addr", "del", f"{HOST}/22", "dev", link, check=False)
        settings = {"cluster": CLUSTER, "store": store or STORE, "timing": "fast", "checks": checks or {}}
        self.checker = Checker(cast(Node, self), settings, [{**WEB, **changes}])
        if watched:
            self.checker.start()
            self.ask("acquire", tag=TAG, wait=60)
            self.ask("serve", tag=TAG)
            write(cast(Node, self), STATE, self.learned(in_service=True, **{name: changes.get(name) for name in ("backup_interface",)}))

    def learned(self, *, interface: str = "eth0", backup_interface: str | None = None, in_service: bool | None = None) -> dict[str, Any]:
        """A state file's content, as written by recovery."""
        inventory = {"interface": "eth0", "backup_interface": backup_interface}
        here = {"tag": TAG, "address": f"{HOST}/22", "interface": interface, "backup_interface": backup_interface, "in_service": in_service}
        return {"version": 1, **here, "inventory": inventory}

    def stop_checker(self) -> None:
        """Safe to repeat."""
        if self.checker is not None:
            self.checker.stop()

    def stop(self) -> None:
        """End everything."""
        self.stop_checker()
        for process in (self._sshd, self._etcd):
            process.kill()
            process.wait()
        self.namespace.stop()
        self.router.stop()

    def run(self, *argv: str, check: bool = True, input: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program on the node."""
        return self.namespace.run(*argv, check=check, input=input, timeout=timeout, env=self.environment)

    def call(self, *words: str, where: Namespace | None = None, nobody: bool = False) -> subprocess.CompletedProcess[str]:
        """One of the commands, as a person would call it. Asserts that it says at most one line on standard error, and never a traceback.

        :param nobody: As a user without rights, who would not even find this Python: so the rights go once it has started.
        """
        argv = self.argv(*words)
        if nobody:
            argv = [sys.executable, "-c", f"import sys\nfrom {_CLI} import main\n{DROP}sys.exit(main(sys.argv[2:], sys.argv[1]))", *words]
        done = (where or self.namespace).run(*argv, check=False, timeout=300, env=self.environment)
        assert "Traceback" not in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) <= 1, done.stderr
        assert done.returncode in (0, 1, 2), done
        return done

    def argv(self, *words: str) -> list[str]:
        """The argument list of a command."""
        return [sys.executable, "-m", _CLI, *words[words[0] == "holdfast" :]]

    def lkipbu(self, words: str, where: Namespace | None = None) -> subprocess.CompletedProcess[str]:
        """`lkipbu WORDS`."""
        return self.call("lkipbu", *words.split(), where=where)

    def ask(self, op: str, **words: Any) -> dict[str, Any]:
        """A request to the checker, past the commands. Raises RuntimeError with its refusal."""
        script = (
            f"import json, sys\nfrom {_PACKAGES}._control.client import ask\nfrom {_PACKAGES}._core.errors import HoldfastError\n"
            "try:\n    print(json.dumps(ask(**json.loads(sys.argv[1]))))\nexcept HoldfastError as error:\n    sys.exit(error.message)"
        )
        answer: dict[str, Any] = json.loads(self.run(sys.executable, "-c", script, json.dumps({"op": op, **words})).stdout)
        return answer

    def module(self, name: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """A module, as Ansible runs it on the node."""
        return run_module(name, options, where=self.namespace, check=check, env=self.environment)

    def places(self) -> dict[str, int]:
        """The links that have the address, and for how many seconds it may live there; -1 for ever."""
        shown = json.loads(self.namespace.ip("-4 -j addr"))
        held = [(link["ifname"], one["valid_life_time"]) for link in shown for one in link["addr_info"] if one["local"] == HOST]
        return {name: -1 if seconds == 2**32 - 1 else seconds for name, seconds in held}

    def recorded(self) -> tuple[str, str | None]:
        """Values 2 and 5 of the INFO record: primary and backup interface."""
        info = self.module("ip_resource_info", tag=TAG, node=NAME)["resources"][0]["info"].split()
        assert len(info) == 5, info
        assert info[0::2][:2] == [NAME, HOST], info
        assert info[3] == "fffffc00", info
        return info[1], None if info[4] == "none" else info[4]
