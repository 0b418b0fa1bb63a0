# SPDX-License-Identifier: GPL-3.0-or-later
"""The target of a route: exactly one, existing, and of the route table's own VPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules.registry import Ec2Call


@dataclass(frozen=True)
class Target:
    """A keyword of moto's Route and its value."""

    attribute: str
    value: Any


LOCAL = Target("local", True)
_PARAMETERS = (
    "GatewayId",
    "InstanceId",
    "NetworkInterfaceId",
    "NatGatewayId",
    "EgressOnlyInternetGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "CarrierGatewayId",
    "VpcEndpointId",
    "LocalGatewayId",
    "CoreNetworkArn",
)


def wanted(call: Ec2Call, table: Any, *, local: bool) -> Target:
    """The target that the request names; ``local``: the action takes ``LocalTarget``. Raises `ApiError`."""
    given = [name for name in (*_PARAMETERS, *(("LocalTarget",) if local else ())) if call.params.get(name)]
    if len(given) != 1:
        code = "InvalidParameterCombination" if given else "MissingParameter"
        names = ", ".join(name[0].lower() + name[1:] for name in _PARAMETERS)
        raise ApiError(code, f"The request must contain exactly one of {names}")
    name, text = given[0], str(call.params[given[0]])
    if name == "LocalTarget" or (local and text == "local"):
        return LOCAL
    if name in ("InstanceId", "NetworkInterfaceId"):
        eni = _only_interface(call, text) if name == "InstanceId" else interface(call, text)
        if eni.subnet.vpc_id != table.vpc_id:
            raise ApiError("InvalidParameterValue", f"route table {table.id} and interface {eni.id} belong to different networks")
        return Target("interface", eni)
    if name == "GatewayId":
        return _gateway(call, table, text)
    if name not in _OTHERS:
        raise ApiError("Unsupported", f"The lab has no targets of the kind {name}.")
    attribute, collection, code = _OTHERS[name]
    found = getattr(call.backend, collection).get(text)
    if found is None:
        raise ApiError(code, f"The {name} '{text}' does not exist")
    return Target(attribute, found.id if attribute == "vpc_endpoint_id" else found)


def interface(call: Ec2Call, text: str) -> Any:
    """The network interface, else InvalidNetworkInterfaceID.NotFound."""
    eni = call.backend.enis.get(text)
    if eni is None:
        raise ApiError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{text}' does not exist")
    return eni


def instance(call: Ec2Call, text: str) -> Any:
    """The instance, else InvalidInstanceID.NotFound."""
    found = next((one for one in call.backend.all_instances() if one.id == text), None)
    if found is None:
        raise ApiError("InvalidInstanceID.NotFound", f"The instance ID '{text}' does not exist")
    return found


def _only_interface(call: Ec2Call, text: str) -> Any:
    return only_interface(call, instance(call, text))


def only_interface(call: Ec2Call, one: Any) -> Any:
    """An instance stands for its interface only while it has exactly one."""
    held = state.interfaces_of(call.backend, one)
    if len(held) > 1:
        text = f"There are multiple interfaces attached to instance '{one.id}'. Please specify an interface ID for the operation instead."
        raise ApiError("InvalidInstanceID", text)
    if not held:
        raise ApiError("IncorrectInstanceState", f"The instance '{one.id}' has no network interface (it is {one.state})")
    return held[0]


def _gateway(call: Ec2Call, table: Any, text: str) -> Target:
    if text.startswith("vpce-"):
        if text not in call.backend.vpc_end_points:
            raise ApiError("InvalidVpcEndpointId.NotFound", f"The VpcEndpoint ID '{text}' does not exist")
        return Target("vpc_endpoint_id", text)
    known = call.backend.internet_gateways if text.startswith("igw-") else call.backend.vpn_gateways
    if text not in known:
        raise ApiError("InvalidGatewayID.NotFound", f"The gateway ID '{text}' does not exist")
    found = known[text]
    if text.startswith("igw-") and (found.vpc is None or found.vpc.id != table.vpc_id):
        raise ApiError("InvalidParameterValue", f"route table {table.id} and network gateway {text} belong to different networks")
    return Target("gateway", found)


_OTHERS = {
    "NatGatewayId": ("nat_gateway", "nat_gateways", "InvalidNatGatewayID.NotFound"),
    "EgressOnlyInternetGatewayId": ("egress_only_igw", "egress_only_internet_gateways", "InvalidEgressOnlyInternetGatewayId.NotFound"),
    "TransitGatewayId": ("transit_gateway", "transit_gateways", "InvalidTransitGatewayID.NotFound"),
    "VpcPeeringConnectionId": ("vpc_pcx", "vpc_pcxs", "InvalidVpcPeeringConnectionID.NotFound"),
    "CarrierGatewayId": ("carrier_gateway", "carrier_gateways", "InvalidCarrierGatewayID.NotFound"),
    "VpcEndpointId": ("vpc_endpoint_id", "vpc_end_points", "InvalidVpcEndpointId.NotFound"),
}
