# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `holdfast`, and the same under the name `lkipbu` (DESIGN.md section 7, scenarios.md D).

Exit status: 0 when it was done, 1 when it failed, 2 for a wrong call. What went wrong is one line on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import read_config
from ansible_collections.holdfast.ha.plugins.module_utils._cli.backup import CliContext, do_backup, do_elsewhere
from ansible_collections.holdfast.ha.plugins.module_utils._cli.lkipbu import Backup, Parser, Usage, backup, parse_lkipbu, parse_machine
from ansible_collections.holdfast.ha.plugins.module_utils._cli.local import local_status
from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import LONGEST_WAIT, SOCKET
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, MissingProgram, NotConverged, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, parse_link_name, parse_tag
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import advice_for, is_well, one_line, state_of
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_text import render
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import link_state

_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130
#: Columns where the output goes to a file: enough for the full table.
_WIDE = 220
#: Seconds to wait for the end of a recovery or a switchover, unless told otherwise.
_WAIT = 300.0
#: The checker tells of times in tenths of a second.
_ROUNDING = 0.5
_STATUS = """the exit status is 0 when it was done, 1 when it failed (status: when no checker runs; check: when something is not healthy)
and 2 for a wrong call"""


def main(words: Sequence[str] | None = None, name: str | None = None) -> int:
    """Be the command. ``name``: how it was called; `lkipbu` takes that command's flags, as does the first word ``lkipbu``."""
    sys.excepthook = _defect
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still shows the rest
    given = list(sys.argv[1:] if words is None else words)
    called = os.path.basename(sys.argv[0] if name is None else name)
    if called != "lkipbu" and given[:1] == ["lkipbu"]:
        called, given = "lkipbu", given[1:]
    if called != "lkipbu":
        called = "holdfast"
    try:
        if NETADDR_IMPORT_ERROR is not None:
            raise MissingProgram("the Python library netaddr is missing; install it for the Python that runs this command")
        try:
            order = parse_lkipbu(given) if called == "lkipbu" else parser().parse_args(given)
        except BadInput as error:  # later on, this is a damaged file
            return _complain(called, error.message, _USAGE)
        return _run_backup(order, _here(Path(SOCKET))) if isinstance(order, Backup) else _run(order)
    except HoldfastError as error:
        return _complain(called, error.message)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        advice = "; run it as root" if isinstance(error, PermissionError) else ""
        return _complain(called, f"{where}{error.strerror or error}{advice}")
    except KeyboardInterrupt:
        return _INTERRUPTED


def _complain(called: str, message: str, status: int = _FAILED) -> int:
    _warn(f"{called}: {message}")
    return status


