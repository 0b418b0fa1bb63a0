# SPDX-License-Identifier: GPL-3.0-or-later
"""All that leads to a resource on EC2, at once: what `converge_together` drives for ec2_resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import DependsOn, Reconciler, ReconcilerGroup, Run
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_interface import EipAssociation, SourceDestCheck
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_route_target import RouteTargets

_CHECK, _ROUTES, _ELASTIC_IP = "source_dest_check", "routes", "elastic_ip"


def together(check: SourceDestCheck | None, routes: RouteTargets | None, elastic_ip: EipAssociation | None) -> ReconcilerGroup:
    """The parts that are given. No entry is pointed here before the source/destination check is seen to be off: until then it would drop packets."""
    given: dict[str, Reconciler[Any, Any] | None] = {_CHECK: check, _ROUTES: routes, _ELASTIC_IP: elastic_ip}
    after = {_ROUTES: DependsOn(_CHECK, "the route table entries are left as they are, since the source/destination check is not off")}

    def result(runs: Mapping[str, Run[Any, Any]]) -> dict[str, object]:
        told: dict[str, object] = {}
        if check and _CHECK in runs:
            told[_CHECK] = check.result(runs[_CHECK])
        if routes and _ROUTES in runs:
            told.update(routes.result(runs[_ROUTES]))
        if elastic_ip and _ELASTIC_IP in runs:
            told[_ELASTIC_IP] = elastic_ip.result(runs[_ELASTIC_IP])
        return told

    tasks = {name: task for name, task in given.items() if task is not None}
    return ReconcilerGroup(tasks, result, after if check and routes else {})
