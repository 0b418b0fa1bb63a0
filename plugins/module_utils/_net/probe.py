# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify an address by pinging from it: a list of targets, or everything on its link (scenarios.md C9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed, Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import MissingProgram, ProbeFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import ALL_NODES, targets_of

_AT_ONCE = 16
_NOT_INSTALLED = 127


@dataclass(frozen=True)
class Answers:
    """Who answered, who did not, and what `ping` gave as the reason, in the order of the targets."""

    answered: tuple[str, ...]
    silent: tuple[str, ...]
    reasons: tuple[str, ...] = ()


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
    if target == ALL_NODES:
        argv.append("-L")  # else this host answers its own question
    elif address.version == 4:
        argv.append("-b")
    return [*argv, target]


def _reason(done: Completed) -> str:
    """The last thing that `ping` complained of, without its own name."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return re.sub(r"^ping: ", "", lines[-1]).strip() if lines else ""
