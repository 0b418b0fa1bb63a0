# SPDX-License-Identifier: GPL-3.0-or-later
"""The address lies inside the VPC, and is no private address of the node's interface: EC2 delivers no packet for it, and the status says so."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness.module import TREE, run_module
from lab.checker import Checker
from lab.waiting import until

_CLIENT = "ansible_collections.holdfast.ha.plugins.module_utils._control.client"
_ASK = f"import json\nfrom {_CLIENT} import ask\nprint(json.dumps(ask('status', tag='{TAG}')))"
CHECKS = {"grace": 0, "interval": 1, "deep_interval": 1}
ADDRESS = "10.0.1.50"


def test_the_status_says_so_until_the_address_is_assigned(shared: Cluster) -> None:
    ec2, place, node = shared.lab.ec2, shared.lab.place, shared.lab.node_a
    eni = node.place.interface("eth0").id
    shared.reset(address=f"{ADDRESS}/32", ec2={"elastic_ip": place.elastic_ip})
    shared.checkers.pop("node-a").stop()
    recorded = shared.module_of(node, "ip_resource", in_service=True)
    assert not recorded["failed"], recorded
    checker = shared.checkers["node-a"] = Checker(node, {"cluster": CLUSTER, "store": STORE, "checks": CHECKS}, [shared.resource]).start()

    def status() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(node.namespace.run("python3", "-c", _ASK, env={**node.environment, "PYTHONPATH": str(TREE)}).stdout)
        return told

    try:
        shared.put_in_service(node)
        told = until(lambda: one if (one := status())["ec2"] and one["reasons"] else None, 20, "nothing is told", every=0.1)
        (reason,) = told["reasons"]
        assert reason.startswith(f"EC2 delivers no packet for {ADDRESS}: it lies inside the VPC and is no private address of {eni}")
        assert (told["health"], told["faults"]) == ("unknown", [])
        assert not checker.seen("fault")
        ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=[ADDRESS])
        where = {"NetworkInterfaceId": eni, "PrivateIpAddress": ADDRESS}
        ec2.associate_address(AllocationId=place.allocation_id, AllowReassociation=True, **where)
        until(lambda: status()["health"] == "healthy", 20, "it is not healthy although EC2 delivers", every=0.1)
    finally:
        shared.stop()
        node.drop(f"{ADDRESS}/32")
        back = {"NetworkInterfaceId": eni, "PrivateIpAddress": node.place.interface("eth0").address}
        ec2.associate_address(AllocationId=place.allocation_id, AllowReassociation=True, **back)
        ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=[ADDRESS])
        run_module("ip_source_route", {"address": ADDRESS, "interface": "eth0", "state": "absent"}, where=node.namespace, env=dict(node.environment))
