# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the fence by source/destination check in force: a write of the old active node that reaches EC2 late would undo it.

The playbook that fenced the old node records the interfaces (`ip_resource`, option ``fenced``). With each look at EC2 the holder verifies them. A
fence that was undone is no fault of the resource: it counts neither for the flap limit nor for a failover, and no playbook is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import Fenced

if TYPE_CHECKING:  # boto3 is loaded only where EC2 is asked
    from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Eni


def is_over(fenced: Fenced, tag: str, peers: Sequence[Mapping[str, Any]], *, seconds: float, hold_down: float) -> bool:
    """Whether the check of the old node's interfaces is again that node's own business. Pure.

    1. During the first ``hold_down`` seconds it never is: a call that was under way when the node was fenced arrives within that time.
    2. It is if the old node is ready as a standby. It has read the lease since, and switches the check off itself when it takes over.
    3. It is if the old node holds another resource, which may need the check to be off on the same interface.
    4. It is if nobody can report 2 or 3: without the channel between the nodes, or if it is not known which node was fenced.

    :param peers: What `Peers.describe` reports.
    :param seconds: For how long this node has held the lease.
    """
    if seconds < hold_down:
        return False
    if not peers or not fenced.nodes:
        return True
    return any(_is_back(peer, tag) for peer in peers if peer["node"] in fenced.nodes)


def _is_back(peer: Mapping[str, Any], tag: str) -> bool:
    if not peer["alive"]:
        return False
    this = peer["resources"].get(tag)
    others = (about for name, about in peer["resources"].items() if name != tag)
    return bool(this and this["ready"] and not this["held"]) or any(about["held"] for about in others)


class FenceWatch:
    """The fence of one resource.

    :param log: Takes the name of an event and its facts.
    """

    def __init__(self, tag: str, log: Callable[..., None]) -> None:
        self._tag, self._log = tag, log
        self._over: int | None = None
        self._failure = ""

    def applies(self, fenced: Fenced | None, epoch: int, peers: Sequence[Mapping[str, Any]], *, seconds: float, hold_down: float) -> bool:
        """Whether to verify the fence under the lease of ``epoch``. Once over, it does not begin again. See `is_over`."""
        if fenced is None or fenced.epoch != epoch or self._over == epoch:
            return False
        if is_over(fenced, self._tag, peers, seconds=seconds, hold_down=hold_down):
            self._over = epoch
            return False
        return True

    def verify(self, fenced: Fenced, observe: Callable[[str], Eni], client: Callable[[], Any], may_write: Callable[[], bool]) -> None:
        """Switch the check of each interface on again where it is off. A failure is logged once; the next look tries again.

        :param observe: The interface with that id, as EC2 has it now.
        :param may_write: Whether the lease is still held; asked right before each change.
        """
        failures = []
        for interface in fenced.interfaces:
            try:
                self._verify(interface, observe, client, may_write)
            except NotFound:
                continue  # it went with its instance
            except HoldfastError as error:
                failures.append(error.message)
        failure = "; ".join(failures)
        if failure and failure != self._failure:
            self._log("fence not verified", tag=self._tag, reason=failure)
        self._failure = failure

    def _verify(self, interface: str, observe: Callable[[str], Eni], client: Callable[[], Any], may_write: Callable[[], bool]) -> None:
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import write_source_dest_check
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import plan_source_dest_check

        for action in plan_source_dest_check(True, observe(interface)):
            if may_write():
                write_source_dest_check(client(), action)
                self._log("fence restored", tag=self._tag, interface=interface)
