# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs, network interfaces and instances at the lab's control plane behave as EC2's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.control import ControlPlane
from lab.control.build import InstancePlan, VpcIds, build
from lab.control.expect import refused


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def ec2(plane: ControlPlane) -> Any:
    return plane.client("ec2")


@pytest.fixture
def vpc(ec2: Any) -> VpcIds:
    return build(ec2, elastic_ips=2, vips=())


def interface(ec2: Any, eni: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    return found


def shows(ec2: Any, eni: str) -> dict[str, str]:
    """Private address to the public one in front of it."""
    listed = interface(ec2, eni)["PrivateIpAddresses"]
    return {one["PrivateIpAddress"]: one["Association"]["PublicIp"] for one in listed if "Association" in one}


def test_an_association_moves_unless_forbidden(ec2: Any, vpc: VpcIds) -> None:
    a, b = vpc.instance("node-a").primary, vpc.instance("node-b").primary
    eip = vpc.elastic_ips[0]
    first = ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=a.id)["AssociationId"]
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=b.id, AllowReassociation=False)
    assert shows(ec2, a.id) == {a.private_ips[0]: eip.public_ip}
    second = ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=b.id)["AssociationId"]
    assert second != first
    assert ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=b.id)["AssociationId"] == second
    assert ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=b.id, AllowReassociation=False)["AssociationId"] == second


def test_one_interface_shows_an_elastic_ip_after_it_moved(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    a, b = vpc.instance("node-a").primary, vpc.instance("node-b").primary
    eip = vpc.elastic_ips[0]
    for eni in (a, b):
        ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=eni.id, AllowReassociation=True)
    assert shows(ec2, a.id) == {}
    assert "Association" not in interface(ec2, a.id)
    assert shows(ec2, b.id) == {b.private_ips[0]: eip.public_ip}
    view = {one.public_ip: one for one in plane.snapshot(vpc.id).elastic_ips}[eip.public_ip]
    assert (view.network_interface_id, view.private_ip) == (b.id, b.private_ips[0])
    reservations = ec2.describe_instances(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}])["Reservations"]
    public = {one["InstanceId"]: one.get("PublicIpAddress") for each in reservations for one in each["Instances"]}
    assert public == {vpc.instance("node-a").id: None, vpc.instance("node-b").id: eip.public_ip}


def test_a_second_elastic_ip_takes_the_place_of_the_first(ec2: Any, vpc: VpcIds) -> None:
    a, (one, two) = vpc.instance("node-a").primary, vpc.elastic_ips
    ec2.associate_address(AllocationId=one.allocation_id, NetworkInterfaceId=a.id)
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(AllocationId=two.allocation_id, NetworkInterfaceId=a.id, AllowReassociation=False)
    ec2.associate_address(AllocationId=two.allocation_id, NetworkInterfaceId=a.id)
    assert shows(ec2, a.id) == {a.private_ips[0]: two.public_ip}
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[one.allocation_id])["Addresses"][0]


def test_the_private_address_has_to_be_on_the_interface(ec2: Any, vpc: VpcIds) -> None:
    a, eip = vpc.instance("node-a").primary, vpc.elastic_ips[0]
    with refused("InvalidParameterValue", "10.0.1.99"):
        ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=a.id, PrivateIpAddress="10.0.1.99")
    ec2.assign_private_ip_addresses(NetworkInterfaceId=a.id, PrivateIpAddresses=["10.0.1.99"])
    ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=a.id, PrivateIpAddress="10.0.1.99")
    assert shows(ec2, a.id) == {"10.0.1.99": eip.public_ip}
    assert ec2.describe_addresses(PublicIps=[eip.public_ip])["Addresses"][0]["PrivateIpAddress"] == "10.0.1.99"


def test_an_instance_with_several_interfaces_is_no_target(ec2: Any, vpc: VpcIds) -> None:
    with refused("InvalidInstanceID", "multiple interfaces"):
        ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, InstanceId=vpc.instance("node-a").id)


def test_an_internet_gateway_is_needed(ec2: Any, vpc: VpcIds) -> None:
    ec2.detach_internet_gateway(InternetGatewayId=vpc.internet_gateway_id, VpcId=vpc.id)
    with refused("Gateway.NotAttached"):
        ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, NetworkInterfaceId=vpc.instance("node-a").primary.id)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instance-id", lambda vpc: vpc.instance("node-a").id),
        ("network-interface-id", lambda vpc: vpc.instance("node-a").primary.id),
        ("private-ip-address", lambda vpc: vpc.instance("node-a").primary.private_ips[0]),
        ("public-ip", lambda vpc: vpc.elastic_ips[0].public_ip),
        ("allocation-id", lambda vpc: vpc.elastic_ips[0].allocation_id),
    ],
)
def test_addresses_are_found_by(ec2: Any, vpc: VpcIds, name: str, value: Any) -> None:
    ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, NetworkInterfaceId=vpc.instance("node-a").primary.id)
    found = ec2.describe_addresses(Filters=[{"Name": name, "Values": [value(vpc)]}])["Addresses"]
    assert vpc.elastic_ips[0].allocation_id in {one["AllocationId"] for one in found}
    assert vpc.elastic_ips[1].allocation_id not in {one["AllocationId"] for one in found}
    assert found[-1]["InstanceId"] == vpc.instance("node-a").id


