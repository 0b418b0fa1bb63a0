# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's control plane as a server: sockets, keep-alive, the call log, subscribers, the doors for other processes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config

from lab.control import Call, ControlPlane
from lab.control.build import build
from lab.control.expect import refused
from lab.netns import Namespace


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture
def ec2(plane: ControlPlane) -> Any:
    return plane.client("ec2")


def ask(plane: ControlPlane, method: str, path: str, value: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(plane.endpoint_url.removeprefix("http://"), timeout=10)
    connection.request(method, path, None if value is None else json.dumps(value))
    reply = connection.getresponse()
    status, body = reply.status, json.loads(reply.read())
    connection.close()
    return status, body


def test_one_connection_carries_many_requests(plane: ControlPlane) -> None:
    connection = http.client.HTTPConnection(plane.endpoint_url.removeprefix("http://"), timeout=10)
    connection.connect()
    first = connection.sock
    for _number in range(3):
        connection.request("GET", "/_lab/faults")
        assert connection.getresponse().read() == b'{"faults": []}'
        assert connection.sock is first
    connection.close()


def test_unsigned_requests_are_refused(plane: ControlPlane) -> None:
    connection = http.client.HTTPConnection(plane.endpoint_url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/", "Action=DescribeVpcs&Version=2016-11-15", {"Content-Type": "application/x-www-form-urlencoded"})
    reply = connection.getresponse()
    assert (reply.status, b"MissingAuthenticationToken" in reply.read()) == (403, True)
    connection.close()


def test_calls_are_counted(plane: ControlPlane, ec2: Any) -> None:
    plane.calls.reset()
    began = time.monotonic()
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.describe_vpcs(VpcIds=[vpc])
    with refused("InvalidVpcID.NotFound"):
        ec2.delete_vpc(VpcId="vpc-00000000")
    assert (plane.calls.count(), plane.calls.count("Describe*"), plane.calls.count("ec2:*"), plane.calls.count("sts:*")) == (3, 1, 3, 0)
    assert [call.action for call in plane.calls.mutating()] == ["CreateVpc", "DeleteVpc"]
    created, _between, deleted = plane.calls.all()
    assert (created.status, created.code, created.effective) == (200, None, True)
    assert (deleted.status, deleted.code, deleted.effective) == (400, "InvalidVpcID.NotFound", False)
    assert created.access_key == plane.admin_credentials.access_key
    assert created.source == "127.0.0.1"
    assert began <= created.time <= deleted.time <= time.monotonic()


def test_subscribers_hear_of_a_write_before_its_reply_is_sent(plane: ControlPlane, ec2: Any) -> None:
    heard: list[tuple[Call, bool]] = []
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    plane.subscribe(lambda call: heard.append((call, bool(plane.snapshot(vpc).subnets))))
    ec2.describe_vpcs()
    with refused("InvalidSubnet.Range"):
        ec2.create_subnet(VpcId=vpc, CidrBlock="192.168.0.0/24")
    with refused("DryRunOperation"):
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", DryRun=True)
    assert heard == []
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
    assert [(call.action, present) for call, present in heard] == [("CreateSubnet", True)]


def test_a_subscriber_that_fails_is_reported_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    def fail(call: Call) -> None:
        raise OSError("the router did not follow")

    with ControlPlane() as plane:
        plane.subscribe(fail)
        with refused("LabDefect", "the router did not follow"):
            plane.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")
    assert "the router did not follow" in caplog.text


def test_what_the_lab_cannot_do_is_said(ec2: Any) -> None:
    build(ec2)
    with refused("LabUnsupported", "DescribeInstances"):
        ec2.describe_instances(Filters=[{"Name": "hibernation-options.configured", "Values": ["x"]}])
    with refused("LabUnsupported", "DescribeVpcs"):
        ec2.describe_vpcs(Filters=[{"Name": "nonsense", "Values": ["x"]}])


def test_the_doors_for_other_processes(plane: ControlPlane, ec2: Any) -> None:
    vpc = build(ec2)
    assert ask(plane, "DELETE", "/_lab/calls") == (200, {})
    ec2.describe_vpcs()
    status, answer = ask(plane, "GET", "/_lab/calls?action=Describe*")
    assert (status, [call["action"] for call in answer["calls"]]) == (200, ["DescribeVpcs"])
    assert ask(plane, "POST", "/_lab/faults", {"kind": "throttle", "action": "DescribeVpcs", "times": 1})[0] == 200
    assert ask(plane, "GET", "/_lab/faults")[1]["faults"][0]["times"] == 1
    with refused("RequestLimitExceeded"):
        ec2.describe_vpcs()
    assert ask(plane, "DELETE", "/_lab/faults") == (200, {})
    assert ask(plane, "GET", "/_lab/faults") == (200, {"faults": []})
    for bad in ({"kind": "nonsense"}, {"no": "kind"}, "text"):
        status, answer = ask(plane, "POST", "/_lab/faults", bad)
        assert (status, "\n" in answer["error"]) == (400, False)
    status, view = ask(plane, "GET", f"/_lab/view?vpc={vpc.id}")
    assert (status, view["id"], len(view["subnets"])) == (200, vpc.id, 3)
    assert ask(plane, "GET", "/_lab/view?vpc=vpc-0")[0] == 404
    assert ask(plane, "GET", "/_lab/nothing")[0] == 404


def test_the_users_aws_settings_lead_nowhere(plane: ControlPlane) -> None:
    """A profile, a proxy, a CA bundle or an endpoint in the environment changes nothing for the lab's own clients."""
    script = "from lab.control import ControlPlane\nwith ControlPlane() as p:\n"
    script += "    print(p.client('ec2').describe_vpcs()['ResponseMetadata']['HTTPStatusCode'], p.calls.count())"
    hostile = {
        "AWS_PROFILE": "none-such",
        "AWS_CA_BUNDLE": "/none/such.crt",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-west-2",
        "MOTO_ACCOUNT_ID": "999999999999",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **hostile},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["200", "1"], done.stderr


def test_it_serves_in_another_network(plane: ControlPlane) -> None:
    with Namespace("hf-control-test", private=()) as other:
        listener = other.socket()
        listener.bind(("127.0.0.1", 8000))
        listener.listen()
        plane.serve([listener])
        script = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/_lab/faults', timeout=5).read().decode())"
        assert json.loads(other.run(sys.executable, "-c", script).stdout) == {"faults": []}


def test_conditional_writes_have_one_winner(plane: ControlPlane) -> None:
    dynamodb = plane.client("dynamodb", config=Config(max_pool_connections=20))
    table = f"race-{uuid.uuid4()}"
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def attempt(item: str) -> bool:
        try:
            dynamodb.put_item(TableName=table, Item={"id": {"S": item}}, ConditionExpression="attribute_not_exists(id)")
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places often, so that without the lock two of them win within some rounds
    try:
        with ThreadPoolExecutor(10) as pool:
            for round_ in range(100):
                assert sum(pool.map(attempt, [f"round-{round_}"] * 10)) == 1
    finally:
        sys.setswitchinterval(interval)


def test_planes_in_one_process_do_not_share_anything(plane: ControlPlane, ec2: Any) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    with ControlPlane() as other:
        assert other.account != plane.account
        with refused("InvalidVpcID.NotFound"):
            other.client("ec2").describe_vpcs(VpcIds=[vpc])
        address = other.endpoint_url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])), timeout=5)
    with pytest.raises(RuntimeError):
        other.listen_loopback()


def test_250_route_tables_are_quickly_built_and_read(plane: ControlPlane, ec2: Any) -> None:
    began = time.monotonic()
    vpc = build(ec2, tables=250)
    assert time.monotonic() - began < 5
    plane.calls.reset()
    pages = list(ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}]))
    assert [len(page["RouteTables"]) for page in pages] == [100, 100, 51]
    assert plane.calls.count("DescribeRouteTables") == 3
