# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an address by echo requests from it: to a list of targets, or to everything on its link (scenarios.md C9)."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ProbeFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._net.icmp import shared_echo
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import targets_of


@dataclass(frozen=True)
class Answers:
    """The targets that answered, those that did not, and for each of the latter the reason in words, in the order of the targets."""

    answered: tuple[str, ...]
    silent: tuple[str, ...]
    reasons: tuple[str, ...] = ()


def run_probe(address: Address, interface: str, probe: Probe) -> Answers:
    """Send an echo request to every target at the same time, to each until it answers, at most ``tries`` times.

    Takes at most tries × timeout seconds. Raises `CommandFailed` without the right to a raw socket.
    """
    targets = targets_of(address, probe)
    silent: dict[str, str] = dict.fromkeys(targets, "")
    for _turn in range(probe.tries):
        silent = _ask(address, interface, tuple(silent), probe.timeout)
        if not silent:
            break
    return Answers(tuple(target for target in targets if target not in silent), tuple(silent), tuple(silent.values()))


def satisfied(answers: Answers, require: str) -> bool:
    """Whether that is enough."""
    return bool(answers.answered) and (require == "any" or not answers.silent)


def verify(address: Address, interface: str, probe: Probe) -> Answers:
    """`run_probe`, and `ProbeFailed` (with ``answered`` and ``silent`` as returns) when that is not enough."""
    answers = run_probe(address, interface, probe)
    if satisfied(answers, probe.require):
        return answers
    causes = [reason for reason in dict.fromkeys(answers.reasons) if reason != _no_answer(probe.timeout)]
    cause = f" ({'; '.join(causes)})" if causes else ""
    wanted = "all" if probe.require == "all" and len(answers.silent) + len(answers.answered) > 1 else "an answer"
    raise ProbeFailed(
        f"{', '.join(answers.silent)} did not answer to {address.host} on {interface} in {probe.tries} tries of {probe.timeout:g} s{cause}; "
        f"{wanted} is required: see whether the link works, or set other targets",
        returns={"answered": list(answers.answered), "silent": list(answers.silent)},
        interface=interface,
    )


def _ask(address: Address, interface: str, targets: tuple[str, ...], timeout: float) -> dict[str, str]:
    """Ask each target once. Returns those that did not answer, with the reason."""
    echo, family = shared_echo(address.version), _family(address)
    if not _is_usable(address):
        return dict.fromkeys(targets, _absent(address))
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return dict.fromkeys(targets, f"there is no link {interface}")
    packed = {socket.inet_pton(family, target): target for target in targets}
    found = echo.ask(address.ip.packed, index, packed, timeout)
    return {target: _reason(found[data], address, interface, timeout) for data, target in packed.items() if data in found}


def _reason(cause: OSError | str, address: Address, interface: str, timeout: float) -> str:
    """Why a target did not answer, in words."""
    if isinstance(cause, str):
        return cause or _no_answer(timeout)
    if cause.errno in (errno.EINVAL, errno.EADDRNOTAVAIL):  # it has been removed this moment
        return _absent(address)
    if cause.errno in (errno.ENETUNREACH, errno.ENETDOWN):
        return f"network unreachable: {interface} is down or has no route there"
    if cause.errno == errno.EPERM:
        return f"operation not permitted: allow echo requests from {address.host} by {interface} in this host's firewall"
    if cause.errno == errno.EACCES:
        return "a route or a rule of this host prohibits it"
    if cause.errno in (errno.ENODEV, errno.ENXIO):
        return f"there is no link {interface}"
    return (cause.strerror or str(cause)).lower()


def _no_answer(timeout: float) -> str:
    return f"no answer within {timeout:g} s"


def _absent(address: Address) -> str:
    return f"cannot assign requested address: {address.host} is not configured on this host, or not yet usable"


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _is_usable(address: Address) -> bool:
    """Whether this host can send from the address. For IPv4 an error of sending would not show whether the address or the route is missing."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as any_port:
            any_port.bind((address.host, 0))
    except OSError:
        return False
    return True
