# SPDX-License-Identifier: GPL-3.0-or-later
"""The IAM policy of the nodes, as narrow as EC2 and DynamoDB allow for given resources. Calls no service.

Source: Service Authorization Reference, "Actions, resources, and condition keys" for Amazon EC2, Amazon DynamoDB and AWS STS. The Describe actions
of EC2 have no resource-level permissions, only `ec2:Region`. Associating and disassociating an Elastic IP needs the right on the address and on the
network interface, which know different condition keys, so each has a statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import partition_of

_DESCRIBE = ("DescribeRouteTables", "DescribeNetworkInterfaces", "DescribeAddresses")
_ADDRESS = ["ec2:AssociateAddress", "ec2:DisassociateAddress"]
#: What is not known of resources that are not given.
_ANY = ({"ec2": {"route_tables": "all", "elastic_ip": ""}},)


def iam_policy(
    resources: Sequence[Mapping[str, Any]],
    store: Mapping[str, Any],
    cluster: str = "",
    aws: Mapping[str, Any] | None = None,
    instances: Mapping[str, str] | None = None,
    table_arn: str = "",
) -> dict[str, Any]:
    """The policy for `holdfast_resources`, or without any the one for resources of every kind.

    :param store: `holdfast_store`, of type dynamodb. ``aws``: `holdfast_aws`. ``instances``: `holdfast_instances`.
    :param table_arn: The ARN of the lease table, which names region and account; without it those are wildcards as far as ``store`` leaves them open.
    """
    given = list(resources) or list(_ANY)
    parts = [{**(aws or {}), **one["ec2"]} for one in given if one.get("ec2") is not None]
    fences = {one.get("fence") for one in given}
    roles = sorted({one["role_arn"] for one in (*parts, aws or {}, store) if one.get("role_arn")})
    partition = _partition([table_arn, *roles], [one.get("region") for one in (store, *parts)])
    table = table_arn or _Place(partition, str(store.get("region") or "*"), "*").arn("dynamodb", f"table/{store.get('table', '*')}")
    home = table.split(":")[4] if not store.get("role_arn") else "*"
    region = _only(one.get("region") for one in parts)
    account = _only(one["role_arn"].split(":")[4] if one.get("role_arn") else home for one in parts)
    here = _Place(partition, region, account)
    statements: list[dict[str, Any]] = []
    if parts:
        names = _DESCRIBE + (("DescribeInstances",) if "stop_instance" in fences else ())
        condition = {} if region == "*" else {"StringEquals": {"ec2:Region": region}}
        statements.append(_allow("Describe", [f"ec2:{name}" for name in names], "*", condition))
        statements += _network(parts, here)
    if "stop_instance" in fences:
        named = [here.arn("ec2", f"instance/{one}") for one in sorted((instances or {}).values()) or ["*"]]
        statements.append(_allow("Fence", ["ec2:StopInstances"], named))
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{cluster}/*"]}} if cluster else {}
    statements.append(_allow("Leases", ["dynamodb:GetItem", "dynamodb:PutItem"], table, keys))
    if roles:
        statements.append(_allow("Roles", ["sts:AssumeRole"], roles))
    return {"Version": "2012-10-17", "Statement": statements}


def _network(parts: Sequence[Mapping[str, Any]], here: _Place) -> list[dict[str, Any]]:
    """The writes to route tables, network interfaces and Elastic IPs."""
    listed = sorted({table for one in parts if isinstance(one.get("route_tables"), list) for table in one["route_tables"]})
    whole = [one for one in parts if one.get("route_tables") == "all"]
    addresses = [str(one["elastic_ip"]) for one in parts if one.get("elastic_ip") is not None]
    routes = ["ec2:ReplaceRoute"] + (["ec2:CreateRoute"] if any(one.get("missing") == "create" for one in parts) else [])
    found = []
    if listed:
        found.append(_allow("RouteTables", routes, [here.arn("ec2", f"route-table/{one}") for one in listed]))
    if whole:
        found.append(_allow("AllRouteTables", routes, here.arn("ec2", "route-table/*"), _vpcs(whole, here)))
    interfaces = here.arn("ec2", "network-interface/*")
    found.append(_allow("Interfaces", ["ec2:ModifyNetworkInterfaceAttribute", *(_ADDRESS if addresses else [])], interfaces, _vpcs(parts, here)))
    if addresses:
        condition = {"StringEquals": {"ec2:PublicIpAddress": sorted(set(addresses))}} if all(addresses) else {}
        found.append(_allow("ElasticIps", list(_ADDRESS), here.arn("ec2", "elastic-ip/*"), condition))
    return found


def _vpcs(parts: Sequence[Mapping[str, Any]], here: _Place) -> dict[str, Any]:
    """The condition that a thing is in one of the VPCs, where each resource names its own. The owner of a shared VPC is another account."""
    named = sorted({str(one.get("vpc_id") or "") for one in parts})
    return {"ArnLike": {"ec2:Vpc": [replace(here, account="*").arn("ec2", f"vpc/{one}") for one in named]}} if all(named) else {}


def _allow(name: str, actions: list[str], resource: str | list[str], condition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Sid": f"Holdfast{name}", "Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": dict(condition)} if condition else statement


def _only(values: Any) -> str:
    """The value, where all have the same; else a wildcard."""
    found = set(values)
    return str(found.pop()) if len(found) == 1 and None not in found else "*"


def _partition(arns: Sequence[str], regions: Sequence[Any]) -> str:
    """A policy reaches one partition only. An ARN names it, else a region tells it."""
    named = [arn.split(":")[1] for arn in arns if arn]
    return next((one for one in (*named, *(partition_of(str(region)) for region in regions if region)) if one), "aws")


@dataclass(frozen=True)
class _Place:
    """Where things are. ``region`` and ``account`` may be ``*``."""

    partition: str
    region: str
    account: str

    def arn(self, service: str, thing: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{thing}"
