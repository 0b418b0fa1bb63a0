# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a fence hits, and that it hits nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.fence import Fence, find_old_node

WEB: dict[str, Any] = {
    "tag": "web",
    "address": "10.1.0.10/32",
    "fence": "source_dest_check",
    "ec2": {"route_tables": "all", "elastic_ip": "198.51.100.7"},
}
ROUTE = {"destination": "10.1.0.10/32", "before": "eni-a", "after": "eni-b"}
TIED = {"before": {"network_interface_id": "eni-a"}, "after": {"network_interface_id": "eni-b"}}
INSTANCES = {"node-a": "i-a", "node-b": "i-b", "node-c": "i-c"}


def fenced(**changes: Any) -> Fence:
    given: dict[str, Any] = {
        "routes": [ROUTE],
        "association": TIED,
        "owners": [{"instance_id": "i-a"}],
        "instances": INSTANCES,
        "unfenced": ["node-a"],
    }
    given.update(changes)
    seen = {name: given[name] for name in ("routes", "association", "owners")}
    return find_old_node(given.get("resource", WEB), "node-b", given["instances"], given["unfenced"], **seen)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Fence(("eni-a",), ("node-a",))),
        ({"owners": None}, Fence(("eni-a",), ("node-a",))),
        ({"association": {}}, Fence(("eni-a",), ("node-a",))),
        ({"routes": []}, Fence(("eni-a",), ("node-a",))),
        ({"routes": [{**ROUTE, "before": "eni-a1"}]}, Fence(("eni-a1", "eni-a"), ("node-a",))),
        ({"routes": [{**ROUTE, "destination": "10.2.0.0/16", "before": "eni-c"}]}, Fence(("eni-a",), ("node-a",))),
        # What targets this node already was pointed at it by an earlier run, which began with the fence.
        ({"routes": [{**ROUTE, "before": "eni-b"}], "association": {}, "owners": []}, Fence((), ("node-a",))),
        ({"instances": {}}, Fence(("eni-a",), ("node-a",))),
        ({"unfenced": []}, Fence(("eni-a",), ("node-a",))),
        ({"resource": {**WEB, "address": "fd00::10/128"}, "routes": [{**ROUTE, "destination": "fd00::10/128"}]}, Fence(("eni-a",), ("node-a",))),
    ],
)
def test_whom_to_fence(changes: dict[str, Any], expected: Fence) -> None:
    assert fenced(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            {"routes": [{**ROUTE, "before": "igw-1"}], "association": {}},
            "fence: source_dest_check finds the old node by route table entries or the Elastic IP, and of web none leads to a network interface",
        ),
        (
            {"routes": [], "association": {}, "resource": {"tag": "web", "address": "10.1.0.10/24", "fence": "stop_instance"}},
            "fence: stop_instance finds the old node by route table entries or the Elastic IP, and of web there is neither; set ec2, or fence: none",
        ),
        (
            {"routes": [{**ROUTE, "before": "eni-x"}], "owners": [{"instance_id": "i-x"}, {"instance_id": "i-a"}]},
            "fence: source_dest_check is not certain whom it would hit: what belongs to web leads to eni-x and eni-a of i-x and i-a, and "
            "node-a is i-a",
        ),
        ({"owners": [{"instance_id": "i-a"}, {"instance_id": "i-x"}], "instances": {}}, "leads to eni-a of i-a and i-x, and node-a is none of"),
        ({"owners": [{"instance_id": "i-x"}]}, "leads to eni-a of i-x, and node-a is i-a"),
        ({"owners": [{"instance_id": None}]}, "leads to eni-a of no instance, and node-a is i-a"),
        ({"owners": [{"instance_id": "i-b"}], "unfenced": []}, "leads to eni-a of i-b, and node-a or node-c is i-a or i-c"),
        ({"owners": [{"instance_id": "i-x"}], "instances": {"node-b": "i-b"}}, "and node-a is none of holdfast_instances"),
    ],
)
def test_nobody_else_is_fenced(changes: dict[str, Any], refusal: str) -> None:
    """An entry may have been changed by hand."""
    with pytest.raises(Refused) as raised:
        fenced(**changes)
    assert refusal in raised.value.message
