# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of the VPC as an installation leaves them, and nobody who helps: what `make demo` shows at its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from lab.installed import Installed

#: Seconds; a busy machine takes many times as long for a playbook as an idle one.
LONGEST = 240.0


@pytest.fixture
def log_of_runs(tmp_path: Path) -> Path:
    return tmp_path / "ansible.log"


@pytest.fixture
def both(shared: Cluster, log_of_runs: Path) -> Iterator[Installed]:
    shared.reset()
    shared.stop()
    key, old = f"{CLUSTER}/{TAG}", shared.record()
    assert old is not None
    assert shared.store.write(key, shared.store.read(key).token, replace(old, handoff_to="", nonce="free.1")) is not None  # for whoever is ready
    resource = {**shared.web, "priority": {"node-a": 1, "node-b": 2}}
    with Installed(shared.lab, CLUSTER, STORE, resource, "fast", {"ANSIBLE_LOG_PATH": str(log_of_runs)}) as running:
        yield running


def test_the_active_node_is_killed_and_a_switchover_returns_the_service(both: Installed, shared: Cluster, log_of_runs: Path) -> None:
    both.until_in_service("node-a", LONGEST)
    both.until_ready("node-b", LONGEST)
    both.until_armed(LONGEST)
    shared.all_on("node-a")
    read = len(log_of_runs.read_text())
    with both.oracle():
        both.kill("node-a")
        both.until_in_service("node-b", LONGEST)
        shared.all_on("node-b")
        waited = log_of_runs.read_text()[read:].split("TASK [")[0]
        assert "changed: [localhost]" in waited, "the VPC did not follow by the task that had waited"
        both.bring_back("node-a")
        both.until_ready("node-a", LONGEST)
        shared.all_on("node-b")
        assert both.checkers["node-b"].ask("switchover", tag=TAG, to="node-a", wait=1)["ok"]
        both.until_in_service("node-a", LONGEST)
        shared.all_on("node-a")
