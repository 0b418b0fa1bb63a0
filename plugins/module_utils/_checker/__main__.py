# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of a node: holds its leases, lets the addresses live as long as these, and answers on a socket (DESIGN.md section 7)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import FILE, Config, read_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.holder import Holder
from ansible_collections.holdfast.ha.plugins.module_utils._checker.protocol import SOCKET
from ansible_collections.holdfast.ha.plugins.module_utils._checker.server import Server
from ansible_collections.holdfast.ha.plugins.module_utils._command import Completed
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, HoldfastError, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, identity, new_state, open_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import lease_key
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

_COMMAND_LIMIT = 20.0
#: Exit codes of sysexits(3): wrong configuration, so that systemd need not try again.
_EX_CONFIG = 78


def run_command(argv: Sequence[str]) -> Completed:
    """Run a program of this host, within bounds."""
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=_COMMAND_LIMIT, env=environment)
    except OSError as error:
        return Completed(127, "", f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Completed(124, "", f"{argv[0]} did not end within {_COMMAND_LIMIT:g} s")
    return Completed(done.returncode, done.stdout, done.stderr)


def log(event: str, **facts: object) -> None:
    """One JSON line for each decision, to the journal."""
    print(json.dumps({"event": event, **facts}), flush=True)


def notify(state: str) -> None:
    """Tell systemd, where it started us (sd_notify(3))."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + where[1:] if where.startswith("@") else where)
            line.send(state.encode())


def make_holders(config: Config, files: Store) -> dict[str, Holder]:
    """One for each resource that has a definition here. Raises `HoldfastError`."""
    holders: dict[str, Holder] = {}
    for tag in files.tags():
        resource = files.definition(tag)
        if resource is None:
            continue  # a state file alone: what is left of a resource that was defined once
        timing = dataclasses.replace(config.timing, stop_budget=resource.stop_budget)
        store = open_store(config.store, timing)  # one each: a client is not for several threads
        keeper = Keeper(store, lease_key(config.cluster, tag), new_state(identity(config.node), timing))
        holders[tag] = Holder(tag, keeper, ProtectedAddress(tag, Kernel(run_command), files), log)
    if not holders:
        raise NotFound(f"{files.definitions} has no resource to watch; write one with the role holdfast.ha.monitor")
    return holders


def serve(config: Config, holders: dict[str, Holder], path: Path) -> None:
    """Until SIGTERM or SIGINT; then every address is taken down and its lease let go, one thread each."""
    stop = threading.Event()
    threading.excepthook = _fall
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Server(path, config, holders) as server:
        for holder in holders.values():
            holder.start()
        threading.Thread(target=server.serve_forever, name="socket", daemon=True).start()
        log("ready", cluster=config.cluster, node=config.node, resources=sorted(holders))
        notify("READY=1")
        stop.wait()
        notify("STOPPING=1")
        enders = [threading.Thread(target=_end, args=(holder,)) for holder in holders.values()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        server.shutdown()
    path.unlink(missing_ok=True)
    log("stopped", node=config.node)


def _fall(defect: threading.ExceptHookArgs) -> None:
    """A thread that ends by a defect takes the process along: the kernel lets the addresses go in time, and systemd starts us anew."""
    cause = " ".join(f"{defect.exc_type.__name__}: {defect.exc_value}".split())
    log("defect", thread=defect.thread.name if defect.thread else "", cause=cause)
    os._exit(70)


def _end(holder: Holder) -> None:
    try:
        holder.end()
    except HoldfastError as error:
        log("not released", tag=holder.tag, reason=error.message)


def main(words: Sequence[str] | None = None) -> int:
    """Be the checker. The exit code: 0 after an orderly end, 78 for a configuration that cannot work."""
    parser = argparse.ArgumentParser(prog="holdfast-checker", description="Watch the leases and addresses of this node.")
    parser.add_argument("--config", type=Path, default=FILE, metavar="FILE", help="settings (default: %(default)s)")
    parser.add_argument("--socket", type=Path, default=Path(SOCKET), metavar="PATH", help="where to answer (default: %(default)s)")
    given = parser.parse_args(words)
    try:
        config = read_config(given.config)
        if config.store.type == "none":
            raise BadInput(f"{given.config}: store: type none keeps no leases, so there is nothing to hold")
        holders = make_holders(config, Store())
        serve(config, holders, given.socket)
    except HoldfastError as error:
        print(f"holdfast-checker: {error.message}", file=sys.stderr)
        return _EX_CONFIG if isinstance(error, (BadInput, NotFound)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
