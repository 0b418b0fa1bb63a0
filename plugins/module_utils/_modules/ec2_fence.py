# SPDX-License-Identifier: GPL-3.0-or-later
"""What ec2_fence does: find the old node by what still targets it on EC2, and keep it from serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Reconciler, ReconcilerGroup, Run, preview, preview_together
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import links_by_mac
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.ec2_repair import resource_options
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.fence import find_old_node
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_instance_stop import InstanceStop
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_interface import SourceDestCheck
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import RESOURCE, SETTLE, place, resource_parts, stop_settle
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse


def settle(params: Mapping[str, Any]) -> float:
    """For how long the fence is waited for, in seconds. Raises `BadInput`."""
    return max(SETTLE, stop_settle(params))


def fence(params: Mapping[str, Any], warn: Callable[[str], None]) -> ReconcilerGroup:
    """The change of each network interface of the old node. Raises `HoldfastError`, and then nothing has changed."""
    resource, timeout = parse(params["resource"], "resource"), stop_settle(params)
    if resource.fence == "none":
        raise BadInput("resource/fence: it is none, so nobody is fenced; set it to source_dest_check or stop_instance", path="resource/fence")
    aws = {**params, **(own_options(resource.ec2) if resource.ec2 is not None else {})}
    here = place(aws)()
    routes, association = _targets(resource, {**aws, "interface": None, "network_interface_id": here.network_interface_id}, warn)
    given = {"resource": params["resource"], "node": params["node"], "instances": params["instances"] or {}, "unfenced": params["old_nodes"]}
    hit = find_old_node(**given, routes=routes, association=association)
    owners = [_instance_of(here.client, one) for one in hit.interfaces]
    found = find_old_node(**given, routes=routes, association=association, owners=owners)

    def change(eni: str) -> Reconciler[Any, Any]:
        if resource.fence == "source_dest_check":
            return SourceDestCheck(here.client, eni, enabled=True)
        return InstanceStop(here.client, None, eni, force=True, own_macs=links_by_mac().keys(), timeout=timeout)

    def result(runs: Mapping[str, Run[Any, Any]]) -> dict[str, object]:
        return {"interfaces": list(found.interfaces), "nodes": list(found.nodes)}

    return ReconcilerGroup({eni: change(eni) for eni in found.interfaces}, result)


def _targets(resource: Resource, params: Mapping[str, Any], warn: Callable[[str], None]) -> tuple[Any, Any]:
    """The entries of the route tables and the association of the Elastic IP, as ec2_resource shows them in check mode."""
    faults = (Fault.ROUTES, Fault.ELASTIC_IP)
    options = resource_options(resource.ec2, resource.address.host, "", faults, {}) if resource.ec2 is not None else {}
    if not options:
        return (), {}
    parts = resource_parts({**{name: one.get("default") for name, one in RESOURCE.items()}, **options, **params}, warn)
    runs: dict[str, Run[Any, Any]] = {}
    for name, outcome in preview_together(parts, settle=SETTLE).items():
        if isinstance(outcome, HoldfastError):
            raise outcome
        runs[name] = outcome
    shown = parts.result(runs)
    return shown.get("routes") or (), shown.get("elastic_ip") or {}


def _instance_of(client: Any, eni: str) -> dict[str, object]:
    return {"instance_id": preview(SourceDestCheck(client, eni, enabled=True), settle=SETTLE).after.instance_id}
