# SPDX-License-Identifier: GPL-3.0-or-later
"""On nodes that boot: the dependents stop before another node may take over, also when no checker is left to stop them."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import APP, Installed, margin
from harness.marks import STALLS
from lab.waiting import until

pytestmark = STALLS

LEASE = "holdfast-lease@web.service"


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_without_the_checker_the_dependents_stop_before_another_node_takes_over(cluster: Installed, active: str, signal: str) -> None:
    """It was killed and does not start again, or it stands still."""
    until(lambda: cluster.is_active(cluster.node(active), LEASE), 40, f"the dependents of {active} are not bound to the lease")
    with cluster.oracle():
        seconds = margin(cluster, active, signal)
        cluster.wait_settled(cluster.other(active))
    print(f"{signal}: the dependent had ended {seconds:.2f} s before")
    assert seconds > 0


def test_on_a_node_that_does_not_hold_the_lease_a_dependent_does_not_start(cluster: Installed, active: str) -> None:
    other = cluster.node(cluster.other(active))
    done = other.run("systemctl", "start", APP, check=False)
    assert done.returncode != 0
    assert not cluster.is_active(other)
    assert "the lease of web is not held on this node" in other.run("journalctl", "--unit", LEASE, "--output=cat", "--lines=5").stdout
    assert cluster.is_active(cluster.node(active))
