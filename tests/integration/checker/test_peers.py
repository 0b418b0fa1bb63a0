# SPDX-License-Identifier: GPL-3.0-or-later
"""Two checkers that know of each other: what that changes when the store is lost, and at a hand-off."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from harness.marks import STALLS
from harness.module import run_module
from harness.pair import CLUSTER, STORE, TAG, Pair
from lab.control import Fault
from lab.lan import VIP, Lan
from lab.node import Node
from lab.oracle import Oracle
from lab.waiting import until

pytestmark = STALLS

TIMING = PROFILES["fast"]
SECRET, KEY_FILE, PORT = "a key that all the nodes share, and nobody else", "/etc/holdfast/shared.key", 7447


class Peers(Pair):
    """A pair whose checkers talk to each other. ``secret_of_b``: the key of node-b."""

    def __init__(self, lan: Lan, timing: Any = "fast", *, secret_of_b: str = SECRET) -> None:
        addresses = {node.name: node.place.interfaces[0].address for node in lan.nodes}
        super().__init__(lan, timing, peers={"port": PORT, "addresses": addresses, "key_file": KEY_FILE})
        self.a, self.b = lan.nodes
        lan.control.faults.clear()
        for node, secret in ((self.a, SECRET), (self.b, secret_of_b)):
            self.mend(node)
            node.drop(VIP)
            node.run("sh", "-c", "rm -f /var/lib/holdfast/*")
            node.run("install", "-m", "0600", "/dev/stdin", KEY_FILE, input=secret)

    def met(self) -> None:
        """Returns once the two have seen each other."""
        until(lambda: all(checker.seen("peer alive") for checker in self.checkers.values()), 10, "they do not see each other")

    def told_of_a(self) -> tuple[str, bool, bool | None]:
        """What node-b knows of node-a: its name, whether it lives, and whether it holds the lease."""
        (peer,) = self.checkers["node-b"].ask("status")["peers"]
        return peer["node"], peer["alive"], peer["resources"].get(TAG, {}).get("held")

    def lose(self, node: Node, *, store: bool = False, peer: bool = False) -> None:
        """What this node sends to the store, or to its peer, no longer arrives."""
        rules = ["tcp dport 80 drop"] * store + [f"udp dport {PORT} drop"] * peer
        table = ["table inet lost {", "chain output {", "type filter hook output priority 0;", *rules, "}", "}"]
        node.run("nft", "-f", "-", input="\n".join(["add table inet lost", "delete table inet lost", *table, ""]))

    def mend(self, node: Node) -> None:
        """Undo `lose`."""
        node.run("nft", "-f", "-", input="add table inet lost\ndelete table inet lost\n")

    def has_address(self, node: Node) -> bool:
        """Whether the virtual address is on a link of this node."""
        return any(held == VIP for _link, held in node.addresses())

    def failsafe(self) -> list[bool]:
        """Each time that node-a told of it: whether it began or ended."""
        return [bool(one["on"]) for one in self.checkers["node-a"].seen("failsafe")]

    def stays(self, seconds: float) -> None:
        """The address is on node-a, and on it alone, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            a, b = (self.checkers[node.name] for node in self.lan.nodes)
            assert self.has_address(self.a), (a.exit_code, a.events[-12:])
            assert not self.has_address(self.b), (b.exit_code, b.events[-12:])
            time.sleep(0.05)

    def goes(self) -> float:
        """The address goes from node-a; after how many seconds."""
        begin = time.monotonic()
        while self.has_address(self.a):
            taken = time.monotonic() - begin
            assert taken < TIMING.ttl + 2, (taken, self.checkers["node-a"].events[-12:], self.a.namespace.ip("addr show"))
        return time.monotonic() - begin

    def stop(self) -> None:
        """Also where the store is silent."""
        self.lan.control.faults.clear()
        for node in self.lan.nodes:
            self.mend(node)
        for checker in self.checkers.values():
            checker.kill()
        self.checkers.clear()


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"pr{os.getpid()}-") as made:
        yield made