def _defect(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """In place of a traceback."""
    cause = " ".join(f"{kind.__name__}: {error}".split())
    _warn(f"This is a defect in holdfast.ha, please report it with what you called: {cause}")


# --- how it is called --------------------------------------------------------------------------------------------------


def parser() -> Parser:
    """The words that `holdfast` takes."""
    top = Parser(prog="holdfast", description="Look at the protected addresses of this node, and tell its checker what to do.", epilog=_STATUS)
    top.add_argument(
        "--socket", type=Path, default=Path(SOCKET), metavar="PATH", help="where the checker answers, an absolute path (default: %(default)s)"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    look = commands.add_parser("status", help="what this node knows: who holds what, what is wrong, and what to do", epilog=_STATUS)
    look.add_argument("tag", nargs="?", type=parse_tag, metavar="TAG", help="only this resource")
    _shown(look)
    check = commands.add_parser("check", help="have everything looked at now, EC2 included, and show the result", epilog=_STATUS)
    check.add_argument("tag", nargs="?", type=parse_tag, metavar="TAG", help="only this resource")
    _shown(check)

    recover = commands.add_parser("recover", help="repair a resource now, whatever holds its recovery back", epilog=_STATUS)
    recover.add_argument("tag", type=parse_tag, metavar="TAG")
    _waiting(recover)
    switch = commands.add_parser("switchover", help="move a resource to a certain node", epilog=_STATUS)
    switch.add_argument("tag", type=parse_tag, metavar="TAG")
    switch.add_argument("--to", type=lambda text: parse_node(text, "--to"), required=True, metavar="NODE", help="the node that is to have it")
    _waiting(switch)

    pause = commands.add_parser("pause", help="maintenance: go on watching and renewing, and repair nothing", epilog=_STATUS)
    pause.add_argument("tag", nargs="?", type=parse_tag, metavar="TAG", help="only this resource")
    resume = commands.add_parser("resume", help="end the maintenance", epilog=_STATUS)
    resume.add_argument("tag", nargs="?", type=parse_tag, metavar="TAG", help="only this resource")

    interfaces = commands.add_parser("backup", help="the backup interface of a resource, as the command lkipbu has it", epilog=_STATUS)
    doing = interfaces.add_subparsers(dest="op", required=True, metavar="ACTION", parser_class=Parser)
    for op, text in (
        ("add", "add a backup interface"),
        ("remove", "remove it"),
        ("move", "move the address to it; verified by ping, and undone if nothing answers"),
        ("show", "show address, netmask, primary and backup interface"),
    ):
        one = doing.add_parser(op, help=text, epilog=_STATUS)
        one.add_argument("tag", type=parse_tag, metavar="TAG")
        if op in ("add", "remove"):
            one.add_argument("interface", type=parse_link_name, metavar="INTERFACE")
        one.add_argument(
            "--on", dest="machine", type=parse_machine, metavar="MACHINE", help="do it on this server, over SSH; without it, on this one"
        )
    return top


def _shown(one: argparse.ArgumentParser) -> None:
    one.add_argument("--json", action="store_true", help="the checker's own reply, for programs")
    one.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colour beside the words (default: on a terminal)")


def _waiting(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--wait", type=_wait, default=_WAIT, metavar="SECONDS", help="for how long to wait for its end (default: %(default)g; 0: not at all)"
    )


def _wait(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise Usage(f"--wait: give a number of seconds from 0 to {LONGEST_WAIT:g}")
    return seconds


def _here(path: Path) -> CliContext:
    return CliContext(out=_out, warn=_warn, socket=path)


# --- what it does ------------------------------------------------------------------------------------------------------


def _run(given: argparse.Namespace) -> int:
    here = _here(given.socket)
    if given.command == "status":
        return _status(given, here)
    if given.command == "check":
        return _check(given, here)
    if given.command == "recover":
        return _order(given, here, "recovered")
    if given.command == "switchover":
        return _order(given, here, f"moved to {given.to}", to=given.to)
    if given.command == "backup":
        return _run_backup(backup(given.op, given.tag, getattr(given, "interface", None), given.machine), here)
    return _maintain(given, here)


def _status(given: argparse.Namespace, here: CliContext) -> int:
    missing = None
    try:
        reply = ask("status", path=here.socket)
    except NoChecker as error:
        reply, missing = {"ok": False, **local_status(here.files, here.config, here.run)}, error
    if given.tag is not None:
        reply = {**reply, "resources": [one for one in reply["resources"] if one["tag"] == given.tag]}
        if not reply["resources"]:
            raise NotFound(f"this node knows no resource {given.tag}; see holdfast status")
    _show(reply, given, here)
    if missing is not None:
        raise missing
    return _DONE


def _check(given: argparse.Namespace, here: CliContext) -> int:
    whole = ask("status", path=here.socket)
    tags = [one["tag"] for one in whole["resources"]] if given.tag is None else [given.tag]
    looked = {**whole, "resources": [_about(ask("check", path=here.socket, tag=tag)) for tag in tags]}
    _show(looked, given, here)
    return _DONE if is_well(looked) else _FAILED


def _about(reply: Mapping[str, Any]) -> dict[str, Any]:
    """One resource, without what is said of the node."""
    return {name: value for name, value in reply.items() if name not in ("ok", "cluster", "node")}


def _show(reply: Mapping[str, Any], given: argparse.Namespace, here: CliContext) -> None:
    if given.json:
        _out(json.dumps(reply, indent=2) + "\n")
        return
    plain = os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ or not sys.stdout.isatty()
    colour = given.color == "always" or (given.color == "auto" and not plain)
    _write(render(_with_links(reply, here), shutil.get_terminal_size((_WIDE, 24)).columns, colour=colour))


def _with_links(reply: Mapping[str, Any], here: CliContext) -> Mapping[str, Any]:
    """With the state of each interface, where the reply does not have it."""
    if all("interface_up" in one for one in reply["resources"]):
        return reply
    net = NetState(observe_links(here.run))
    told = [{"interface_up": link_state(str(one["interface"]), net) == "up", **one} if one.get("interface") else one for one in reply["resources"]]
    return {**reply, "resources": told}


def _order(given: argparse.Namespace, here: CliContext, done: str, **more: str) -> int:
    """Have a run begun, and say how it ended. Raises `NotConverged` where it failed, or has not ended in time."""
    begin = time.monotonic()
    reply = ask(given.command, path=here.socket, tag=given.tag, wait=given.wait, **more)
    if reply.get("phase") == "recovering":
        if not given.wait:
            _out(f"{given.tag}: begun; see holdfast status\n")
            return _DONE
        raise NotConverged(f"{given.tag}: it has not ended within {given.wait:g} s and goes on; see holdfast status")
    last = reply.get("last_recovery") or {}
    if float(last.get("ago") or 0) > time.monotonic() - begin + _ROUNDING:
        last = {}  # an earlier one
    if last and not last.get("ok"):
        raise NotConverged(f"{given.tag}: {last.get('message') or 'it failed'}; {advice_for(reply) or 'see holdfast status'}")
    if given.command == "recover" and state_of(reply) == "FAILED":
        reasons = "; ".join(map(str, reply.get("reasons") or ()))
        raise NotConverged(f"{given.tag}: it still fails: {reasons or 'no reason is given'}; {advice_for(reply)}")
    took = f" in {last['seconds']:.1f} s" if isinstance(last.get("seconds"), (int, float)) else ""
    what = f": {last['what']}" if last.get("what") else ""
    _out(f"{given.tag}: {done}{took}{what}\n")
    return _DONE


def _maintain(given: argparse.Namespace, here: CliContext) -> int:
    reply = ask(given.command, path=here.socket, tag=given.tag)
    tags = [str(one["tag"]) for one in reply.get("resources", [reply])]
    told = "paused: still watched and held, and nothing is repaired" if given.command == "pause" else "no longer paused"
    _out("".join(f"{tag}: {told}\n" for tag in tags))
    return _DONE


def _run_backup(order: Backup, here: CliContext) -> int:
    if order.machine is not None and not _is_here(order.machine, here):
        return do_elsewhere(order, _start)
    return do_backup(order, here)


def _is_here(machine: str, here: CliContext) -> bool:
    if machine in ("localhost", socket.gethostname()):
        return True
    try:
        return here.config.exists() and read_config(here.config).node == machine
    except (HoldfastError, OSError):
        return False  # ssh finds out


def _start(argv: list[str]) -> int:
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode  # pylint: disable=ansible-bad-function
    except OSError as error:
        raise MissingProgram(f"cannot start {argv[0]}: {error.strerror}; install it, or call the command on that machine") from None


def _warn(text: str) -> None:
    sys.stderr.write(one_line(text) + "\n")


def _out(text: str) -> None:
    """Whatever a controller, a peer or a file has put into ``text`` controls no terminal."""
    _write("".join(character if character.isprintable() or character == "\n" else "?" for character in text))


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