def test_disassociating_twice_is_no_error(ec2: Any, vpc: VpcIds) -> None:
    a = vpc.instance("node-a").primary
    association = ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, NetworkInterfaceId=a.id)["AssociationId"]
    for _number in range(2):
        ec2.disassociate_address(AssociationId=association)
        assert shows(ec2, a.id) == {}
    with refused("InvalidAssociationID.NotFound"):
        ec2.disassociate_address(AssociationId="eipassoc-0123456789abcdef0")


def test_an_address_in_use_is_not_released(ec2: Any, vpc: VpcIds) -> None:
    eip = vpc.elastic_ips[0]
    ec2.associate_address(PublicIp=eip.public_ip, NetworkInterfaceId=vpc.instance("node-a").primary.id)
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=eip.allocation_id)
    ec2.disassociate_address(PublicIp=eip.public_ip)
    ec2.release_address(AllocationId=eip.allocation_id)
    with refused("InvalidAddress.NotFound"):
        ec2.describe_addresses(PublicIps=[eip.public_ip])
    with refused("InvalidParameterValue"):
        ec2.describe_addresses(PublicIps=["203.0.113.256"])


def test_an_attached_interface_is_not_deleted(ec2: Any, vpc: VpcIds) -> None:
    node = vpc.instance("node-a")
    ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, NetworkInterfaceId=node.backup.id)
    with refused("InvalidParameterValue", "in use"):
        ec2.delete_network_interface(NetworkInterfaceId=node.backup.id)
    with refused("OperationNotPermitted"):
        ec2.detach_network_interface(AttachmentId=interface(ec2, node.primary.id)["Attachment"]["AttachmentId"])
    with refused("InvalidNetworkInterface.InUse"):
        ec2.attach_network_interface(NetworkInterfaceId=node.backup.id, InstanceId=vpc.instance("node-b").id, DeviceIndex=2)
    ec2.detach_network_interface(AttachmentId=interface(ec2, node.backup.id)["Attachment"]["AttachmentId"])
    assert interface(ec2, node.backup.id)["Status"] == "available"
    with refused("InvalidParameterCombination"):
        ec2.attach_network_interface(NetworkInterfaceId=node.backup.id, InstanceId=vpc.instance("node-b").id, DeviceIndex=2)
    ec2.delete_network_interface(NetworkInterfaceId=node.backup.id)
    assert "NetworkInterfaceId" not in ec2.describe_addresses(AllocationIds=[vpc.elastic_ips[0].allocation_id])["Addresses"][0]


def test_the_instances_own_source_dest_check_follows(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    node = vpc.instance("node-a")

    def own() -> bool:
        return bool(ec2.describe_instances(InstanceIds=[node.id])["Reservations"][0]["Instances"][0]["SourceDestCheck"])

    assert own() is True
    ec2.modify_network_interface_attribute(NetworkInterfaceId=node.backup.id, SourceDestCheck={"Value": False})
    assert own() is True
    ec2.modify_network_interface_attribute(NetworkInterfaceId=node.primary.id, SourceDestCheck={"Value": False})
    assert own() is False
    assert interface(ec2, node.primary.id)["SourceDestCheck"] is False
    assert {one.id: one.source_dest_check for one in plane.snapshot(vpc.id).interfaces}[node.primary.id] is False
    with refused("InvalidParameterCombination"):
        ec2.modify_network_interface_attribute(NetworkInterfaceId=node.primary.id, SourceDestCheck={"Value": True}, Description={"Value": "both"})
    with refused("InvalidInstanceID", "multiple interfaces"):
        ec2.modify_instance_attribute(InstanceId=node.id, SourceDestCheck={"Value": True})


def test_a_lone_interface_follows_its_instance(ec2: Any) -> None:
    vpc = build(ec2, instances=[InstancePlan("solo", 0, (10,))])
    solo = vpc.instance("solo")
    ec2.modify_instance_attribute(InstanceId=solo.id, SourceDestCheck={"Value": False})
    assert interface(ec2, solo.primary.id)["SourceDestCheck"] is False
    ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, InstanceId=solo.id)
    assert shows(ec2, solo.primary.id) == {"10.0.1.10": vpc.elastic_ips[0].public_ip}


def test_termination_takes_the_interfaces_that_launch_made(ec2: Any, vpc: VpcIds) -> None:
    ran = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=vpc.subnets[0].id)["Instances"][0]
    eni = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [ran["InstanceId"]]}])["NetworkInterfaces"][0]
    ec2.associate_address(AllocationId=vpc.elastic_ips[0].allocation_id, NetworkInterfaceId=eni["NetworkInterfaceId"])
    ec2.terminate_instances(InstanceIds=[ran["InstanceId"], vpc.instance("node-a").id])
    with refused("InvalidNetworkInterfaceID.NotFound"):
        interface(ec2, eni["NetworkInterfaceId"])
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[vpc.elastic_ips[0].allocation_id])["Addresses"][0]
    assert interface(ec2, vpc.instance("node-a").primary.id)["Status"] == "available"


def test_interfaces_are_found_by_mac_and_paged(ec2: Any, vpc: VpcIds) -> None:
    backup = vpc.instance("node-a").backup
    found = ec2.describe_network_interfaces(Filters=[{"Name": "mac-address", "Values": [backup.mac]}])["NetworkInterfaces"]
    assert [one["NetworkInterfaceId"] for one in found] == [backup.id]
    page = ec2.describe_network_interfaces(MaxResults=5)
    assert len(page["NetworkInterfaces"]) == 5 or "NextToken" not in page
    with refused("InvalidParameterValue", "no-such"):
        ec2.describe_network_interfaces(Filters=[{"Name": "no-such", "Values": ["x"]}])
