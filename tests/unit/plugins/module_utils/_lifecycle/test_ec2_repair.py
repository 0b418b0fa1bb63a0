# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ec2_resource that follow from a resource and what is broken."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.ec2_repair import resource_options

VIP, VIP6 = "10.1.0.10", "fd00::10"
ALL = {"source_dest_check", "routes", "elastic_ip"}
BOTH = Ec2Parts(("all",), "203.0.113.5")


@pytest.mark.parametrize(
    ("parts", "host", "faults", "options"),
    [
        (BOTH, VIP, ["routes"], {"destinations": ["10.1.0.10/32"], "disable_source_dest_check": False}),
        (BOTH, VIP, ["routes", "source_dest_check"], {"destinations": ["10.1.0.10/32"], "disable_source_dest_check": True}),
        (BOTH, VIP, ["elastic_ip"], {"public_ip": "203.0.113.5", "preferred_private_ip_address": "10.1.0.10"}),
        (
            BOTH,
            VIP,
            ALL,
            {
                "destinations": ["10.1.0.10/32"],
                "disable_source_dest_check": True,
                "public_ip": "203.0.113.5",
                "preferred_private_ip_address": "10.1.0.10",
            },
        ),
        (
            Ec2Parts(("rtb-01234567",), extra={"vpc_id": "vpc-01234567", "missing": "create"}),
            VIP6,
            ALL,
            {
                "destinations": ["fd00::10/128"],
                "disable_source_dest_check": True,
                "route_table_ids": ["rtb-01234567"],
                "vpc_id": "vpc-01234567",
                "missing": "create",
            },
        ),
    ],
)
def test_what_is_broken_is_what_is_asked_for(parts: Ec2Parts, host: str, faults: list[str], options: dict[str, Any]) -> None:
    assert resource_options(parts, host, "eth0", faults, {"region": "eu-west-1"}) == {"region": "eu-west-1", "interface": "eth0", **options}


@pytest.mark.parametrize(
    ("parts", "faults"),
    [(Ec2Parts(), ALL), (Ec2Parts(elastic_ip="203.0.113.5"), ["routes"]), (BOTH, ["address"]), (BOTH, ["source_dest_check"]), (BOTH, [])],
)
def test_where_there_is_nothing_to_repair_nothing_is_asked_for(parts: Ec2Parts, faults: list[str]) -> None:
    assert resource_options(parts, VIP, "eth0", faults, {"region": "eu-west-1"}) == {}


def test_what_a_resource_has_for_itself_wins() -> None:
    parts = Ec2Parts(("all",), None, "arn:aws:iam::123456789012:role/vpc", {"region": "us-east-1", "vpc_id": "vpc-01234567", "external_id": "x"})
    assert own_options(parts) == {"region": "us-east-1", "external_id": "x", "role_arn": "arn:aws:iam::123456789012:role/vpc"}
    options = resource_options(parts, VIP, "eth0", ALL, {"region": "eu-west-1", "profile": "web", "access_key": None})
    assert (options["region"], options["profile"], options["role_arn"]) == ("us-east-1", "web", own_options(parts)["role_arn"])
    assert "access_key" not in options
