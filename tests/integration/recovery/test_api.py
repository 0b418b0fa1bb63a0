# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble with EC2's API or instance metadata during a recovery: the right end state or one line, never a foreign change, in bounded time."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster
from lab.faults import clear, strike

#: Seconds that a run may take with EC2 or metadata silent: a dozen calls of 1 to 2 s each, and Ansible itself.
_LONGEST = 60


@pytest.mark.parametrize("trouble", ["throttle", "http500", "lost-reply", "stale"])
def test_what_passes_is_sat_out(cluster: Cluster, trouble: str) -> None:
    for broken in ("forgotten-table", "eip-taken"):
        strike(cluster.lab, broken)
    strike(cluster.lab, trouble)

    run = cluster.recover(cluster.web)
    clear(cluster.lab)

    assert run.status == 0, run.message
    assert run.seconds < _LONGEST
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)
    assert {subject[2] for subject in cluster.changes()} == {cluster.lab.place.vip6}, "only what was not asked for is left"
    assert all(call.effective for call in cluster.calls if call.mutating and call.status == 200)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("deny", "to its IAM policy"),
        ("expired", "renew them"),
        ("api-silent", "no reply from"),
    ],
)
def test_what_stays_fails_in_one_line_with_the_address_back_all_the_same(cluster: Cluster, trouble: str, says: str) -> None:
    for broken in ("forgotten-table", "eip-taken", "address-deleted"):
        strike(cluster.lab, broken)
    broken_at_ec2 = {subject: change for subject, change in cluster.changes().items() if subject[0] in ("route", "elastic ip")}
    strike(cluster.lab, trouble)

    run = cluster.recover(cluster.web)
    clear(cluster.lab)

    assert run.status != 0
    assert run.seconds < _LONGEST
    assert run.message.startswith("web: ")
    assert says in run.message
    assert cluster.changes() == broken_at_ec2, "the kernel was put right, EC2 left alone"
    assert cluster.who_answers(("node-b", cluster.lab.place.vip)) == [{"node-a"}]


def test_silent_metadata_fails_in_one_line_with_the_address_back_all_the_same(cluster: Cluster) -> None:
    strike(cluster.lab, "forgotten-table")
    broken_at_ec2 = cluster.changes()
    strike(cluster.lab, "address-deleted")
    strike(cluster.lab, "imds-silent")

    run = cluster.recover(cluster.web)
    clear(cluster.lab)

    assert run.status != 0
    assert run.seconds < _LONGEST
    assert run.message.startswith("web: Instance metadata")
    assert cluster.changes() == broken_at_ec2
