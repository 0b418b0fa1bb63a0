# SPDX-License-Identifier: GPL-3.0-or-later
"""An etcd that fills up: the checker says so while there is room left, and what to do; the remedy of the guide works."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab.waiting import until

from .small import QUOTA, SmallNode

PART = 1 << 20


@pytest.fixture
def filled(small: SmallNode) -> Iterator[SmallNode]:
    """Much of its space is in use by somebody else."""
    small.reset()
    compact(small)
    fill(small, 0.7)
    yield small
    relieve(small)
    small.reset()


def compact(small: SmallNode) -> None:
    small.etcd("kv/compaction", {"revision": small.etcd("maintenance/status", {})["header"]["revision"], "physical": True})


def used(small: SmallNode) -> int:
    """Bytes, once etcd has committed what was put: it does so ten times a second."""
    return int(small.etcd("maintenance/status", {})["dbSizeInUse"])


def fill(small: SmallNode, share: float) -> None:
    for _number in range(2 * QUOTA // PART):
        if (before := used(small)) >= share * QUOTA:
            return
        assert put(small)
        with suppress(TimeoutError):  # etcd frees pages of a compaction at the same time
            until(lambda before=before: used(small) > before, 1, "what was put does not count", every=0.02)
    pytest.fail(f"{used(small)} bytes are in use")


def put(small: SmallNode) -> bool:
    """One more MiB of history of the same key."""
    return "error" not in small.etcd("kv/put", {"key": "L2Vsc2U=", "value": base64.b64encode(b"x" * PART).decode()})


def relieve(small: SmallNode) -> None:
    """In the order of the guide."""
    compact(small)
    small.etcd("maintenance/defragment", {})
    for alarm in small.etcd("maintenance/alarm", {"action": "GET"}).get("alarms", []):
        small.etcd("maintenance/alarm", {"action": "DEACTIVATE", **alarm})


def banners(small: SmallNode) -> str:
    return " ".join(small.call("holdfast", "status").stdout.split())


def look_again(small: SmallNode) -> None:
    """The checker looks when it starts, and then every five minutes."""
    assert small.checker is not None
    small.checker.stop()
    small.checker.start()


def test_a_store_that_fills_up_is_told_while_there_is_room(filled: SmallNode) -> None:
    look_again(filled)
    until(lambda: filled.ask("status")["resources"][0]["held"], 20, "the lease is not held again")
    assert "ROOM" not in banners(filled)
    fill(filled, 0.82)
    look_again(filled)
    until(lambda: "ROOM" in banners(filled), 20, "nothing is said")
    assert "etcd uses " in banners(filled)
    assert "of its space, 64 MiB" in banners(filled)
    assert "When etcd is full" in banners(filled)
    assert filled.module("checker_info")["status"]["store_warning"].startswith("etcd uses ")
    assert filled.checker is not None
    (event,) = [one for one in filled.checker.seen("trouble") if one.get("what") == "store"]
    assert event["reason"].startswith("etcd uses ")


def test_a_store_that_is_full_is_told_with_a_remedy_that_works(filled: SmallNode) -> None:
    for _number in range(40):
        if not put(filled):
            break
    else:
        pytest.fail("it is never full")
    until(lambda: "etcd is full and refuses all writes" in banners(filled), 20, "it is not told")
    assert "When etcd is full" in banners(filled)
    relieve(filled)
    until(lambda: "STORE" not in banners(filled) and filled.ask("status")["resources"][0]["held"], 30, "it does not work again")
    look_again(filled)
    until(lambda: filled.ask("status")["resources"][0]["held"], 20, "the lease is not held again")
    assert "ROOM" not in banners(filled)
