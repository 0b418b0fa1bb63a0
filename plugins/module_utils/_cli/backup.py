# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast backup` and `lkipbu`: what they do on this node, and how they ask another one (scenarios.md D).

Files and links are dealt with by the core, as in the modules. Only an address in service under a lease is the checker's: it alone knows
for how long the address may live.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import FILE, read_config
from ansible_collections.holdfast.ha.plugins.module_utils._cli.lkipbu import Backup, lkipbu_words
from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import SOCKET
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner, run_command
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Reconciler, Run, converge
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Probe
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_backup_interface import BackupTask
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_swap_interface import SwapTask, Wish
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource, swap_target
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import four_lines, in_service
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

#: Seconds for a bounced link, the duplicate address check and a ping, all at their longest.
_MOVE_WAIT = 60.0
#: Seconds to wait for the run that lets the EC2 parts follow.
_FOLLOW_WAIT = 120.0
#: ssh's own exit status where it could not do what it was asked.
_SSH_FAILED = 255


@dataclass(frozen=True)
class CliContext:
    """What the commands use of this node.

    :param warn: Takes a line for standard error.
    :param out: Takes text for standard output.
    """

    out: Callable[[str], None]
    warn: Callable[[str], None]
    run: Runner = run_command
    socket: Path = Path(SOCKET)
    config: Path = FILE
    files: Store = field(default_factory=Store)

    def warning(self, text: str) -> None:
        """Something that is no error."""
        self.warn(f"warning: {text}")


def do_backup(order: Backup, here: CliContext) -> int:
    """Do it on this node; the exit status. Raises `HoldfastError`."""
    if order.op == "show":
        here.out(four_lines(here.files.effective(order.tag), _links(here)))
    elif order.op == "move":
        _move(order.tag, here)
    else:
        _define(order, here)
    return 0


def do_elsewhere(order: Backup, run: Callable[[list[str]], int]) -> int:
    """Do it on another server with its `lkipbu`, over SSH. ``run`` starts a program whose output is ours, and returns its exit status.

    Each word is one of ours or was checked, and is quoted for the shell at the other end besides.
    """
    remote = shlex.join(["lkipbu", *lkipbu_words(order)])
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-T"]
    status = run(["ssh", *options, "--", str(order.machine), remote])
    if status == _SSH_FAILED:
        raise NotConverged(
            f"{order.machine} could not be reached over SSH; see that `ssh {order.machine} true` works without a password, or run the playbook "
            f"holdfast.ha.backup_interface with --limit {order.machine}"
        )
    if status == 127:
        raise NotConverged(f"{order.machine} has no command lkipbu on its PATH; install it there with the playbook holdfast.ha.install")
    return status if status in (0, 1, 2) else 1


def _links(here: CliContext) -> NetState:
    return NetState(observe_links(here.run))


def _define(order: Backup, here: CliContext) -> None:
    present, interface = order.op == "add", given_link(str(order.interface))
    if order.strict:
        _refuse_what_is_so(order, here)
    node = socket.gethostname()
    task = BackupTask(order.tag, None, interface, node, present=present, store=here.files, run=here.run, warn=here.warning)
    _carry_out(task)


def _refuse_what_is_so(order: Backup, here: CliContext) -> None:
    known = here.files.effective(order.tag)
    if order.op == "add" and known.backup_interface == given_link(str(order.interface)):
        raise Refused(f"{order.tag} has the backup interface {order.interface} already")
    if order.op == "remove" and known.backup_interface is None:
        raise Refused(f"{order.interface} is not the backup interface of {order.tag}, it has none")


def _carry_out(task: Reconciler[Any, Any]) -> Run[Any, Any]:
    """`converge` whose first error is raised."""
    run = converge(task)
    for error in run.errors.values():
        raise error
    return run


def _move(tag: str, here: CliContext) -> None:
    known, links = here.files.effective(tag), _links(here)
    swap_target(known, None)  # refuses where there is no backup interface, before anybody is asked
    if not in_service(known, links):
        _swap(known, here)
        return
    try:
        ask("move", path=here.socket, tag=tag, wait=_MOVE_WAIT)
    except NoChecker:
        if _leased(here) or any(held.valid_lft is not None for _link, held in links.places(known.address)):
            raise Refused(
                f"{tag} is in service under a lease, and no checker runs here that could tell for how long its address may live; "
                "start it with systemctl start holdfast-checker, then move it"
            ) from None
        _swap(known, here)
        if known.resource is not None and known.resource.ec2 is not None:
            here.warning("what belongs to the address on EC2 has not followed; run the playbook holdfast.ha.local_recovery")
        return
    if known.resource is None or known.resource.ec2 is not None:
        _let_ec2_follow(tag, here)


def _leased(here: CliContext) -> bool:
    """Whether this node is set up for leases. Raises `HoldfastError` where that cannot be told."""
    return here.config.exists() and read_config(here.config).store.type != "none"


def _swap(known: EffectiveResource, here: CliContext) -> None:
    probe = known.resource.probe if known.resource is not None else Probe()
    wish = Wish(known.tag, None, probe, None, socket.gethostname())
    _carry_out(SwapTask(wish, here.files, Kernel(here.run), here.warning))


def _let_ec2_follow(tag: str, here: CliContext) -> None:
    """The address has moved. A run that could not do the rest is no reason to say otherwise, and the checker goes on with it."""
    try:
        last = ask("recover", path=here.socket, tag=tag, wait=_FOLLOW_WAIT).get("last_recovery") or {}
        trouble = "" if last.get("ok", True) else str(last.get("message"))
    except HoldfastError as error:
        trouble = error.message
    if trouble:
        here.warning(f"the address has moved, but what belongs to it on EC2 has not followed yet: {trouble}; see holdfast status")
