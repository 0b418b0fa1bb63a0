# SPDX-License-Identifier: GPL-3.0-or-later
"""On nodes that boot: the dependents stop before another node may take over, also when no checker is left to stop them."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import APP, UNIT, Installed, since_now
from lab.booted import BootedNode
from lab.waiting import until

LEASE = "holdfast-lease@web.service"


DROP_IN = f"/run/systemd/system/{UNIT}.d/never-again.conf"


def killed_for_good(node: BootedNode) -> None:
    """As one that systemd starts no more, because it is masked or its configuration is refused."""
    script = f"mkdir -p $(dirname {DROP_IN}) && printf '[Service]\\nRestart=no\\n' > {DROP_IN} && systemctl daemon-reload"
    node.run("sh", "-c", script)
    node.run("systemctl", "kill", "--signal=KILL", UNIT)


def stands_still(node: BootedNode) -> None:
    node.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal.SIGSTOP:d}", UNIT)


def restored(node: BootedNode) -> None:
    node.run("sh", "-c", f"rm -f {DROP_IN}; systemctl daemon-reload")
    node.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal.SIGCONT:d}", UNIT, check=False)
    node.run("systemctl", "reset-failed", check=False)
    node.run("systemctl", "start", UNIT)


def moments(node: BootedNode, what: str) -> list[float]:
    """When the dependent was started, or stopped, in seconds of the epoch."""
    lines = node.run("cat", "/var/log/app", check=False).stdout.splitlines()
    return [float(line.split()[0]) for line in lines if line.endswith(what)]


@pytest.mark.parametrize("strike", [killed_for_good, stands_still])
def test_without_the_checker_the_dependents_stop_before_another_node_takes_over(
    cluster: Installed, active: str, strike: Callable[[BootedNode], None]
) -> None:
    node, other, begin = cluster.node(active), cluster.node(cluster.other(active)), since_now()
    until(lambda: cluster.is_active(node, LEASE), 40, f"the dependents of {active} are not bound to the lease")
    try:
        with cluster.oracle():
            strike(node)
            until(lambda: not cluster.is_active(node), 60, "the dependent goes on")
            until(lambda: cluster.is_active(other), 60, "it does not start on the other node")
            stopped = max(one for one in moments(node, "stopped") if one > begin)
            started = min(one for one in moments(other, "started") if one > begin)
            print(f"stopped {started - stopped:.2f} s before it was started elsewhere")
            assert stopped < started
    finally:
        restored(node)
    cluster.wait_settled(other.name)


def test_on_a_node_that_does_not_hold_the_lease_a_dependent_does_not_start(cluster: Installed, active: str) -> None:
    other = cluster.node(cluster.other(active))
    done = other.run("systemctl", "start", APP, check=False)
    assert done.returncode != 0
    assert not cluster.is_active(other)
    assert "the lease of web is not held on this node" in other.run("journalctl", "--unit", LEASE, "--output=cat", "--lines=5").stdout
    assert cluster.is_active(cluster.node(active))
