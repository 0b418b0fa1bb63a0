# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources that an action works on, as ARNs with the condition keys that IAM knows of them.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2" (and DynamoDB, STS).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab.control import state
from lab.control.iam.conditions import Context
from lab.control.request import ApiRequest


@dataclass(frozen=True)
class Target:
    """One resource of a call."""

    arn: str
    context: Context


class Resources:
    """Builds `Target` values from a request and moto's state."""

    def __init__(self, backend: Any, account: str, region: str) -> None:
        self._backend = backend
        self._account = account
        self._region = region

    def of(self, request: ApiRequest) -> list[Target]:
        """Every resource must be allowed; ``*`` stands for an action without resource-level permissions."""
        common = {"aws:RequestedRegion": self._region, "aws:SourceIp": request.http.source}
        if request.service == "ec2":
            common["ec2:Region"] = self._region
            found = [target for name in _EC2.get(request.action, ()) for target in self._named(name, request.params)]
        elif request.service == "dynamodb" and isinstance(request.params.get("TableName"), str):
            found = [Target(f"arn:aws:dynamodb:{self._region}:{self._account}:table/{request.params['TableName']}", _leading_keys(request.params))]
        elif request.service == "sts" and request.action == "AssumeRole":
            external = request.params.get("ExternalId")
            found = [Target(str(request.params.get("RoleArn", "*")), {"sts:ExternalId": external} if external else {})]
        else:
            found = []
        return [Target(one.arn, {**common, **one.context}) for one in found] or [Target("*", common)]

    def _named(self, parameter: str, params: dict[str, Any]) -> Iterable[Target]:
        given = params.get(parameter)
        for text in given if isinstance(given, list) else [given] if given else []:
            kind, finder = _KINDS[parameter]
            thing = finder(self._backend, text)
            key = getattr(thing, "id", None) or text
            yield Target(self._arn(kind, key), self._context(kind, thing) if thing is not None else {})
            if parameter == "AssociationId" and thing is not None and thing.eni is not None:  # disassociating is a right on both ends
                yield Target(self._arn("network-interface", thing.eni.id), self._context("network-interface", thing.eni))

    def _arn(self, kind: str, key: str) -> str:
        return f"arn:aws:ec2:{self._region}:{self._account}:{kind}/{key}"

    def _context(self, kind: str, thing: Any) -> Context:
        context: dict[str, str] = {}
        for key, value in state.tags(self._backend, thing.id).items():
            context[f"aws:ResourceTag/{key}"] = context[f"ec2:ResourceTag/{key}"] = value
        vpc = getattr(thing, "vpc_id", None)
        if isinstance(vpc, str):
            context["ec2:Vpc"] = self._arn("vpc", vpc)
        subnet = getattr(thing, "subnet_id", None)
        if kind == "network-interface":
            context["ec2:Subnet"] = self._arn("subnet", str(subnet))
        if kind in ("network-interface", "instance"):
            context["ec2:AvailabilityZone"] = str(thing.availability_zone)
        own = {"route-table": "ec2:RouteTableID", "network-interface": "ec2:NetworkInterfaceID", "instance": "ec2:InstanceID"}
        if kind in own:
            context[own[kind]] = thing.id
        if kind == "elastic-ip":
            context.update({"ec2:AllocationId": str(thing.allocation_id), "ec2:PublicIpAddress": thing.public_ip, "ec2:Domain": thing.domain})
        return context


def _leading_keys(params: dict[str, Any]) -> Context:
    """The partition key of the item that a call on one item names. The lab's tables have a text as their only key."""
    item = params.get("Key") or params.get("Item") or {}
    keys = [str(value["S"]) for name, value in item.items() if name == "lease" and "S" in value]
    return {"dynamodb:LeadingKeys": keys} if keys else {}


def _instance(backend: Any, key: str) -> Any:
    return next((one for one in backend.all_instances() if one.id == key), None)


def _address(attribute: str) -> Any:
    return lambda backend, key: next((one for one in backend.addresses if getattr(one, attribute) == key), None)


_KINDS: dict[str, tuple[str, Any]] = {
    "RouteTableId": ("route-table", lambda backend, key: backend.route_tables.get(key)),
    "NetworkInterfaceId": ("network-interface", lambda backend, key: backend.enis.get(key)),
    "InstanceId": ("instance", _instance),
    "InstanceIds": ("instance", _instance),
    "AllocationId": ("elastic-ip", _address("allocation_id")),
    "PublicIp": ("elastic-ip", _address("public_ip")),
    "AssociationId": ("elastic-ip", _address("association_id")),
}
#: The parameters of an action that name resources on which it needs permission. Describe calls have none.
_EC2 = {
    "CreateRoute": ("RouteTableId",),
    "ReplaceRoute": ("RouteTableId",),
    "DeleteRoute": ("RouteTableId",),
    "DeleteRouteTable": ("RouteTableId",),
    "AssociateRouteTable": ("RouteTableId",),
    "ModifyNetworkInterfaceAttribute": ("NetworkInterfaceId",),
    "DeleteNetworkInterface": ("NetworkInterfaceId",),
    "AttachNetworkInterface": ("NetworkInterfaceId", "InstanceId"),
    "AssociateAddress": ("AllocationId", "PublicIp", "NetworkInterfaceId", "InstanceId"),
    "DisassociateAddress": ("AssociationId", "PublicIp"),
    "ReleaseAddress": ("AllocationId", "PublicIp"),
    "StopInstances": ("InstanceIds",),
    "StartInstances": ("InstanceIds",),
    "RebootInstances": ("InstanceIds",),
    "TerminateInstances": ("InstanceIds",),
    "ModifyInstanceAttribute": ("InstanceId",),
}
