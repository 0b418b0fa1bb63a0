# SPDX-License-Identifier: GPL-3.0-or-later
"""The IAM policy of the nodes: what the inventory names is all that it reaches."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import session_name
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.policy import iam_policy

STORE = {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1"}
TABLE = "arn:aws:dynamodb:eu-central-1:111122223333:table/holdfast"
AWS = {"region": "eu-central-1"}
HERE = "arn:aws:ec2:eu-central-1:111122223333"


def statements(*resources: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    given = {"store": STORE, "cluster": "web-prod", "aws": AWS, "table_arn": TABLE, **more}
    return {part["Sid"].removeprefix("Holdfast"): part for part in iam_policy(resources, **given)["Statement"]}


def test_everything_that_is_named() -> None:
    ec2 = {"route_tables": ["rtb-2", "rtb-1"], "vpc_id": "vpc-1", "elastic_ip": "203.0.113.5"}
    found = statements({"ec2": ec2, "fence": "stop_instance"}, {"ec2": {"vpc_id": "vpc-1"}}, instances={"b": "i-2", "a": "i-1"})
    assert {name: part["Resource"] for name, part in found.items()} == {
        "Describe": "*",
        "RouteTables": [f"{HERE}:route-table/rtb-1", f"{HERE}:route-table/rtb-2"],
        "Interfaces": f"{HERE}:network-interface/*",
        "ElasticIps": f"{HERE}:elastic-ip/*",
        "Fence": [f"{HERE}:instance/i-1", f"{HERE}:instance/i-2"],
        "Leases": TABLE,
    }
    assert found["Interfaces"]["Condition"] == {"ArnLike": {"ec2:Vpc": ["arn:aws:ec2:eu-central-1:*:vpc/vpc-1"]}}
    assert found["ElasticIps"]["Condition"] == {"StringEquals": {"ec2:PublicIpAddress": ["203.0.113.5"]}}
    assert found["Describe"]["Condition"] == {"StringEquals": {"ec2:Region": "eu-central-1"}}
    assert found["Leases"]["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["web-prod/*"]}}


@pytest.mark.parametrize(
    ("ec2", "left_out"),
    [
        ({"elastic_ip": "203.0.113.5"}, {"RouteTables", "AllRouteTables"}),
        ({"route_tables": "all"}, {"RouteTables", "ElasticIps"}),
        (None, {"Describe", "RouteTables", "AllRouteTables", "Interfaces", "ElasticIps"}),
    ],
)
def test_no_right_for_what_no_resource_has(ec2: dict[str, Any] | None, left_out: set[str]) -> None:
    found = statements({"tag": "web", **({"ec2": ec2} if ec2 else {})})
    assert left_out & set(found) == set()
    assert "ec2:CreateRoute" not in {action for part in found.values() for action in part["Action"]}
    if ec2 and "elastic_ip" not in ec2:
        assert found["Interfaces"]["Action"] == ["ec2:ModifyNetworkInterfaceAttribute"]


def test_one_resource_without_its_vpc_opens_the_statement_to_all() -> None:
    found = statements({"ec2": {"route_tables": "all", "vpc_id": "vpc-1"}}, {"ec2": {"route_tables": "all"}})
    assert "Condition" not in found["AllRouteTables"]
    assert "Condition" not in found["Interfaces"]


def test_regions_and_accounts_that_differ_or_are_not_known_are_wildcards() -> None:
    found = statements({"ec2": {"route_tables": "all"}}, {"ec2": {"route_tables": "all", "region": "eu-west-1"}}, table_arn="")
    assert found["AllRouteTables"]["Resource"] == "arn:aws:ec2:*:*:route-table/*"
    assert found["Leases"]["Resource"] == "arn:aws:dynamodb:eu-central-1:*:table/holdfast"
    role = "arn:aws:iam::444455556666:role/network"
    shared = statements({"ec2": {"route_tables": "all", "role_arn": role}})
    assert shared["AllRouteTables"]["Resource"] == "arn:aws:ec2:eu-central-1:444455556666:route-table/*"
    assert shared["Roles"]["Resource"] == [role]
    elsewhere = statements({"ec2": {"route_tables": "all"}}, store={**STORE, "role_arn": role})
    assert elsewhere["AllRouteTables"]["Resource"] == "arn:aws:ec2:eu-central-1:*:route-table/*"


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-east-1", "aws"),
        ("eusc-de-east-1", "aws-eusc"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("nowhere", "aws"),
    ],
)
def test_the_partition_is_that_of_the_region(region: str, partition: str) -> None:
    found = statements({"ec2": {"route_tables": "all"}}, store={**STORE, "region": region}, aws={"region": region}, table_arn="")
    assert {part["Resource"].split(":")[1] for name, part in found.items() if name != "Describe"} == {partition}


def test_without_a_region_the_partition_is_that_of_an_arn() -> None:
    """Also of a region that is newer than botocore."""
    china = "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/holdfast"
    for region in (None, "nowhere"):
        found = statements({"ec2": {"route_tables": "all", "vpc_id": "vpc-1"}}, aws={"region": region}, table_arn=china)
        assert {part["Resource"].split(":")[1] for name, part in found.items() if name != "Describe"} == {"aws-cn"}
        assert found["AllRouteTables"]["Condition"]["ArnLike"]["ec2:Vpc"][0].startswith("arn:aws-cn:ec2:")
    shared = statements({"ec2": {"route_tables": "all", "role_arn": "arn:aws-eusc:iam::1:role/r"}}, store={"table": "t"}, aws={}, table_arn="")
    assert shared["Leases"]["Resource"] == "arn:aws-eusc:dynamodb:*:*:table/t"


def test_sessions_have_names_that_sts_takes() -> None:
    assert session_name("node-a") == "holdfast-node-a"
    assert session_name("nöde a") == "holdfast-n-de-a"
    assert len(session_name("n" * 253)) == 64
