# SPDX-License-Identifier: GPL-3.0-or-later
"""Identifiers that no resource could have are refused as malformed; EC2 looks for the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lab.control.errors import ApiError
from lab.control.request import ApiRequest

_HEX = re.compile(r"[0-9a-f]{8}(?:[0-9a-f]{9})?")


@dataclass(frozen=True)
class _Kind:
    prefixes: tuple[str, ...]
    malformed: str
    noun: str


# The codes, with their uneven spelling, are those of the EC2 API reference, "Error codes". It lists none for
# a malformed allocation or association: EC2 does not find them.
_ROUTE_TABLE = _Kind(("rtb-",), "InvalidRouteTableId.Malformed", "route table")
_INTERFACE = _Kind(("eni-",), "InvalidNetworkInterfaceId.Malformed", "network interface")
_ATTACHMENT = _Kind(("eni-attach-",), "InvalidNetworkInterfaceAttachmentId.Malformed", "network interface attachment")
_INSTANCE = _Kind(("i-",), "InvalidInstanceID.Malformed", "instance")
_SUBNET = _Kind(("subnet-",), "InvalidSubnetID.Malformed", "subnet")
_VPC = _Kind(("vpc-",), "InvalidVpcID.Malformed", "VPC")
_INTERNET_GATEWAY = _Kind(("igw-",), "InvalidInternetGatewayId.Malformed", "internet gateway")
_GATEWAY = _Kind(("igw-", "vgw-", "vpce-"), "InvalidGatewayID.Malformed", "gateway")
_PREFIX_LIST = _Kind(("pl-",), "InvalidPrefixListId.Malformed", "prefix list")
_ALLOCATION = _Kind(("eipalloc-",), "InvalidAllocationID.NotFound", "allocation")
_ASSOCIATION = _Kind(("eipassoc-",), "InvalidAssociationID.NotFound", "association")
_TABLE_ASSOCIATION = _Kind(("rtbassoc-",), "InvalidAssociationID.NotFound", "association")

_KINDS = {
    "RouteTableId": _ROUTE_TABLE,
    "RouteTableIds": _ROUTE_TABLE,
    "NetworkInterfaceId": _INTERFACE,
    "NetworkInterfaceIds": _INTERFACE,
    "AttachmentId": _ATTACHMENT,
    "InstanceId": _INSTANCE,
    "InstanceIds": _INSTANCE,
    "SubnetId": _SUBNET,
    "SubnetIds": _SUBNET,
    "VpcId": _VPC,
    "VpcIds": _VPC,
    "InternetGatewayId": _INTERNET_GATEWAY,
    "InternetGatewayIds": _INTERNET_GATEWAY,
    "GatewayId": _GATEWAY,
    "DestinationPrefixListId": _PREFIX_LIST,
    "PrefixListId": _PREFIX_LIST,
    "PrefixListIds": _PREFIX_LIST,
    "AllocationId": _ALLOCATION,
    "AllocationIds": _ALLOCATION,
}
_TABLE_ASSOCIATION_ACTIONS = ("DisassociateRouteTable", "ReplaceRouteTableAssociation")


def refuse_malformed(request: ApiRequest) -> None:
    """Raise `ApiError` for the first identifier in the request that has not the form of its kind."""
    for name, value in request.params.items():
        kind = _KINDS.get(name)
        if name == "AssociationId":
            kind = _TABLE_ASSOCIATION if request.action in _TABLE_ASSOCIATION_ACTIONS else _ASSOCIATION
        if kind is not None:
            for text in value if isinstance(value, list) else [value]:
                _check(kind, name, text)


def _check(kind: _Kind, name: str, text: Any) -> None:
    if text == "local" and name == "GatewayId":
        return
    if isinstance(text, str):
        prefix = next((one for one in kind.prefixes if text.startswith(one)), None)
        if prefix is not None and _HEX.fullmatch(text[len(prefix) :]):
            return
    raise ApiError(kind.malformed, f'Invalid id: "{text}" (expecting "{kind.prefixes[0]}..." of a {kind.noun})')
