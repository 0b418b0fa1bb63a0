# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials and policies at the lab's control plane: what a session may do, on what, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.control import ControlPlane, Credentials
from lab.control.build import VpcIds, build
from lab.control.expect import refused

VIP = "10.1.0.10/32"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def vpc(plane: ControlPlane) -> VpcIds:
    made = build(plane.client("ec2"), tables=4)
    plane.client("ec2").create_tags(Resources=[made.route_table_ids[0]], Tags=[{"Key": "cluster", "Value": "web"}])
    return made


def allow(action: Any, resource: Any = "*", **condition: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **({"Condition": condition} if condition else {})}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def session(plane: ControlPlane, role: str, *statements: dict[str, Any], service: str = "ec2") -> Any:
    plane.set_policy(role, policy(*statements))
    return plane.client(service, credentials=plane.issue(role, 600))


def replace(ec2: Any, vpc: VpcIds, table: int, **more: Any) -> None:
    ec2.replace_route(RouteTableId=vpc.route_table_ids[table], DestinationCidrBlock=VIP, NetworkInterfaceId=vpc.instance("node-b").primary.id, **more)


def test_without_a_policy_nothing_is_allowed(plane: ControlPlane, vpc: VpcIds) -> None:
    ec2 = plane.client("ec2", credentials=plane.issue("nobody", 600))
    with refused("UnauthorizedOperation"):
        ec2.describe_route_tables()
    with refused("UnauthorizedOperation", "ec2:ReplaceRoute on resource"):
        replace(ec2, vpc, 0)
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc, 0, DryRun=True)


def test_actions_with_wildcards(plane: ControlPlane, vpc: VpcIds) -> None:
    ec2 = session(plane, "reader", allow(["ec2:Describe*", "ec2:replaceroute"]))
    ec2.describe_route_tables()
    replace(ec2, vpc, 0)
    with refused("DryRunOperation"):
        replace(ec2, vpc, 0, DryRun=True)
    with refused("UnauthorizedOperation"):
        ec2.delete_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock=VIP)


def test_resources_by_arn(plane: ControlPlane, vpc: VpcIds) -> None:
    arn = f"arn:aws:ec2:{plane.region}:{plane.account}:route-table/{vpc.route_table_ids[0]}"
    ec2 = session(plane, "one-table", allow("ec2:ReplaceRoute", arn))
    replace(ec2, vpc, 0)
    with refused("UnauthorizedOperation", vpc.route_table_ids[1]):
        replace(ec2, vpc, 1)
    with refused("UnauthorizedOperation"):
        ec2.describe_route_tables()


def test_describe_needs_the_resource_star(plane: ControlPlane) -> None:
    ec2 = session(plane, "narrow", allow("ec2:DescribeRouteTables", "arn:aws:ec2:*:*:route-table/*"))
    with refused("UnauthorizedOperation"):
        ec2.describe_route_tables()


@pytest.mark.parametrize("key", ["aws:ResourceTag/cluster", "ec2:ResourceTag/cluster"])
def test_conditions_on_tags(plane: ControlPlane, vpc: VpcIds, key: str) -> None:
    ec2 = session(plane, "tagged", allow("ec2:ReplaceRoute", "*", StringEquals={key: ["web", "db"]}))
    replace(ec2, vpc, 0)
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc, 1)
    ec2 = session(plane, "tagged", allow("ec2:ReplaceRoute", "*", StringLike={key: "we?"}))
    replace(ec2, vpc, 0)
    ec2 = session(plane, "tagged", allow("ec2:ReplaceRoute", "*", StringNotEquals={key: "web"}))
    replace(ec2, vpc, 1)
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc, 0)


def test_conditions_on_the_vpc(plane: ControlPlane, vpc: VpcIds) -> None:
    mine = f"arn:aws:ec2:{plane.region}:{plane.account}:vpc/{vpc.id}"
    replace(session(plane, "here", allow("ec2:ReplaceRoute", "*", ArnEquals={"ec2:Vpc": mine})), vpc, 0)
    elsewhere = session(plane, "there", allow("ec2:ReplaceRoute", "*", ArnEquals={"ec2:Vpc": mine.replace(vpc.id, "vpc-00000000")}))
    with refused("UnauthorizedOperation"):
        replace(elsewhere, vpc, 0)


def test_a_deny_wins(plane: ControlPlane, vpc: VpcIds) -> None:
    arn = f"arn:aws:ec2:*:*:route-table/{vpc.route_table_ids[2]}"
    ec2 = session(plane, "denied", allow("ec2:*"), {"Effect": "Deny", "Action": "ec2:ReplaceRoute", "Resource": arn})
    replace(ec2, vpc, 1)
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc, 2)


def test_every_resource_of_a_call_has_to_be_allowed(plane: ControlPlane, vpc: VpcIds) -> None:
    arn = f"arn:aws:ec2:{plane.region}:{plane.account}"
    wanted = {"AllocationId": vpc.elastic_ips[0].allocation_id, "NetworkInterfaceId": vpc.instance("node-a").primary.id}
    ec2 = session(plane, "eip", allow("ec2:AssociateAddress", f"{arn}:elastic-ip/*"))
    with refused("UnauthorizedOperation", "network-interface/"):
        ec2.associate_address(**wanted)
    ec2 = session(plane, "eip", allow(["ec2:AssociateAddress", "ec2:DisassociateAddress"], [f"{arn}:elastic-ip/*", f"{arn}:network-interface/*"]))
    association = ec2.associate_address(**wanted)["AssociationId"]
    ec2.disassociate_address(AssociationId=association)


