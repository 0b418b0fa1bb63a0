# SPDX-License-Identifier: GPL-3.0-or-later
"""One node without a store: what breaks is mended, and the address stays whatever becomes of the checker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import cast

import pytest

from lab.checker import Checker
from lab.node import Node
from lab.waiting import until

from .small import CLUSTER, HOST, NAME, TAG, WEB, SmallNode


@pytest.fixture
def alone(small: SmallNode) -> Iterator[SmallNode]:
    small.reset(watched=False)
    settings = {"cluster": CLUSTER, "store": {"type": "none"}, "checks": {"grace": 0, "interval": 0.5, "backoff": 0.5}}
    small.checker = Checker(cast(Node, small), settings, [WEB]).start()
    yield small
    small.stop_checker()
    small.reset(watched=False)


def serves(small: SmallNode) -> None:
    until(lambda: small.places() == {"eth0": -1}, 10, "the address is not up, or not for good")


def test_the_address_is_up_for_good(alone: SmallNode) -> None:
    checker = alone.checker
    assert checker is not None
    serves(alone)
    until(lambda: checker.seen("takeover"), 5, "nothing was said")
    alone.run("ip", "addr", "del", f"{HOST}/22", "dev", "eth0")
    until(lambda: checker.seen("reflex"), 5, "nothing was said")
    serves(alone)
    told = alone.ask("status", tag=TAG)
    assert (told["held"], told["holder"], told["serving"], told["error"]) == (True, NAME, True, "")
    epoch = told["epoch"]
    checker.send(signal.SIGHUP)
    until(lambda: checker.seen("reloaded"), 15, "it did not reload")
    assert alone.places() == {"eth0": -1}
    checker.kill()
    assert alone.places() == {"eth0": -1}
    checker.start()
    until(lambda: checker.seen("resumed"), 10, "it does not go on")
    assert not checker.seen("takeover"), "there is nothing to take over"
    assert alone.ask("status", tag=TAG)["epoch"] == epoch
    checker.stop()
    assert (checker.exit_code, alone.places()) == (0, {"eth0": -1})


def test_it_cannot_leave_and_that_is_said_in_a_line(alone: SmallNode) -> None:
    serves(alone)
    for op, more in (("release", {}), ("switchover", {"to": "node-b"})):
        reply = alone.checker.ask(op, tag=TAG, **more) if alone.checker else {}
        assert (reply["ok"], reply["kind"]) == (False, "refused")
        assert "store: type none" in reply["message"]
        assert "\n" not in reply["message"]
    done = alone.call("holdfast", "switchover", TAG, "--to", "node-b")
    assert done.returncode != 0
    assert "store: type none" in done.stderr
    assert alone.places() == {"eth0": -1}


def test_it_is_for_one_node(small: SmallNode) -> None:
    small.reset(watched=False)
    settings = {"cluster": CLUSTER, "store": {"type": "none"}, "nodes": [NAME, "node-b"]}
    with pytest.raises(RuntimeError, match=r"ended with 78: .*type none is for one node and the cluster has node-a, node-b"):
        Checker(cast(Node, small), settings, [WEB]).start()
