# SPDX-License-Identifier: GPL-3.0-or-later
"""The etcd of the guides: their commands and files, word for word but for paths, in a network that has the guides' addresses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.lease.servers import Server, until
from harness.guides import GUIDES, RUN, blocks, commands_of, inventory_of
from harness.module import run_module
from lab.netns import Namespace

MEMBERS = ("192.0.2.21", "192.0.2.22", "192.0.2.23")
#: What Debian's unit sets besides the file.
_UNIT = {"ETCD_NAME": "host", "PATH": os.environ["PATH"]}


@pytest.fixture
def network() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not there: install Debian's package etcd-server")
    with Namespace(f"g{os.getpid()}-etcd") as made:
        for address in MEMBERS:
            made.ip(f"addr add {address}/32 dev lo")
        yield made


def told(guide: str, test: str) -> list[str]:
    """The commands of a guide that this test has to run."""
    wanted = RUN[f"integration/guides/test_etcd.py::{test}"]
    found = [one.text for one in commands_of(GUIDES / guide) if one.text in wanted]
    assert set(found) == set(wanted)
    return found


def start(network: Namespace, settings: str, folder: Path, log: Path) -> Server:
    """etcd as Debian's unit starts it: with a file of settings as its environment."""
    values = dict(line.split("=", 1) for line in settings.splitlines() if line)
    environment = {**_UNIT, "ETCD_DATA_DIR": str(folder), **values}
    return Server(network.command(["env", *(f"{name}={value}" for name, value in environment.items()), "etcd", "--logger=zap"]), log)


def holds_a_lease(network: Namespace, store: dict[str, Any]) -> bool:
    options = {"cluster": "web-prod", "tag": "web", "holder": "node-a", "store": store, "ttl": 10, "wait": 15}
    ready = run_module("lease_store", {"store": store}, where=network)
    return not ready["failed"] and run_module("lease", options, where=network).get("holder") == "node-a"


def test_a_store_for_a_trial(network: Namespace, tmp_path: Path) -> None:
    settings = tmp_path / "etcd"
    settings.touch()
    for command in told("first_cluster.rst", "test_a_store_for_a_trial"):
        subprocess.run(["sh", "-c", command.replace("/etc/default/etcd", str(settings))], check=True)
    store = inventory_of(GUIDES / "first_cluster.rst")["all"]["vars"]["holdfast_store"]
    server = start(network, settings.read_text(), tmp_path / "data", tmp_path / "log")
    try:
        until(f"a lease; see {tmp_path}/log", lambda: holds_a_lease(network, store), 60)
    finally:
        server.stop()


def test_three_members_with_tls(network: Namespace, tmp_path: Path) -> None:
    """Reachable with the CA alone, not without; and the loss of one of the three is nothing."""
    for command in told("etcd.rst", "test_three_members_with_tls"):
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    (first,) = (block for block in blocks(GUIDES / "etcd.rst", "text") if "ETCD_NAME" in block)
    first = first.replace("/etc/etcd/", f"{tmp_path}/")
    own, shared = first.splitlines()[:5], first.splitlines()[5:]
    store = {"type": "etcd", "endpoints": [f"https://{address}:2379" for address in MEMBERS], "ca_cert": str(tmp_path / "etcd-ca.pem")}
    with ExitStack() as stack:
        servers = []
        for number, address in enumerate(MEMBERS, start=1):
            mine = [line.replace(MEMBERS[0], address).replace("etcd-1", f"etcd-{number}") for line in own]
            data = tmp_path / f"data-{number}"
            text = re.sub(r"(?m)^ETCD_DATA_DIR=.*$", f"ETCD_DATA_DIR={data}", "\n".join((*mine, *shared)))
            servers.append(start(network, text, data, tmp_path / f"log-{number}"))
            stack.callback(servers[-1].stop)
        until(f"a lease; see {tmp_path}/log-1", lambda: holds_a_lease(network, store), 60)
        servers[0].stop()
        until("a lease of the other two", lambda: holds_a_lease(network, store), 60)
        untrusting = run_module("lease_store", {"store": {name: value for name, value in store.items() if name != "ca_cert"}}, where=network)
        assert untrusting["failed"], untrusting
