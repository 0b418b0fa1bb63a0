# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces: what is attached cannot be deleted, and each private address shows the Elastic IP in front of it."""

from __future__ import annotations

from typing import Any

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules import filters, targets
from lab.control.rules.paging import page
from lab.control.rules.registry import Ec2Call, answers, checks, follows

_FILTERS = {
    "addresses.association.public-ip": "PrivateIpAddresses[].Association.PublicIp",
    "addresses.primary": "PrivateIpAddresses[].Primary",
    "addresses.private-ip-address": "PrivateIpAddresses[].PrivateIpAddress",
    "association.allocation-id": "Association.AllocationId",
    "association.association-id": "Association.AssociationId",
    "association.public-ip": "Association.PublicIp",
    "attachment.attachment-id": "Attachment.AttachmentId",
    "attachment.device-index": "Attachment.DeviceIndex",
    "attachment.instance-id": "Attachment.InstanceId",
    "attachment.status": "Attachment.Status",
    "availability-zone": "AvailabilityZone",
    "description": "Description",
    "group-id": "Groups[].GroupId",
    "interface-type": "InterfaceType",
    "ipv6-addresses.ipv6-address": "Ipv6Addresses[].Ipv6Address",
    "mac-address": "MacAddress",
    "network-interface-id": "NetworkInterfaceId",
    "owner-id": "OwnerId",
    "private-ip-address": "PrivateIpAddress",
    "source-dest-check": "SourceDestCheck",
    "status": "Status",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}


@answers("DescribeNetworkInterfaces")
def describe_network_interfaces(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, DescribeNetworkInterfaces."""
    wanted = call.params.get("NetworkInterfaceIds") or []
    for one in wanted:
        targets.interface(call, one)
    shown = [_shown(call, eni) for eni in call.backend.enis.values() if not wanted or eni.id in wanted]
    found = filters.apply(shown, call.params.get("Filters") or [], _FILTERS)
    return page(call, found, "NetworkInterfaces", "NetworkInterfaceIds", least=5, most=1000, default=1000)


@checks("DeleteNetworkInterface")
def refuse_attached(call: Ec2Call) -> None:
    """Source: EC2 API reference, DeleteNetworkInterface: detach it first."""
    call.request.require("NetworkInterfaceId")
    eni = targets.interface(call, call.params["NetworkInterfaceId"])
    if eni.instance is not None:
        raise ApiError("InvalidParameterValue", f"Network interface '{eni.id}' is currently in use.")


@checks("AttachNetworkInterface")
def refuse_attached_already(call: Ec2Call) -> None:
    """An interface is attached to one instance, in its own availability zone, at a free index."""
    call.request.require("NetworkInterfaceId", "InstanceId")
    eni, instance = targets.interface(call, call.params["NetworkInterfaceId"]), targets.instance(call, call.params["InstanceId"])
    if eni.instance is not None:
        raise ApiError("InvalidNetworkInterface.InUse", f"Interface: [{eni.id}] in use.")
    if eni.availability_zone != instance.availability_zone:
        raise ApiError("InvalidParameterCombination", "You may not attach a network interface to an instance in another availability zone.")
    index = call.params.get("DeviceIndex")
    if any(one.device_index == index for one in state.interfaces_of(call.backend, instance)):
        raise ApiError("InvalidParameterValue", f"Instance '{instance.id}' already has an interface attached at device index '{index}'.")


@checks("DetachNetworkInterface")
def refuse_primary(call: Ec2Call) -> None:
    """An instance keeps its primary interface for life."""
    eni = next((one for one in call.backend.enis.values() if one.attachment_id == call.params.get("AttachmentId")), None)
    if eni is not None and int(eni.device_index) == 0:
        raise ApiError("OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")


@checks("ModifyNetworkInterfaceAttribute")
def refuse_several_attributes(call: Ec2Call) -> None:
    """Source: EC2 API reference, ModifyNetworkInterfaceAttribute: one attribute at a time."""
    if sum(call.params.get(name) is not None for name in ("Attachment", "Description", "Groups", "SourceDestCheck")) != 1:
        raise ApiError("InvalidParameterCombination", "Exactly one network interface attribute must be specified.")


@follows("ModifyNetworkInterfaceAttribute")
def instance_follows(call: Ec2Call) -> None:
    """An instance's own SourceDestCheck is that of its primary interface."""
    eni = call.backend.enis[call.params["NetworkInterfaceId"]]
    if eni.instance is not None and int(eni.device_index) == 0:
        eni.instance.source_dest_check = eni.source_dest_check


def _shown(call: Ec2Call, eni: Any) -> dict[str, Any]:
    primary, *_secondaries = addresses = state.private_ips(eni)
    fronts = {state.private_ip(one): _association(call, one) for one in call.backend.addresses if one.eni is eni}
    listed = [_given({"PrivateIpAddress": one, "Primary": one == primary, "Association": fronts.get(one)}) for one in addresses]
    return _given(
        {
            "NetworkInterfaceId": eni.id,
            "MacAddress": eni.mac_address,
            "VpcId": eni.subnet.vpc_id,
            "SubnetId": eni.subnet.id,
            "AvailabilityZone": eni.availability_zone,
            "OwnerId": call.account,
            "Description": eni.description,
            "InterfaceType": "interface",
            "RequesterManaged": False,
            "Status": "in-use" if eni.instance else "available",
            "SourceDestCheck": bool(eni.source_dest_check),
            "PrivateIpAddress": primary,
            "PrivateIpAddresses": listed,
            "Ipv6Addresses": [{"Ipv6Address": one} for one in eni.ipv6_addresses],
            "Groups": [{"GroupId": one.id, "GroupName": one.name} for one in eni.group_set],
            "Association": fronts.get(primary),
            "Attachment": _attachment(call, eni) if eni.instance else None,
            "TagSet": [{"Key": key, "Value": value} for key, value in state.tags(call.backend, eni.id).items()],
        }
    )


def _attachment(call: Ec2Call, eni: Any) -> dict[str, Any]:
    return {
        "AttachmentId": eni.attachment_id,
        "AttachTime": eni.attach_time,
        "DeviceIndex": int(eni.device_index),
        "NetworkCardIndex": 0,
        "InstanceId": eni.instance.id,
        "InstanceOwnerId": call.account,
        "Status": "attached",
        "DeleteOnTermination": bool(eni.delete_on_termination),
    }


def _association(call: Ec2Call, address: Any) -> dict[str, Any]:
    return {
        "PublicIp": address.public_ip,
        "AllocationId": address.allocation_id,
        "AssociationId": address.association_id,
        "IpOwnerId": call.account,
        "PublicDnsName": f"ec2-{address.public_ip.replace('.', '-')}.{call.region}.compute.amazonaws.com",
    }


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
