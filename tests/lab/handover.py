# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover between two checkers, by their sockets alone: what a playbook asks for, without the playbook."""

from __future__ import annotations

from lab.checker import Checker
from lab.waiting import until


def hand_over(old: Checker, new: Checker, tag: str, patience: float = 30.0) -> None:
    """The resource goes from one node to the other, whose checker is told of it and puts it in service. Raises RuntimeError with a refusal."""
    until(lambda: new.ask("status", tag=tag)["ready"], patience, f"{new.node.name} is not ready to take {tag}")
    answer = old.ask("release", tag=tag, handoff_to=new.node.name)
    if not answer["ok"]:
        raise RuntimeError(answer["message"])
    until(lambda: new.ask("status", tag=tag)["serving"], patience, f"{new.node.name} does not serve {tag}")
