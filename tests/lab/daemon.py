# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a process of its own, and the way to talk to it: one JSON line asked, one answered, over a socket in its state folder."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.booted import BootedNode
from lab.netns import Inside
from lab.residence import LabError, Residence
from lab.router import API_ADDRESS

if TYPE_CHECKING:
    from lab.vpc import Lab

_TESTS = Path(__file__).resolve().parents[1]
#: Seconds for it to come up, with nodes that boot (the first time their system is made), to answer a question, and to end.
READY_WITHIN, BOOTED_WITHIN, ANSWER_WITHIN, ENDED_WITHIN = 60.0, 600.0, 30.0, 60.0
#: Whoever has all rights on the lab's AWS, for `environment`.
ADMINISTRATOR = "administrator"
_SSH = """#!/bin/sh
# ssh, from within the network that reaches the nodes
exec nsenter --net=/run/netns/{network} ssh "$@"
"""


def start(prefix: str, *, extra_tables: int, with_ssh: bool, booted: bool = False) -> None:
    """Start it detached from this terminal and return when it is ready; what it says on the way is shown. Raises `LabError`."""
    limit = BOOTED_WITHIN if booted else READY_WITHIN
    argv = [sys.executable, "-m", "lab.daemon", prefix, str(extra_tables), "booted" if booted else "ssh" if with_ssh else "-"]
    paths = os.pathsep.join([str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    reader, writer = os.pipe()
    daemon = subprocess.Popen(
        [*argv, str(writer)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[writer],
        env={**os.environ, "PYTHONPATH": paths},
        cwd="/",
    )
    os.close(writer)
    end = time.monotonic() + limit
    with open(reader) as news:
        while select.select([news], [], [], max(0.0, end - time.monotonic()))[0]:
            line = news.readline().rstrip("\n")
            if line == "ready":
                return
            if line.startswith("error: ") or not line:
                raise LabError(line.removeprefix("error: ") or f"the lab's process ended before it was ready (exit {daemon.wait()})")
            print(line, flush=True)
    daemon.terminate()
    daemon.wait()
    raise LabError(f"the lab was not ready within {limit:g} s")


def ask(prefix: str, question: str, **words: Any) -> Any:
    """What the lab of this prefix answers. Raises `LabError` if none runs, or with what it says."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_WITHIN)
        try:
            line.connect(str(_socket_of(Residence(prefix))))
        except OSError:
            raise LabError("no lab is running: start one with `up`") from None
        try:
            line.sendall(json.dumps({"question": question, **words}).encode() + b"\n")
            text = line.makefile().readline()
        except OSError as error:
            raise LabError(f"the lab does not answer: {error}") from None
    if not text:
        raise LabError("the lab ended without an answer")
    answer = json.loads(text)
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["answer"]


def stop(prefix: str) -> bool:
    """End the lab of this prefix, however it was started, and remove what a crashed one left. Returns whether there was anything."""
    residence = Residence(prefix)
    owner = residence.owner()
    if owner:
        _end(owner)
    gone = residence.take()
    residence.leave()
    return bool(owner or gone)


def _end(process: int) -> None:
    """Ask a process to end and wait until it has."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], ENDED_WITHIN)[0]:
            raise LabError(f"process {process} holds the lab and does not end: kill -9 {process}, then `down` again")
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    finally:
        os.close(handle)


def _socket_of(residence: Residence) -> Path:
    return residence.folder / "lab.sock"


def serve(prefix: str, extra_tables: int, nodes: str, news: Any) -> None:
    """Bring the lab up, say so, and answer questions until SIGTERM.

    :param nodes: ``ssh``: with sshd on the nodes; ``booted``: each with a system of its own, and the wheels that the role monitor installs.
    """
    from lab import booted, faults, status  # they bring moto in, which the asking side does without
    from lab.vpc import Lab

    def tell(line: str) -> None:
        print(line, file=news, flush=True)

    options: dict[str, Any] = {"with_ssh": nodes == "ssh"}
    if nodes == "booted":
        tell("the system of the nodes, and what is installed on them (the first time a minute or two)")
        booted.image()
        options = {"booted": True, "binds": {booted.wheels(_TESTS.parent / "roles/monitor/files/requirements.txt"): booted.WHEELS}}
    with Lab(prefix, extra_tables=extra_tables, tell=tell, **options) as lab:
        handlers = {
            "status": lambda words: status.describe(lab) if words["raw"] else status.render(status.describe(lab)),
            "fault": lambda words: faults.strike(lab, words["name"]),
            "environment": lambda words: _environment_of(lab, words["machine"]),
            "inventory": lambda words: _inventory(lab, Residence(prefix).folder),
        }
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(_socket_of(Residence(prefix))))
            door.listen(8)
            print("ready", file=news, flush=True)
            news.close()
            while True:  # one at a time and in this thread: what it starts in a node lives as long as the thread
                caller = door.accept()[0]
                with caller:
                    _answer(caller, handlers)


def _environment_of(lab: Lab, machine: str) -> dict[str, Any]:
    """How a command gets into that machine, and what it finds there."""
    if machine == ADMINISTRATOR:
        keys, router = lab.control.admin_credentials, lab.router.namespace
        rights = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        given = {name: value for name, value in {**os.environ, **lab.client.environment, **rights}.items() if name != "AWS_SESSION_TOKEN"}
        return {"pid": router.pid, "enter": router.command([]), "env": given, "service": lab.place.vip}
    try:
        node, namespace = lab.machines.get(machine), lab.namespace(machine)
        inside: Inside = node.machine if isinstance(node, BootedNode) and node.machine is not None else namespace
        environment = node.environment if node is not None else None
        return {"pid": namespace.pid, "enter": inside.command([]), "env": environment, "service": lab.prober(machine).address}
    except KeyError:
        raise LabError(f"there is no machine {machine!r}; choose one of {', '.join([*lab.machines, 'router', 'outside', ADMINISTRATOR])}") from None


def _inventory(lab: Lab, folder: Path) -> dict[str, Any]:
    """That of the nodes for an Ansible outside of the lab's networks, and what a playbook wants to know of the VPC."""
    program = folder / "ssh"
    program.write_text(_SSH.format(network=lab.router.namespace.name))
    program.chmod(0o700)
    told, place = lab.inventory(), lab.place
    told["all"]["vars"] |= {
        "ansible_ssh_executable": str(program),
        "ansible_ssh_transfer_method": "piped",  # sftp would look for the nodes in this machine's network
        "ansible_pipelining": True,
        "lab_address": place.vip,
        "lab_address6": place.vip6,
        "lab_elastic_ip": place.elastic_ip,
        "lab_region": place.region,
        "lab_endpoint_url": f"http://{API_ADDRESS}",
    }
    return told


def _answer(caller: socket.socket, handlers: dict[str, Any]) -> None:
    caller.settimeout(ANSWER_WITHIN)
    try:
        question = json.loads(caller.makefile().readline())
        answer = {"answer": handlers[question["question"]](question)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who asked is told, and the lab goes on
        answer = {"error": " ".join(str(error).split()) or type(error).__name__}
    try:
        caller.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:
        pass  # the asker has gone


def _main(prefix: str, extra_tables: str, nodes: str, writer: str) -> int:
    news = os.fdopen(int(writer), "w")
    try:
        serve(prefix, int(extra_tables), nodes, news)
    except (LabError, OSError, RuntimeError) as error:
        if not news.closed:
            print(f"error: {' '.join(str(error).split())}", file=news, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
