# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault of the lab's control plane does what it says, to the calls that it is meant for, and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from lab.control import ControlPlane, Fault
from lab.control.build import VpcIds, build
from lab.control.expect import refused

VIP = "10.1.0.10/32"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def ec2(plane: ControlPlane) -> Any:
    return plane.client("ec2", config=Config(max_pool_connections=30))


@pytest.fixture
def vpc(plane: ControlPlane, ec2: Any) -> Iterator[VpcIds]:
    made = build(ec2)
    plane.calls.reset()
    yield made
    plane.faults.clear()


def target(plane: ControlPlane, vpc: VpcIds) -> str:
    """The truth, whatever is injected."""
    return {route.destination: route.target for route in plane.snapshot(vpc.id).subnets[0].routes}[VIP]


def seen(ec2: Any, vpc: VpcIds) -> str:
    """What a client reads."""
    routes = ec2.describe_route_tables(RouteTableIds=[vpc.route_table_ids[0]])["RouteTables"][0]["Routes"]
    return str(next(one["NetworkInterfaceId"] for one in routes if one.get("DestinationCidrBlock") == VIP))


def replace(ec2: Any, vpc: VpcIds, node: str = "node-b", table: int = 0) -> None:
    ec2.replace_route(RouteTableId=vpc.route_table_ids[table], DestinationCidrBlock=VIP, NetworkInterfaceId=vpc.instance(node).primary.id)


def test_twenty_clients_wait_out_latency_side_by_side(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: ec2.describe_vpcs(), range(20)))  # connections made
        plane.faults.inject(Fault("latency", seconds=0.3))
        began = time.monotonic()
        list(pool.map(lambda _: ec2.describe_vpcs(), range(20)))
    taken = time.monotonic() - began
    assert 0.3 <= taken < 3, "twenty waits of 0.3 s one after another take 6 s"


def test_throttling_strikes_as_often_as_told(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("throttle", action="ReplaceRoute", times=2))
    for _number in range(2):
        with pytest.raises(ClientError) as caught:
            replace(ec2, vpc)
        assert caught.value.response["Error"]["Code"] == "RequestLimitExceeded"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert target(plane, vpc) == vpc.instance("node-a").primary.id
    ec2.describe_vpcs()
    replace(ec2, vpc)
    assert target(plane, vpc) == vpc.instance("node-b").primary.id
    assert [call.code for call in plane.calls.all("ReplaceRoute")] == ["RequestLimitExceeded", "RequestLimitExceeded", None]


def test_a_500_has_an_html_body(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("http500", action="ReplaceRoute"))
    with pytest.raises(ClientError) as caught:
        replace(ec2, vpc)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "text/html"
    assert target(plane, vpc) == vpc.instance("node-a").primary.id


