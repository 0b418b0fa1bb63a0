# SPDX-License-Identifier: GPL-3.0-or-later
"""The two halves of a failover alone, as `tasks_from` of the role, each on its node without SSH; and a release that no checker makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import MOVED, dependents
from lab.control import Fault
from lab.waiting import until


def half(name: str, folder: Path) -> str:
    """A user's playbook that includes one half."""
    path = folder / f"{name}.yml"
    role = {"name": "holdfast.ha.failover", "tasks_from": name}
    path.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]))
    return str(path)


def test_a_release_and_a_takeover(cluster: Cluster, tmp_path: Path) -> None:
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    released = cluster.play_on(a, half("release", tmp_path), failover_tag=TAG, failover_handoff_to="node-b")
    assert released.status == 0, released.message or released.other
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", "node-b")
    assert (cluster.where()["address"], cluster.where()["elastic ip"]) == (set(), {"-"})
    taken = cluster.play_on(b, half("takeover", tmp_path), failover_tag=TAG)
    assert taken.status == 0, taken.message or taken.other
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == MOVED
    cluster.resource["dependents"] = []
    cluster.lab.control.faults.inject(Fault("deny", "DisassociateAddress"))
    left = cluster.play_on(b, half("release", tmp_path), failover_tag=TAG)
    assert left.status != 0, "nothing follows that would take it"
    assert "web was released by node-b, but its Elastic IP still leads there: " in left.message
    assert "ec2:DisassociateAddress" in left.message
    assert (cluster.holder(), cluster.where()["address"]) == ("", set())


@pytest.mark.parametrize("more", [{}, {"by_checker": True}])
def test_no_release_while_the_address_is_up(cluster: Cluster, more: dict[str, bool]) -> None:
    """The checker was killed, and the kernel lets the address live on: who took a released lease now would not be alone."""
    a = cluster.lab.node_a
    cluster.put_in_service(a)
    before = cluster.record()
    cluster.checkers["node-a"].kill()
    answer = cluster.lease(a, state="released", address=cluster.lab.place.vip, **more)
    assert answer["failed"]
    assert ("no checker on this host" if more else "its address is still on eth0") in answer["msg"]
    assert cluster.record() == before
    if not more:
        until(lambda: not cluster.has_address(a), 10, "the kernel has kept the address")
        assert cluster.lease(a, state="released", address=cluster.lab.place.vip)["changed"]
        assert cluster.holder() == ""
