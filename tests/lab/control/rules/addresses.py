# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs: an association moves as a whole, names a private address of the interface, and can be taken away twice."""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.utils import random_eip_association_id

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules import filters, targets
from lab.control.rules.registry import Ec2Call, answers, checks, follows

_FILTERS = {
    "allocation-id": "AllocationId",
    "association-id": "AssociationId",
    "domain": "Domain",
    "instance-id": "InstanceId",
    "network-interface-id": "NetworkInterfaceId",
    "network-interface-owner-id": "NetworkInterfaceOwnerId",
    "private-ip-address": "PrivateIpAddress",
    "public-ip": "PublicIp",
}

_PUBLIC = (ipaddress.IPv4Network("203.0.113.0/24"), ipaddress.IPv4Network("198.51.100.0/24"))


@checks("AllocateAddress")
def allocate_from_documentation(call: Ec2Call) -> None:
    """Public addresses that packets of the lab can carry (RFC 5737); moto's own begin with 127."""
    if not call.request.form.get("Address"):
        taken = {one.public_ip for one in call.backend.addresses}
        free = next((str(ip) for block in _PUBLIC for ip in block.hosts() if str(ip) not in taken), None)
        if free is None:
            raise ApiError("AddressLimitExceeded", "The maximum number of addresses has been reached.")
        call.request.form["Address"] = free


@answers("AssociateAddress")
def associate_address(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, AssociateAddress: for a VPC, moving is automatic unless AllowReassociation is false."""
    address = _named(call, "AllocationId", "PublicIp")
    eni, private = _where_to(call)
    if not any(one.vpc is not None and one.vpc.id == eni.subnet.vpc_id for one in call.backend.internet_gateways.values()):
        raise ApiError("Gateway.NotAttached", f"Network {eni.subnet.vpc_id} is not attached to any internet gateway")
    if address.eni is eni and state.private_ip(address) == private:
        return {"AssociationId": address.association_id}
    there = [one for one in call.backend.addresses if one is not address and one.eni is eni and state.private_ip(one) == private]
    if call.params.get("AllowReassociation") is False and (address.eni is not None or there):
        text = f"resource {address.allocation_id} is already associated with associate-id {address.association_id}"
        raise ApiError("Resource.AlreadyAssociated", text)
    for one in [address, *there]:
        detach(call, one)
    address.eni, address.instance, address.associated_private_ip = eni, eni.instance, private
    address.association_id = random_eip_association_id()
    if private == state.private_ips(eni)[0]:
        eni.public_ip = address.public_ip
    return {"AssociationId": address.association_id}


@answers("DisassociateAddress")
def disassociate_address(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, DisassociateAddress: idempotent, so an association that is gone is no error."""
    association = call.params.get("AssociationId")
    if association and not call.params.get("PublicIp"):
        held = [one for one in call.backend.addresses if one.association_id == association]
        if not held and association not in _gone(call.backend):
            raise ApiError("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")
    else:
        held = [_named(call, "AssociationId", "PublicIp")]
    for one in held:
        detach(call, one)
    return {}


@answers("DescribeAddresses")
def describe_addresses(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, DescribeAddresses."""
    allocations, publics = call.params.get("AllocationIds") or [], call.params.get("PublicIps") or []
    for one in allocations:
        _by(call, "allocation_id", one)
    for one in publics:
        _by(call, "public_ip", one)
    named = [one for one in call.backend.addresses if not allocations or one.allocation_id in allocations]
    shown = [_shown(call, one) for one in named if not publics or one.public_ip in publics]
    return {"Addresses": filters.apply(shown, call.params.get("Filters") or [], _FILTERS)}


@checks("ReleaseAddress")
def refuse_release_in_use(call: Ec2Call) -> None:
    """An Elastic IP is disassociated before it is released."""
    if _named(call, "AllocationId", "PublicIp").eni is not None:
        raise ApiError("InvalidIPAddress.InUse", "The address is in use; disassociate it first.")


@follows("DeleteNetworkInterface", "TerminateInstances")
def disassociate_from_deleted(call: Ec2Call) -> None:
    """With an interface goes the association that points at it."""
    for one in call.backend.addresses:
        if one.eni is not None and one.eni.id not in call.backend.enis:
            detach(call, one)


def detach(call: Ec2Call, address: Any) -> None:
    """Take an Elastic IP's association away, wherever it is seen."""
    if address.association_id:
        _gone(call.backend).add(address.association_id)
    if address.eni is not None and address.eni.public_ip == address.public_ip:
        address.eni.public_ip = None
    address.eni = address.instance = address.association_id = address.associated_private_ip = None


def _gone(backend: Any) -> set[str]:
    if not hasattr(backend, "associations_gone"):
        backend.associations_gone = set()
    gone: set[str] = backend.associations_gone
    return gone


def _where_to(call: Ec2Call) -> tuple[Any, str]:
    eni_id, instance_id, private = (call.params.get(name) for name in ("NetworkInterfaceId", "InstanceId", "PrivateIpAddress"))
    if eni_id and instance_id:
        raise ApiError("InvalidParameterCombination", "You may specify either the instance ID or the network interface ID, not both.")
    if not eni_id and not instance_id:
        raise ApiError("MissingParameter", "Either the instance ID or the network interface ID must be specified.")
    eni = targets.interface(call, eni_id) if eni_id else targets.only_interface(call, targets.instance(call, str(instance_id)))
    addresses = state.private_ips(eni)
    if private and private not in addresses:
        raise ApiError("InvalidParameterValue", f"Invalid value '{private}' for PrivateIpAddress. It is not assigned to interface {eni.id}")
    return eni, str(private or addresses[0])


def _named(call: Ec2Call, *parameters: str) -> Any:
    given = [name for name in parameters if call.params.get(name)]
    if len(given) != 1:
        code = "InvalidParameterCombination" if given else "MissingParameter"
        raise ApiError(code, f"The request must contain exactly one of {', '.join(parameters)}")
    attribute = {"AllocationId": "allocation_id", "PublicIp": "public_ip", "AssociationId": "association_id"}[given[0]]
    return _by(call, attribute, str(call.params[given[0]]))


def _by(call: Ec2Call, attribute: str, text: str) -> Any:
    if attribute == "public_ip":
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise ApiError("InvalidParameterValue", f"Value ({text}) for parameter publicIp is invalid. Invalid IPv4 address.") from None
    found = next((one for one in call.backend.addresses if getattr(one, attribute) == text), None)
    if found is None and attribute == "public_ip":
        raise ApiError("InvalidAddress.NotFound", f"Address '{text}' not found.")
    if found is None:
        raise ApiError("InvalidAllocationID.NotFound", f"The allocation ID '{text}' does not exist")
    return found


def _shown(call: Ec2Call, address: Any) -> dict[str, Any]:
    eni = address.eni
    result = {
        "PublicIp": address.public_ip,
        "AllocationId": address.allocation_id,
        "Domain": "vpc",
        "AssociationId": address.association_id,
        "NetworkInterfaceId": eni.id if eni else None,
        "NetworkInterfaceOwnerId": call.account if eni else None,
        "InstanceId": eni.instance.id if eni and eni.instance else None,
        "PrivateIpAddress": state.private_ip(address),
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": call.region,
        "Tags": [{"Key": key, "Value": value} for key, value in state.tags(call.backend, address.allocation_id).items()],
    }
    return {name: value for name, value in result.items() if value is not None}