def test_a_lost_reply_leaves_the_write_done(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    heard: list[str] = []
    plane.subscribe(lambda call: heard.append(call.action))
    plane.faults.inject(Fault("lost_reply", action="ReplaceRoute", times=1))
    with pytest.raises(ConnectionClosedError):
        replace(ec2, vpc)
    assert target(plane, vpc) == vpc.instance("node-b").primary.id
    assert heard == ["ReplaceRoute"]
    replace(ec2, vpc, "node-a")


def test_a_lost_request_leaves_nothing_done(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("lost_request", action="ReplaceRoute", times=1))
    with pytest.raises(ConnectionClosedError):
        replace(ec2, vpc)
    assert target(plane, vpc) == vpc.instance("node-a").primary.id
    assert [(call.status, call.code, call.effective) for call in plane.calls.mutating()] == [(0, "lost_request", False)]


def test_reads_are_stale_for_a_while_after_a_write(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    a, b = vpc.instance("node-a").primary.id, vpc.instance("node-b").primary.id
    plane.faults.inject(Fault("stale", action="DescribeRouteTables", seconds=0.6))
    replace(ec2, vpc)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=b, SourceDestCheck={"Value": False})
    written = time.monotonic()
    assert seen(ec2, vpc) == a
    assert target(plane, vpc) == b
    assert ec2.describe_network_interfaces(NetworkInterfaceIds=[b])["NetworkInterfaces"][0]["SourceDestCheck"] is False
    replace(ec2, vpc, "node-a")  # a write sees the truth, and the truth is not undone by reading old state
    assert target(plane, vpc) == a
    while seen(ec2, vpc) != b:  # the first write comes into view, then the second
        assert time.monotonic() < written + 5
    assert time.monotonic() >= written + 0.5
    while seen(ec2, vpc) != a:
        assert time.monotonic() < written + 5


@pytest.mark.parametrize("change", ["address", "check", "instance"])
def test_everything_that_matters_goes_stale(plane: ControlPlane, ec2: Any, vpc: VpcIds, change: str) -> None:
    node, eip = vpc.instance("node-a"), vpc.elastic_ips[0]

    def read() -> object:
        eni = ec2.describe_network_interfaces(NetworkInterfaceIds=[node.primary.id])["NetworkInterfaces"][0]
        address = ec2.describe_addresses(AllocationIds=[eip.allocation_id])["Addresses"][0]
        state = ec2.describe_instances(InstanceIds=[node.id])["Reservations"][0]["Instances"][0]["State"]["Name"]
        return eni["SourceDestCheck"], eni.get("Association"), address.get("AssociationId"), state

    before = read()
    plane.faults.inject(Fault("stale", seconds=30))
    if change == "address":
        ec2.associate_address(AllocationId=eip.allocation_id, NetworkInterfaceId=node.primary.id)
    elif change == "check":
        ec2.modify_network_interface_attribute(NetworkInterfaceId=node.primary.id, SourceDestCheck={"Value": False})
    else:
        ec2.stop_instances(InstanceIds=[node.id])
    assert read() == before
    plane.faults.clear()
    assert read() != before


def test_denial_and_expiry(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("deny", action="ReplaceRoute", match={"RouteTableId": vpc.route_table_ids[0]}))
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc)
    replace(ec2, vpc, table=1)
    assert target(plane, vpc) == vpc.instance("node-a").primary.id
    plane.faults.clear()
    plane.faults.inject(Fault("expired"))
    with refused("RequestExpired"):
        ec2.describe_vpcs()
    with refused("ExpiredTokenException"):
        plane.client("dynamodb").list_tables()


def test_faults_match_lists_and_services(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("throttle", action="dynamodb:*"))
    plane.faults.inject(Fault("deny", match={"RouteTableIds": vpc.route_table_ids[1]}))
    ec2.describe_route_tables(RouteTableIds=[vpc.route_table_ids[0]])
    with refused("UnauthorizedOperation"):
        ec2.describe_route_tables(RouteTableIds=list(vpc.route_table_ids))
    with refused("ThrottlingException"):
        plane.client("dynamodb").list_tables()
    plane.faults.clear()
    plane.faults.inject(Fault("deny", source="127.0.0.99"))
    ec2.describe_vpcs()


def test_silence_ends_when_the_client_gives_up(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("silent", action="ReplaceRoute"))
    impatient = plane.client("ec2", config=Config(read_timeout=0.3))
    began = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        replace(impatient, vpc)
    assert 0.25 < time.monotonic() - began < 3
    ec2.describe_vpcs()
    impatient.close()
    assert wait_for(lambda: [call.code for call in plane.calls.all("ReplaceRoute")] == ["silent"])
    assert target(plane, vpc) == vpc.instance("node-a").primary.id


def test_silence_ends_when_the_fault_is_cleared(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    plane.faults.inject(Fault("silent", action="ReplaceRoute"))
    waiting = threading.Thread(target=replace, args=(ec2, vpc))
    waiting.start()
    assert wait_for(lambda: plane.faults.waiting() == 1)
    assert plane.calls.count("ReplaceRoute") == 0
    plane.faults.clear()
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    assert target(plane, vpc) == vpc.instance("node-b").primary.id


def test_what_is_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no fault 'earthquake'"):
        Fault(kind="earthquake")
    for arguments in ({"kind": "latency"}, {"kind": "stale", "seconds": -1}):
        with pytest.raises(ValueError, match="needs seconds greater than zero"):
            Fault(**arguments)


def wait_for(condition: Any, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
