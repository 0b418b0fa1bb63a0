# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle: what it calls two holders, and that it sees two kernels that hold an address at once, and only those."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from lab.control import CallLog
from lab.control.calls import Call
from lab.netns import Namespace, remove_leftovers
from lab.oracle import Oracle, Stay, Tenure, TwoHolders, epochs_that_fell, lease_writes, tenures_of, two_at_once, without_lease

pytestmark = pytest.mark.exclusivity
VIP, VIP6 = "10.1.0.10/32", "fd00:1::10/128"


@pytest.mark.parametrize(
    ("stays", "faults"),
    [
        ([], 0),
        ([Stay("a", 0, 1), Stay("b", 2, 3), Stay("a", 4, 5)], 0),
        ([Stay("a", 0, 1), Stay("a", 0.5, 3)], 0),
        ([Stay("a", 0, 2), Stay("b", 1, 3)], 1),
        ([Stay("b", 1, 1), Stay("a", 0, 2)], 1),
        ([Stay("a", 0, 9), Stay("b", 1, 2), Stay("c", 1.5, 3)], 3),
    ],
)
def test_two_at_once(stays: list[Stay], faults: int) -> None:
    assert len(two_at_once(stays)) == faults


WRITES = [(0.0, "a", 5), (1.0, "a", 5), (2.0, "", 5), (3.0, "b", 6), (4.0, "b", 6)]


def test_tenures() -> None:
    assert tenures_of(WRITES) == (Tenure("a", 5, 0, 2), Tenure("", 5, 2, 3), Tenure("b", 6, 3, float("inf")))


@pytest.mark.parametrize(
    ("stay", "fault"),
    [
        (Stay("a", 0.5, 1.9), ""),
        (Stay("b", 3.1, 99), ""),
        (Stay("a", 0.5, 2.1), "a had the address for 1.600 s while the lease was held by a (5), nobody (5)"),
        (Stay("a", 3.1, 3.2), "a had the address for 0.100 s while the lease was held by b (6)"),
        (Stay("b", 2.9, 4), "b had the address for 1.100 s while the lease was held by nobody (5), b (6)"),
    ],
)
def test_without_lease(stay: Stay, fault: str) -> None:
    assert without_lease([stay], tenures_of(WRITES)) == ([fault] if fault else [])


def test_epochs_that_fell() -> None:
    assert epochs_that_fell(tenures_of(WRITES)) == []
    assert epochs_that_fell(tenures_of([*WRITES, (5.0, "", 6), (6.0, "a", 6)])) == ["a followed b with epoch 6 after 6"]


def test_the_store_s_log() -> None:
    log = CallLog()

    def put(when: float, key: str, holder: str, effective: bool) -> None:
        item = {"lease": {"S": key}, "epoch": {"N": "7"}, **({"holder": {"S": holder}} if holder else {})}
        log.add(Call("dynamodb", "PutItem", "", True, 200, None, when, "", effective, {"Item": item}))

    put(1, "c/t", "a", True)
    put(2, "c/t", "b", True)
    put(3, "c/t", "c", False)
    put(4, "c/u", "d", True)
    put(5, "c/t", "", True)
    assert lease_writes(log, "c/t", 2) == [(2, "b", 7), (5, "", 7)]


@pytest.fixture
def nodes() -> Iterator[dict[str, Namespace]]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    remove_leftovers("hfor-")
    with Namespace(f"hfor-a{os.getpid()}") as a, Namespace(f"hfor-b{os.getpid()}") as b:
        yield {"node-a": a, "node-b": b}


def _until_later(seconds: float) -> None:
    """For many looks of the oracle."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def _hold(node: Namespace, address: str) -> float:
    node.ip(f"addr add {address} dev lo")
    return time.monotonic()


def _drop(node: Namespace, address: str) -> float:
    before = time.monotonic()
    node.ip(f"addr del {address} dev lo")
    return before


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_one_after_the_other(nodes: dict[str, Namespace], address: str) -> None:
    with Oracle(nodes, address) as oracle:
        for node in ("node-a", "node-b", "node-a"):
            _hold(nodes[node], address)
            _until_later(0.2)
            _drop(nodes[node], address)
        verdict = oracle.stop()
    assert [stay.node for stay in verdict.stays] == ["node-a", "node-b", "node-a"]
    assert verdict.faults == ()
    assert verdict.samples > 10
    assert "never two holders" in verdict.line


def test_two_at_once_for_real(nodes: dict[str, Namespace]) -> None:
    oracle = Oracle(nodes, VIP).start()
    _hold(nodes["node-a"], VIP)
    began = _hold(nodes["node-b"], VIP)
    nodes["node-b"].ip("addr add 10.1.0.11/32 dev lo")  # another address is none of its business
    _until_later(0.3)
    ended = _drop(nodes["node-a"], VIP)
    verdict = oracle.stop()
    assert len(verdict.faults) == 1
    assert verdict.stays[-1].node == "node-b"  # to the end
    overlap = verdict.stays[0].end - max(stay.begin for stay in verdict.stays)
    assert 0 < overlap <= ended - began + 2 * verdict.widest + 0.1


def test_as_a_context_manager_it_fails_at_its_end(nodes: dict[str, Namespace]) -> None:
    for node in nodes.values():
        _hold(node, VIP)
    context = Oracle(nodes, VIP)
    context.__enter__()
    _until_later(0.1)
    with pytest.raises(TwoHolders, match="both had the address"):
        context.__exit__(None, None, None)


def test_an_oracle_that_did_not_look_has_no_verdict(nodes: dict[str, Namespace]) -> None:
    oracle = Oracle(nodes, VIP).start()
    assert oracle._process is not None
    oracle._process.kill()
    with pytest.raises(RuntimeError, match="has no verdict"):
        oracle.stop()
