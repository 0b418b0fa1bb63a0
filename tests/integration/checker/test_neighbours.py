# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours learn which node has the address, also those that missed the first announcement, and from nobody but the holder of the lease.

A neighbour that has the address itself is refused its own; one that only asks for it is not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from harness.marks import STALLS
from lab.checker import write
from lab.lan import Lan
from lab.netns import Namespace
from lab.node import Node
from lab.waiting import until

from .pair import CHECKS, HOST, KEY, Pair
from .small import HOST as SMALL_HOST
from .small import STATE, WEB, SmallNode

pytestmark = STALLS

#: Prints the sender's MAC address of each gratuitous ARP request for an address that comes in by a link.
_LISTEN = """
import socket, sys
raw, ip = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806)), socket.inet_aton(sys.argv[2])
raw.bind((sys.argv[1], 0x806))
print("listening", flush=True)
while True:
    frame = raw.recv(2048)
    if frame[28:32] == ip == frame[38:42]:
        print(frame[22:28].hex(":"), flush=True)
"""
#: Asks by a link who has an address, again and again: as a switch does that tracks devices, with no address as its own.
_ASK = """
import socket, struct, sys, time
raw, mac = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), bytes.fromhex("02aabbccdd01")
raw.bind((sys.argv[1], 0))
arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), socket.inet_aton(sys.argv[2]))
while True:
    raw.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp)
    time.sleep(0.05)
"""
SOMEBODY = "02:aa:bb:cc:dd:01"


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"tell{os.getpid()}-", links=2) as lan:
        pair = Pair(lan)
        try:
            yield pair
        finally:
            pair.stop()


