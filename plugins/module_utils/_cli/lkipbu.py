# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of the command `lkipbu`, read into what `holdfast backup` does (scenarios.md D). Pure.

lkipbu [-d machine] -{a|r} -t tag -f interface
lkipbu [-d machine] -m -t tag
lkipbu [-d machine] -s -t tag
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_ip, parse_link_name, parse_tag, shown

_MACHINE = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


class Usage(BadInput):
    """The command was called in a way that it does not know."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong call in one line; the rest is for ``-h``."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        """Raises `Usage`."""
        raise Usage(f"{message}; see {self.prog} -h")


@dataclass(frozen=True)
class Backup:
    """Something to be done about a backup interface.

    :param op: ``add``, ``remove``, ``move`` or ``show``.
    :param strict: What is so already is refused, as `lkipbu` does; otherwise it is taken for done.
    """

    op: str
    tag: str
    interface: str | None = None
    machine: str | None = None
    strict: bool = False


_FLAGS = {"add": "-a", "remove": "-r", "move": "-m", "show": "-s"}


def lkipbu_parser() -> Parser:
    """The parser of the command's own flags."""
    parser = Parser(
        prog="lkipbu",
        usage="lkipbu [-d machine] -{a|r} -t tag -f interface\n       lkipbu [-d machine] -m -t tag\n       lkipbu [-d machine] -s -t tag",
        description="Define, remove, use or show the backup interface of a protected address.",
        epilog="The exit status is 0 when it was done, 1 when it failed and 2 for a wrong call.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-a", dest="op", action="store_const", const="add", help="add a backup interface; fails if there is one, or no such interface")
    what.add_argument("-r", dest="op", action="store_const", const="remove", help="remove it; fails if the interface is not the backup")
    what.add_argument(
        "-m",
        dest="op",
        action="store_const",
        const="move",
        help="move the address to the backup interface; in service it is verified by ping, and goes back if nothing answers",
    )
    what.add_argument("-s", dest="op", action="store_const", const="show", help="show address, netmask, primary and backup interface")
    parser.add_argument("-t", dest="tag", metavar="tag", required=True, help="the tag of the resource")
    parser.add_argument("-f", dest="interface", metavar="interface", help="the backup interface to add or remove")
    parser.add_argument("-d", dest="machine", metavar="machine", help="do it on this server, over SSH; without it, on this one")
    return parser


def parse_lkipbu(words: Sequence[str]) -> Backup:
    """What is to be done. Raises `Usage` for a wrong call, `BadInput` for a value that cannot be meant."""
    parser = lkipbu_parser()
    given = parser.parse_args(list(words))
    if given.op in ("add", "remove"):
        if given.interface is None:
            parser.error(f"{_FLAGS[given.op]} needs -f interface")
    elif given.interface is not None:
        parser.error(f"-f does not go with {_FLAGS[given.op]}")
    return backup(given.op, given.tag, given.interface, given.machine, strict=True)


def backup(op: str, tag: str, interface: str | None = None, machine: str | None = None, *, strict: bool = False) -> Backup:
    """The same, its values checked: they end up in file names and argument lists. Raises `BadInput`."""
    return Backup(
        op,
        parse_tag(tag),
        None if interface is None else parse_link_name(interface),
        None if machine is None else parse_machine(machine),
        strict,
    )


def parse_machine(text: str) -> str:
    """A host name or an address, with ``user@`` before it if wanted, such as ssh takes. Raises `BadInput`: nothing else goes to ssh."""
    user, at, host = text.rpartition("@")
    if (not at or _USER.fullmatch(user)) and (_MACHINE.fullmatch(host) or _is_ip(host)):
        return text
    raise BadInput(f"machine: {shown(text)} is not a server's name; give a host name or an address, with user@ before it if need be", path="machine")


def _is_ip(text: str) -> bool:
    try:
        parse_ip(text, "machine")
    except BadInput:
        return False
    return True


def lkipbu_words(order: Backup) -> list[str]:
    """The flags for this order, without the machine: what is called there."""
    words = [_FLAGS[order.op], "-t", order.tag]
    return [*words, "-f", order.interface] if order.interface is not None else words