def test_the_store_is_lost_and_the_address_stays_while_the_peer_agrees(lan: Lan) -> None:
    with Peers(lan) as pair, Oracle({node.name: node.namespace for node in lan.nodes}, VIP):
        pair.met()
        until(lambda: pair.told_of_a() == ("node-a", True, True), 10, "node-b does not know that node-a holds the lease")
        pair.lose(pair.a, store=True)  # node-b still reaches it, and could take over
        pair.stays(1.5 * TIMING.ttl)
        assert pair.failsafe() == [True]
        lan.control.faults.inject(Fault("silent", "dynamodb:*"))
        pair.stays(TIMING.ttl)
        lan.control.faults.clear()
        pair.mend(pair.a)
        until(lambda: pair.failsafe() == [True, False], 10, "the end was not told")
        pair.stays(0.5)
        assert not pair.checkers["node-a"].seen("lost")

        pair.lose(pair.a, store=True, peer=True)
        assert pair.goes() <= TIMING.hold + 1.5
        until(lambda: pair.checkers["node-a"].seen("lost"), 5, "nothing was said")
        until(lambda: pair.checkers["node-b"].seen("peer silent"), 5, "node-b did not notice")
        until(lambda: pair.checkers["node-b"].seen("acquired"), 4 * TIMING.ttl, "node-b, which reaches the store, did not take over")


def test_a_peer_with_another_key_is_none(lan: Lan) -> None:
    with Peers(lan, secret_of_b=SECRET.upper()) as pair:
        until(lambda: pair.checkers["node-a"].seen("peer silent"), 10, "nothing was said")
        (told,) = until(lambda: [one for one in pair.checkers["node-a"].ask("status")["peers"] if one["dropped"] > 4], 10, "nothing was dropped")
        assert (told["node"], told["alive"], told["resources"]) == ("node-b", False, {})
        lan.control.faults.inject(Fault("silent", "dynamodb:*"))
        pair.goes()
        assert not pair.failsafe()
        for checker in pair.checkers.values():
            assert SECRET.lower() not in json.dumps([*checker.events, *checker.other, checker.ask("status")]).lower()


def test_at_a_hand_off_the_next_node_does_not_wait_for_its_poll(lan: Lan) -> None:
    with Peers(lan, {"profile": "fast", "poll": 6.0}) as pair:
        pair.met()

        def has_acquired(name: str, times: int) -> bool:
            return len(pair.checkers[name].seen("acquired")) >= times

        took = []
        for giver, taker in (("node-a", "node-b"), ("node-b", "node-a"), ("node-a", "node-b")):
            before = len(pair.checkers[taker].seen("acquired"))
            begin = time.monotonic()
            assert pair.checkers[giver].ask("release", tag=TAG, handoff_to=taker)["ok"]
            until(partial(has_acquired, taker, before + 1), 20, f"{taker} did not take it")
            took.append(round(time.monotonic() - begin, 3))
        assert max(took) < 2.0, took


def test_a_checker_that_is_started_meanwhile_renews(lan: Lan) -> None:
    """Else a module that waits for the lease would not know what its own node has promised."""
    with Peers(lan) as pair:
        pair.checkers["node-b"].stop()
        words = {"cluster": CLUSTER, "tag": TAG, "holder": "node-b", "store": STORE, "wait": 60}
        reads = lan.control.calls.count("dynamodb:GetItem")
        told: list[dict[str, Any]] = []
        module = threading.Thread(target=lambda: told.append(run_module("lease", words, where=pair.b.namespace, env=dict(pair.b.environment))))
        module.start()
        until(lambda: lan.control.calls.count("dynamodb:GetItem") > reads + 1, 30, "the module does not wait")
        pair.checkers["node-b"].start()
        module.join(60)
        assert "a checker was started on this host" in told[0]["msg"]
