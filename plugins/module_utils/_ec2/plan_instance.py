# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop an instance. Pure. There is never more than one action, so there is no order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table

#: EC2's names of the states in which an instance sends and answers nothing any more.
_OFF = ("stopped", "terminated")


@dataclass(frozen=True)
class Instance:
    """An instance as EC2 describes it. ``macs``: of its network interfaces, in small letters."""

    id: str
    state: str
    macs: tuple[str, ...] = ()


@dataclass(frozen=True)
class StopInstance:
    """Stop an instance. ``force``: without waiting for its operating system."""

    instance_id: str
    force: bool

    def __str__(self) -> str:
        return f"{self.instance_id}: stopping it"


def plan_stop(instance: Instance, force: bool, own_macs: Collection[str]) -> tuple[StopInstance, ...]:
    """The action that is left; none when the instance is off.

    :param own_macs: The MAC addresses of the host that this runs on. Raises `Refused` for the instance that has one of them.
    """
    if set(instance.macs) & set(own_macs):
        raise Refused(f"{instance.id} is the instance that this runs on; a node does not stop itself", instance_id=instance.id)
    return () if instance.state in _OFF else (StopInstance(instance.id, force),)


def simulate_stop(instance: Instance, actions: tuple[StopInstance, ...]) -> Instance:
    """The instance as it would be after ``actions``."""
    return replace(instance, state="stopped") if actions else instance


def instance_table(instance: Instance) -> str:
    """The state as text for the diff."""
    return text_table(("instance", "state"), [(instance.id, instance.state)])