class Listener:
    """Hears who announces the address to a machine, from the start of the `with` statement on."""

    def __init__(self, machine: Namespace, folder: Path) -> None:
        self._machine, self._path = machine, folder / "heard"

    def __enter__(self) -> Listener:
        with self._path.open("w") as file:
            self._process = self._machine.spawn(sys.executable, "-c", _LISTEN, "eth0", HOST, stdout=file.fileno())
        until(lambda: bool(self._path.read_text()), 10, "nobody listens")
        return self

    def __exit__(self, *_about: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def heard(self) -> list[str]:
        return self._path.read_text().splitlines()[1:]


def mac(pair: Pair, name: str) -> str:
    return pair.node(name).place.interfaces[0].mac


def known_mac(machine: Namespace, ip: str) -> str:
    words = machine.ip(f"neigh show {ip}").split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def test_a_neighbour_that_missed_the_announcement_hears_another_one(shared: Pair) -> None:
    shared.reset()
    switch, port = shared.lan.switch, "client-c-0"
    try:
        with shared.lan.oracle(KEY), shared.lan.prober() as prober:
            prober.wait_until_answered(10, by="node-a")
            switch.run("bridge", "link", "set", "dev", port, "bcast_flood", "off")
            shared.checkers["node-a"].stop()
            shared.until_serving("node-b")
            until(lambda: shared.checkers["node-b"].seen("takeover"), 10, "no takeover")
            time.sleep(2.5)  # longer than the first announcements take
            switch.run("bridge", "link", "set", "dev", port, "bcast_flood", "on")
            passed = time.monotonic()
            prober.wait_until_answered(10, by="node-b")
            assert time.monotonic() - passed < 6
    finally:
        switch.run("bridge", "link", "set", "dev", port, "bcast_flood", "on")


def test_a_switch_that_starts_again_ends_the_service_for_no_longer_than_that(shared: Pair) -> None:
    shared.reset()
    switch, machines = shared.lan.switch, list(shared.lan.machines)
    switch.ip("link set lan type bridge stp_state 1 forward_delay 200")
    try:
        until(lambda: all(passes(switch, f"{name}-0") for name in machines), 20, "the ports do not come up")
        with shared.lan.oracle(KEY), shared.lan.prober() as prober:
            prober.wait_until_answered(20)
            for name in machines:
                shared.lan.cut(name)
            prober.wait_until_silent(5)
            for name in machines:
                shared.lan.mend(name)
            until(lambda: all(passes(switch, f"{name}-0") for name in machines), 20, "the ports do not come up")
            begin = time.monotonic()
            prober.wait_until_answered(30)
            taken = time.monotonic() - begin
        print(f"{taken:.1f} s after the ports forward")
        assert taken < 6  # the lease has expired meanwhile, and the clients may have missed the first announcement
    finally:
        switch.ip("link set lan type bridge stp_state 0")


def passes(switch: Namespace, port: str) -> bool:
    """Whether the switch passes frames on at that port."""
    shown = json.loads(switch.run("bridge", "-json", "link", "show", "dev", port).stdout)
    return [one["state"] for one in shown] == ["forwarding"]


def test_only_the_holder_of_the_lease_announces(shared: Pair, tmp_path: Path) -> None:
    shared.reset(announce_interval=1)
    with Listener(shared.node("client-c").namespace, tmp_path) as listener:
        until(lambda: len(listener.heard) >= 3, 10, "node-a does not announce the address again")
        assert set(listener.heard) == {mac(shared, "node-a")}
        a = shared.checkers["node-a"]
        a.send(signal.SIGSTOP)  # its next announcement is due while it stands still
        shared.until_serving("node-b")
        until(lambda: shared.places("node-a") == [], 10, "the address stays on node-a")
        before = len(listener.heard)
        a.send(signal.SIGCONT)
        until(lambda: listener.heard[before:].count(mac(shared, "node-b")) >= 3, 10, "node-b does not announce the address")
        assert set(listener.heard[before:]) == {mac(shared, "node-b")}


def test_a_device_that_asks_for_the_address_delays_no_takeover(shared: Pair) -> None:
    shared.reset()
    device = shared.node("client-c").namespace.spawn(sys.executable, "-c", _ASK, "eth0", HOST)
    try:
        shared.checkers["node-a"].kill()
        shared.lan.cut("node-a")
        until(lambda: bool(shared.checkers["node-b"].seen("takeover")), 20, "no takeover")
        assert shared.checkers["node-b"].seen("takeover")[0]["ok"], shared.checkers["node-b"].seen("takeover")
    finally:
        device.kill()
        device.wait()
        shared.lan.mend("node-a")


def test_a_machine_that_has_the_address_is_named_with_what_to_do(shared: Pair) -> None:
    shared.reset()
    client = shared.node("client-c")
    client.namespace.ip(f"addr add {HOST}/32 dev lo")  # answers for it, as a server does that was started again
    try:
        shared.checkers["node-a"].kill()
        shared.lan.cut("node-a")
        until(lambda: bool(shared.checkers["node-b"].seen("takeover")), 20, "no takeover")
        (first, *_more) = shared.checkers["node-b"].seen("takeover")
        assert not first["ok"]
        assert any(one.mac in first["message"] for one in client.place.interfaces)
        assert first["message"].endswith("Find the host with this MAC address, and remove the address from it.")
        client.namespace.ip(f"addr del {HOST}/32 dev lo")
        shared.until_serving("node-b")
    finally:
        client.namespace.run("ip", "addr", "del", f"{HOST}/32", "dev", "lo", check=False)
        shared.lan.mend("node-a")


def test_a_link_with_another_mac_address_announces_it(shared: Pair, tmp_path: Path) -> None:
    shared.reset(backup_interface=None, announce_interval=0)
    a = shared.node("node-a").namespace
    with Listener(shared.node("client-c").namespace, tmp_path) as listener:
        until(lambda: len(listener.heard) >= 2, 10, "no early announcement")
        a.ip("link set eth0 address 02:00:0a:09:00:99")
        try:
            until(lambda: "02:00:0a:09:00:99" in listener.heard, 10, "the neighbours are not told the new MAC address")
        finally:
            a.ip(f"link set eth0 address {mac(shared, 'node-a')}")


def answered(node: SmallNode) -> bool:
    return node.router.run("ping", "-c", "1", "-W", "0.2", SMALL_HOST, check=False).returncode == 0


@pytest.fixture
def spanning_tree(small: SmallNode) -> Iterator[SmallNode]:
    """The switch forwards nothing at a port for four seconds after its link has come up; others take thirty."""
    small.router.ip("link set br0 type bridge stp_state 1 forward_delay 200")
    until(lambda: passes(small.router, "eth0") and passes(small.router, "eth1"), 20, "the ports do not come up")
    yield small
    small.router.ip("link set br0 type bridge stp_state 0")
    small.reset(watched=False)


@pytest.mark.parametrize("probe", [pytest.param({}, id="without-a-probe"), pytest.param(WEB["probe"], id="with-a-probe")])
def test_it_answers_soon_after_a_port_of_spanning_tree_forwards(spanning_tree: SmallNode, probe: dict[str, object]) -> None:
    small = spanning_tree
    small.reset(backup_interface="eth1", checks=CHECKS, probe=probe)
    until(lambda: passes(small.router, "eth0") and answered(small), 20, "it does not answer by eth0")
    small.router.ip("link set eth0 down")
    until(lambda: list(small.places()) == ["eth1"] and answered(small), 20, "it does not answer by eth1")
    small.router.batch(["link set eth0 up", "link set eth1 down"])  # the link is there, and no frame goes through
    until(lambda: passes(small.router, "eth0"), 20, "the port does not come up")
    small.router.ip(f"neigh replace {SMALL_HOST} lladdr {SOMEBODY} dev br0 nud stale")  # of a client that asked for nothing meanwhile
    begin = time.monotonic()
    until(lambda: answered(small), 20, "it does not answer")
    taken = time.monotonic() - begin
    print(f"{taken:.1f} s after the port forwards")
    assert taken < 6


@pytest.mark.parametrize("address", [f"{SMALL_HOST}/22", "fd00:9::100/64"])
def test_a_neighbour_is_put_right_at_each_interval(small: SmallNode, address: str) -> None:
    ip, router = address.partition("/")[0], small.router
    small.reset(address=address, announce_interval=1, probe={})
    try:
        until(lambda: ip in small.namespace.ip("addr show dev eth0"), 10, "the address is not there")
        own = small.namespace.run("cat", "/sys/class/net/eth0/address").stdout.strip()
        for _turn in range(2):
            router.ip(f"neigh replace {ip} lladdr {SOMEBODY} dev br0 nud stale")
            until(lambda: known_mac(router, ip) == own, 8, "the neighbour still believes the wrong MAC address")
    finally:
        small.reset(watched=False)


def test_an_interval_below_a_second_is_refused(small: SmallNode) -> None:
    small.reset(watched=False, announce_interval=0.2)
    assert small.checker is not None
    with pytest.raises(RuntimeError, match="give at least 1 second, or 0"):
        small.checker.start()


def label(node: SmallNode, link: str) -> str:
    """Of the address on the link; empty while it is not there."""
    (shown,) = json.loads(node.namespace.ip(f"-j addr show dev {link}"))
    return next((str(one["label"]) for one in shown["addr_info"] if one.get("local") == SMALL_HOST), "")


@pytest.mark.parametrize("given", [pytest.param({"label": "1"}, id="by-the-resource"), pytest.param({}, id="by-who-had-put-it-up")])
def test_the_address_comes_back_with_its_label(small: SmallNode, given: dict[str, str]) -> None:
    small.reset(watched=False, checks=CHECKS, backup_interface="eth1", **given)
    assert small.checker is not None
    try:
        if not given:
            small.namespace.ip(f"addr add {SMALL_HOST}/22 dev eth0 label eth0:1")
        small.checker.start()
        small.ask("acquire", tag="web", wait=60)
        small.ask("serve", tag="web")
        write(cast(Node, small), STATE, small.learned(in_service=True, backup_interface="eth1"))
        until(lambda: label(small, "eth0") == "eth0:1", 10, "the address is not there with its label")
        until(lambda: small.ask("status")["resources"][0]["health"] == "healthy", 20, "it does not become healthy")
        for _turn in range(2):
            small.namespace.ip(f"addr del {SMALL_HOST}/22 dev eth0")
            until(lambda: label(small, "eth0") != "", 10, "the address does not come back")
            assert label(small, "eth0") == "eth0:1"
        small.router.ip("link set eth0 down")
        until(lambda: label(small, "eth1") != "", 10, "the address does not move")
        assert label(small, "eth1") == "eth1:1"
    finally:
        small.reset(watched=False)


FIRST, SECOND = "enp0s5", "eni-0123456789abcdef0-of-the-service"


def test_interfaces_may_be_given_by_their_alternative_names(small: SmallNode) -> None:
    small.reset(watched=False, checks=CHECKS, interface=FIRST, backup_interface=SECOND)
    assert small.checker is not None
    try:
        small.checker.start()
        until(lambda: not small.ask("status")["resources"][0]["ready"], 10, "it is ready without a link of that name")
        small.namespace.ip(f"link property add dev eth0 altname {FIRST}")
        small.namespace.ip(f"link property add dev eth1 altname {SECOND}")
        until(lambda: small.ask("status")["resources"][0]["ready"], 10, "it does not become ready")
        small.ask("acquire", tag="web", wait=60)
        small.ask("serve", tag="web")
        inventory = {"interface": FIRST, "backup_interface": SECOND}
        write(cast(Node, small), STATE, {**small.learned(in_service=True), **inventory, "inventory": inventory})
        until(lambda: small.ask("status")["resources"][0]["health"] == "healthy", 20, "it does not become healthy")
        (shown,) = small.ask("status")["resources"]
        assert (shown["interface"], shown["backup_interface"]) == ("eth0", "eth1")
        small.namespace.ip(f"addr del {SMALL_HOST}/22 dev eth0")
        until(lambda: label(small, "eth0") != "", 10, "the address does not come back")
        small.router.ip("link set eth0 down")
        until(lambda: label(small, "eth1") != "", 10, "the address does not move")

        def recorded() -> bool:
            state = json.loads(small.namespace.run("cat", STATE).stdout)
            return (state["interface"], state["backup_interface"], state["inventory"]) == (SECOND, FIRST, inventory)

        until(recorded, 10, "the swap is not recorded by the names that were given")
        assert "Primary interface: eth1" in small.run("lkipbu", "-s", "-t", "web").stdout
    finally:
        for link, name in (("eth0", FIRST), ("eth1", SECOND)):
            small.namespace.run("ip", "link", "property", "del", "dev", link, "altname", name, check=False)
        small.reset(watched=False)