def test_a_changed_policy_holds_for_sessions_that_exist(plane: ControlPlane, vpc: VpcIds) -> None:
    ec2 = session(plane, "changing", allow("ec2:ReplaceRoute"))
    replace(ec2, vpc, 0)
    plane.set_policy("changing", policy())
    with refused("UnauthorizedOperation"):
        replace(ec2, vpc, 0)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (policy({"Effect": "Maybe", "Action": "ec2:*", "Resource": "*"}), "Allow or Deny"),
        (policy({"Effect": "Allow", "Action": "ec2:*"}), "one of Resource and NotResource"),
        (policy({"Effect": "Allow", "Action": "ReplaceRoute", "Resource": "*"}), "'ReplaceRoute' does not"),
        (policy({"Effect": "Allow", "Actions": "ec2:*", "Resource": "*"}), "has no Actions"),
        (policy(allow("ec2:*", "*", StringMatches={"ec2:Vpc": "x"})), "StringMatches is not known"),
    ],
)
def test_bad_policies_are_refused(plane: ControlPlane, document: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plane.set_policy("bad", document)


def test_sessions_run_out(plane: ControlPlane) -> None:
    plane.set_policy("brief", policy(allow("*")))
    gone = plane.issue("brief", 0)
    with refused("RequestExpired"):
        plane.client("ec2", credentials=gone).describe_vpcs()
    with refused("ExpiredTokenException"):
        plane.client("dynamodb", credentials=gone).list_tables()
    with refused("ExpiredToken"):
        plane.client("sts", credentials=gone).get_caller_identity()
    plane.client("ec2", credentials=plane.issue("brief", 600)).describe_vpcs()


def test_keys_and_tokens_that_are_not_known(plane: ControlPlane) -> None:
    real = plane.issue("brief", 600)
    unknown = Credentials("AKIAAAAAAAAAAAAAAAAA", "x", "", real.expiration)
    for false in (real._replace(token="other"), real._replace(access_key="ASIAAAAAAAAAAAAAAAAA"), unknown):
        with refused("AuthFailure"):
            plane.client("ec2", credentials=false).describe_vpcs()
        with refused("UnrecognizedClientException"):
            plane.client("dynamodb", credentials=false).list_tables()


def test_a_wrong_secret_is_noticed(plane: ControlPlane) -> None:
    plane.set_policy("brief", policy(allow("*")))
    for real in (plane.issue("brief", 600), plane.admin_credentials):
        false = real._replace(secret_key="guessed")
        with refused("AuthFailure"):
            plane.client("ec2", credentials=false).describe_vpcs()
        with refused("InvalidSignatureException"):
            plane.client("dynamodb", credentials=false).list_tables()
        with refused("SignatureDoesNotMatch"):
            plane.client("sts", credentials=false).get_caller_identity()
        plane.client("ec2", credentials=real).describe_vpcs()


def test_another_region_is_refused(plane: ControlPlane) -> None:
    with refused("AuthFailure"):
        plane.client("ec2", region_name="us-west-2").describe_vpcs()


def test_dynamodb_is_policed_by_table(plane: ControlPlane) -> None:
    admin = plane.client("dynamodb")
    for name in ("lease", "other"):
        admin.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    arn = f"arn:aws:dynamodb:{plane.region}:{plane.account}:table/lease"
    mine = session(plane, "node", allow(["dynamodb:GetItem", "dynamodb:PutItem"], arn), service="dynamodb")
    mine.put_item(TableName="lease", Item={"id": {"S": "a"}})
    assert mine.get_item(TableName="lease", Key={"id": {"S": "a"}})["Item"] == {"id": {"S": "a"}}
    with refused("AccessDeniedException"):
        mine.get_item(TableName="other", Key={"id": {"S": "a"}})
    with refused("AccessDeniedException"):
        mine.delete_item(TableName="lease", Key={"id": {"S": "a"}})


def test_a_role_is_assumed_with_its_external_id_and_policed_by_its_own_policy(plane: ControlPlane, vpc: VpcIds) -> None:
    node = session(plane, "node", allow("sts:AssumeRole", plane.role_arn("network")), service="sts")
    plane.set_policy("network", policy(allow("ec2:ReplaceRoute")))
    plane.set_trust("network", principals=["arn:aws:sts::*:assumed-role/node/*"], external_id="s3cret")
    wanted = {"RoleArn": plane.role_arn("network"), "RoleSessionName": "holdfast"}
    with refused("AccessDenied"):
        node.assume_role(**wanted)
    with refused("AccessDenied"):
        node.assume_role(**wanted, ExternalId="guess")
    with refused("AccessDenied"):
        session(plane, "stranger", allow("sts:AssumeRole"), service="sts").assume_role(**wanted, ExternalId="s3cret")
    with refused("AccessDenied"):
        node.assume_role(RoleArn=plane.role_arn("node"), RoleSessionName="holdfast")
    given = node.assume_role(**wanted, ExternalId="s3cret")["Credentials"]
    assumed = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"])
    replace(plane.client("ec2", credentials=assumed), vpc, 0)
    with refused("UnauthorizedOperation"):
        plane.client("ec2", credentials=assumed).describe_route_tables()
    assert plane.client("sts", credentials=assumed).get_caller_identity()["Arn"].endswith(":assumed-role/network/holdfast")
