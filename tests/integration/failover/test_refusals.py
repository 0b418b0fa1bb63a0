# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is refused in one line, before anything is changed: by the checker, and by the playbooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import LabEtcd
from lab.checker import Checker
from lab.router import API_ADDRESS
from lab.waiting import until

SECRET = "wJalrXUtnFEMIverysecret"
NOWHERE = f"http://{API_ADDRESS}:9"


@pytest.fixture(scope="module")
def etcd(shared: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabEtcd]:
    with LabEtcd(shared.lab, tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="module")
def bare(shared: Cluster) -> Cluster:
    """No checker runs, and nothing is in service."""
    shared.reset()
    shared.stop()
    return shared


# --- the checker ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "resource", "cause"),
    [
        ({"timing": {"ttl": 5}}, {}, "R + 2C + 1 = 2 + 2*1.5 + 1 = 6 s is more than T(1-rho) - D - stop_budget = 5*0.98 - 2 - 0 = 2.9 s"),
        ({"timing": {"profile": "fast", "renew": 2}}, {}, "R + 2C + 1 = 2 + 2*0.5 + 1 = 4 s is more than T(1-rho)"),
        ({}, {"stop_budget": 5}, "raise ttl to at least 13.3, or lower the others"),
        ({"store": {"type": "none"}}, {}, "type none keeps no leases"),
        ({"store": None}, {}, "no store is set"),
        ({"store": {"type": "dynamodb"}}, {}, "store.table: a store of type dynamodb needs it"),
        ({"store": {"type": "etcd", "endpoints": [NOWHERE], "username": "holdfast"}}, {}, "username and password belong together"),
    ],
)
def test_a_checker_that_cannot_work_does_not_start(bare: Cluster, settings: dict[str, Any], resource: dict[str, Any], cause: str) -> None:
    node = bare.lab.node_a
    checker = Checker(node, {"cluster": CLUSTER, "store": STORE, **settings}, [{**bare.web, **resource}])
    with pytest.raises(RuntimeError, match="ended with 78"):
        checker.start()
    assert len(checker.other) == 1
    assert checker.other[0].startswith("holdfast-checker: ")
    assert cause in checker.other[0]
    assert not bare.has_address(node)


#: Stores that are well described and do not work: (settings, what is said).
_DEAD = {
    "table missing": ({"type": "dynamodb", "table": "no-such-table"}, "the lease table no-such-table does not exist"),
    "dynamodb unreachable": ({**STORE, "endpoint_url": NOWHERE}, f"cannot reach {NOWHERE}"),
    "dynamodb credentials": ({**STORE, "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": SECRET}, "AWS does not accept these credentials"),
    "etcd unreachable": ({"type": "etcd", "endpoints": [NOWHERE]}, "etcd cannot be reached"),
    "etcd credentials": ({"type": "etcd", "password": SECRET}, "etcd does not accept the user and password"),
}


def _store(name: str, etcd: LabEtcd) -> dict[str, Any]:
    given = _DEAD[name][0]
    return {**etcd.settings, **given} if given["type"] == "etcd" and "endpoints" not in given else given


@pytest.mark.parametrize("name", sorted(_DEAD))
def test_a_checker_whose_store_does_not_work_says_so_and_takes_nothing(bare: Cluster, etcd: LabEtcd, name: str) -> None:
    """It runs on, as the store may come back; until then it says in one line what is wrong."""
    node = bare.lab.node_a
    checker = Checker(node, {"cluster": CLUSTER, "store": _store(name, etcd)}, [bare.web]).start()
    try:
        told = [until(lambda: checker.ask("status", tag=TAG)["error"], 20, "no error in its status")]
        if "unreachable" not in name:  # that may pass, so an acquisition waits for it
            told.append(checker.ask("acquire", tag=TAG, wait=1)["message"])
        for line in told:
            assert _DEAD[name][1] in line
            assert "\n" not in line
        status = checker.ask("status", tag=TAG)
        assert (status["held"], status["serving"]) == (False, False)
        assert not bare.has_address(node)
        assert SECRET not in repr([told, status, checker.events, checker.other])
    finally:
        checker.kill()
