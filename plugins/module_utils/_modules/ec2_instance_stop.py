# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping an instance: what `converge` drives for ec2_instance_stop."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import Parallel, write_stop
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_instance import Instance, StopInstance, instance_table, plan_stop, simulate_stop


class InstanceStop:
    """The reconciler of an instance that should be off.

    :param client: See `ec2_client`.
    :param instance_id: Or ``None`` for the one that ``network_interface_id`` is attached to.
    :param own_macs: Of this host, see `plan_stop`.
    :param timeout: The seconds that it gets, for the message.
    """

    def __init__(
        self, client: Any, instance_id: str | None, network_interface_id: str | None, *, force: bool, own_macs: Collection[str], timeout: float
    ) -> None:
        self._client, self._id, self._eni_id = client, instance_id, network_interface_id
        self._force, self._own_macs, self._timeout = force, own_macs, timeout
        self._write: Parallel[StopInstance] = Parallel(lambda action: write_stop(client, action))

    def observe(self) -> Instance:
        """The instance now. One that was named by its interface is looked up once: a later look must not find another."""
        if self._id is None:
            self._id = self._attached_to(self._eni_id or "")
        return observe.instance(self._client, self._id)

    def _attached_to(self, eni_id: str) -> str:
        found = observe.network_interface(self._client, eni_id).instance_id
        if found is None:
            raise NotFound(f"{eni_id} is attached to no instance, so there is none to stop; give instance_id", network_interface_id=eni_id)
        return found

    def plan(self, state: Instance) -> tuple[StopInstance, ...]:
        return plan_stop(state, self._force, self._own_macs)

    def simulate(self, state: Instance, actions: tuple[StopInstance, ...]) -> Instance:
        return simulate_stop(state, actions)

    def apply(self, actions: tuple[StopInstance, ...]) -> tuple[Attempt[StopInstance], ...]:
        return self._write(actions)

    def unseen(self, state: Instance, action: StopInstance) -> HoldfastError:
        """Why a stop that EC2 accepted is not over."""
        return NotConverged(
            f"{action.instance_id} is {state.state}, not stopped, {self._timeout:g} s after it was asked to stop; give a longer timeout, or set force"
        )

    def table(self, state: Instance) -> str:
        return instance_table(state)

    def result(self, run: Run[Instance, StopInstance]) -> dict[str, object]:
        return {"instance_id": run.after.id, "before": run.before.state, "after": run.after.state}
