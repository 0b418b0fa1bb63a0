# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an address by pinging from it: a list of targets, or everything on its link (scenarios.md C9)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._command import Completed, Runner
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, MissingProgram, ProbeFailed
from ansible_collections.holdfast.ha.plugins.module_utils._model import Address, Probe, parse_ip, shown

#: Bounds that keep a probe from running for hours or starting a thousand programs.
_MOST_TARGETS, _MOST_TRIES, _LONGEST = 64, 100, 60.0
_AT_ONCE = 16
_NOT_INSTALLED = 127
#: All nodes of a link (RFC 4291 section 2.7.1).
_ALL_NODES = "ff02::1"

#: The options that every module with a probe has; documented by the doc fragment of the same name.
PROBE_OPTIONS: dict[str, dict[str, Any]] = {
    "targets": {"type": "list", "elements": "str", "default": []},
    "tries": {"type": "int", "default": 3},
    "timeout": {"type": "float", "default": 1.0},
    "require": {"type": "str", "choices": ["any", "all"], "default": "any"},
}


@dataclass(frozen=True)
class Answers:
    """Who answered, who did not, and what `ping` gave as the reason, in the order of the targets."""

    answered: tuple[str, ...]
    silent: tuple[str, ...]
    reasons: tuple[str, ...] = ()


def parse_probe(params: Mapping[str, Any], address: Address | None, path: str = "") -> Probe:
    """A `Probe` from the options, checked against the address's family. Raises `BadInput` naming the option below ``path``."""
    tries, timeout, targets = int(params["tries"]), float(params["timeout"]), params["targets"] or []
    if not 1 <= tries <= _MOST_TRIES:
        raise BadInput(f"{path}tries: {tries} is out of range; give 1 to {_MOST_TRIES}", path=f"{path}tries")
    if not 0.05 <= timeout <= _LONGEST:
        raise BadInput(f"{path}timeout: {timeout:g} is out of range; give 0.05 to {_LONGEST:g} seconds", path=f"{path}timeout")
    if len(targets) > _MOST_TARGETS:
        raise BadInput(f"{path}targets: {len(targets)} are too many; give at most {_MOST_TARGETS}", path=f"{path}targets")
    hosts = []
    for number, target in enumerate(targets):
        ip = parse_ip(str(target), f"{path}targets/{number}")
        if address is not None and ip.version != address.version:
            raise BadInput(f"{path}targets/{number}: {shown(target)} cannot be pinged from {address.host}; give an IPv{address.version} address")
        hosts.append(str(ip))
    return Probe(tuple(dict.fromkeys(hosts)), tries, timeout, str(params["require"]))


def targets_of(address: Address, probe: Probe) -> tuple[str, ...]:
    """Whom to ping: the targets, else the broadcast address of the network or all nodes of the link. `BadInput` when there is none."""
    if probe.targets:
        return probe.targets
    if address.version == 6:
        return (_ALL_NODES,)
    if address.prefixlen >= 31:
        raise BadInput(f"targets: {address} has no broadcast address to ping; set targets, for example to the router of its link", path="targets")
    return (str(address.network.broadcast),)


def run_probe(run: Runner, address: Address, interface: str, probe: Probe) -> Answers:
    """Ping every target at the same time, each until it answers, at most ``tries`` times.

    Takes at most tries × timeout seconds for each sixteen targets. Raises `MissingProgram` without `ping`.
    """
    targets = targets_of(address, probe)
    with ThreadPoolExecutor(min(len(targets), _AT_ONCE)) as pool:
        reasons = list(pool.map(lambda target: _silence(run, address, interface, target, probe), targets))
    return Answers(
        tuple(target for target, reason in zip(targets, reasons) if reason is None),
        tuple(target for target, reason in zip(targets, reasons) if reason is not None),
        tuple(dict.fromkeys(reason for reason in reasons if reason)),
    )


def satisfied(answers: Answers, require: str) -> bool:
    """Whether that is enough."""
    return bool(answers.answered) and (require == "any" or not answers.silent)


def verify(run: Runner, address: Address, interface: str, probe: Probe) -> Answers:
    """`run_probe`, and `ProbeFailed` (with ``answered`` and ``silent`` as returns) when that is not enough."""
    answers = run_probe(run, address, interface, probe)
    if satisfied(answers, probe.require):
        return answers
    cause = f" ({'; '.join(answers.reasons)})" if answers.reasons else ""
    wanted = "all" if probe.require == "all" and len(answers.silent) + len(answers.answered) > 1 else "an answer"
    raise ProbeFailed(
        f"{', '.join(answers.silent)} did not answer to {address.host} on {interface} in {probe.tries} tries of {probe.timeout:g} s{cause}; "
        f"{wanted} is required: see whether the link works, or set other targets",
        returns={"answered": list(answers.answered), "silent": list(answers.silent)},
        interface=interface,
    )


def _silence(run: Runner, address: Address, interface: str, target: str, probe: Probe) -> str | None:
    """``None`` when the target answered; else the reason that `ping` gave, perhaps empty."""
    reason = ""
    for _turn in range(probe.tries):
        done = run(_argv(address, interface, target, probe.timeout))
        if done.rc == 0:
            return None
        if done.rc == _NOT_INSTALLED:
            raise MissingProgram("ping is not installed on this host; install the package iputils-ping (or iputils)", program="ping")
        reason = _reason(done)
    return reason


def _argv(address: Address, interface: str, target: str, timeout: float) -> Sequence[str]:
    argv = ["ping", f"-{address.version}", "-n", "-c", "1", "-W", f"{timeout:g}", "-I", address.host, "-I", interface]
    if target == _ALL_NODES:
        argv.append("-L")  # else this host answers its own question
    elif address.version == 4:
        argv.append("-b")
    return [*argv, target]


def _reason(done: Completed) -> str:
    """The last thing that `ping` complained of, without its own name."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return re.sub(r"^ping: ", "", lines[-1]).strip() if lines else ""
