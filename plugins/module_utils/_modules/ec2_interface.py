# SPDX-License-Identifier: GPL-3.0-or-later
"""Source/destination check and Elastic IP: what `converge` drives for ec2_source_dest_check and ec2_eip_association."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Association, Eni
from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe, plan_interface
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import Parallel, write_eip, write_source_dest_check
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import DesiredElasticIp, EipAction, EipState, SetSourceDestCheck


class SourceDestCheck:
    """The reconciler of an interface's source/destination check. ``client``: see `ec2_client`."""

    def __init__(self, client: Any, network_interface_id: str, enabled: bool) -> None:
        self._client = client
        self._id = network_interface_id
        self._enabled = enabled
        self._write: Parallel[SetSourceDestCheck] = Parallel(lambda action: write_source_dest_check(client, action))

    def observe(self) -> Eni:
        return observe.network_interface(self._client, self._id)

    def plan(self, state: Eni) -> tuple[SetSourceDestCheck, ...]:
        return plan_interface.plan_source_dest_check(self._enabled, state)

    def simulate(self, state: Eni, actions: tuple[SetSourceDestCheck, ...]) -> Eni:
        return plan_interface.simulate_source_dest_check(state, actions)

    def apply(self, actions: tuple[SetSourceDestCheck, ...]) -> tuple[Attempt[SetSourceDestCheck], ...]:
        return self._write(actions)

    def table(self, state: Eni) -> str:
        return plan_interface.source_dest_check_table(state)

    def result(self, run: Run[Eni, SetSourceDestCheck]) -> dict[str, object]:
        return {"before": run.before.source_dest_check, "after": run.after.source_dest_check, "instance_id": run.after.instance_id}


class EipAssociation:
    """The reconciler of `DesiredElasticIp` for the Elastic IP with this address or allocation id. ``client``: see `ec2_client`."""

    def __init__(self, client: Any, wish: DesiredElasticIp, *, public_ip: str | None = None, allocation_id: str | None = None) -> None:
        self._client = client
        self._wish = wish
        self._named = {"public_ip": public_ip, "allocation_id": allocation_id}
        self._write: Parallel[EipAction] = Parallel(lambda action: write_eip(client, action))

    def observe(self) -> EipState:
        """Both calls at once: neither needs what the other says."""
        if not self._wish.present:
            return EipState(observe.elastic_ip(self._client, **self._named), None)
        with ThreadPoolExecutor(1, "ec2") as pool:
            eni = pool.submit(observe.network_interface, self._client, self._wish.network_interface_id)
            eip = observe.elastic_ip(self._client, **self._named)
            return EipState(eip, eni.result())

    def plan(self, state: EipState) -> tuple[EipAction, ...]:
        return plan_interface.plan_eip(self._wish, state)

    def simulate(self, state: EipState, actions: tuple[EipAction, ...]) -> EipState:
        return plan_interface.simulate_eip(state, actions)

    def apply(self, actions: tuple[EipAction, ...]) -> tuple[Attempt[EipAction], ...]:
        return self._write(actions)

    def table(self, state: EipState) -> str:
        return plan_interface.eip_table(state)

    def result(self, run: Run[EipState, EipAction]) -> dict[str, object]:
        after = run.after.eip.association
        return {
            "association_id": (after.association_id or None) if after else None,
            "before": _shown(run.before.eip.association),
            "after": _shown(after),
        }


def _shown(association: Association | None) -> dict[str, object] | None:
    if association is None:
        return None
    return {
        "network_interface_id": association.network_interface_id,
        "private_ip_address": association.private_ip,
        "association_id": association.association_id or None,
    }
