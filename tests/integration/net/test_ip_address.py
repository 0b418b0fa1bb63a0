# SPDX-License-Identifier: GPL-3.0-or-later
"""ip_address in real namespaces: what operators and kernels do to an address, and that it is put right and nothing else touched."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._net.frames import arp_frame, solicitation_frame
from harness.module import run_module, twelve_steps
from lab.netns import Namespace, join

from .conftest import PREFIX, Module, addresses, snapshot

VIP, VIP6 = "10.1.0.10/24", "fd00:1::10/64"


@pytest.mark.parametrize(("address", "other"), [(VIP, "10.1.0.10/32"), (VIP6, "fd00:1::10/128")])
def test_twelve_steps(node: Namespace, module: Module, address: str, other: str) -> None:
    settle(node)
    twelve_steps(
        lambda args, check: module("ip_address", check, **args),
        lambda: snapshot(node),
        {"address": address, "interface": "eth0"},
        {"address": other, "interface": "eth0"},
        {"address": other, "interface": "eth0", "state": "absent"},
    )


def settle(node: Namespace) -> None:
    """Wait until the link-local addresses have passed duplicate address detection."""
    deadline = time.monotonic() + 5
    while "tentative" in node.ip("-6 addr") and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.scenario("C3")
@pytest.mark.parametrize("address", [VIP, VIP6])
def test_a_deleted_address_comes_back_and_is_announced(node: Namespace, module: Module, address: str) -> None:
    module("ip_address", address=address, interface="eth0")
    node.ip(f"addr del {address} dev eth0")
    again = module("ip_address", address=address, interface="eth0", announce=2)
    assert again["changed"]
    assert again["announced"] == 2
    assert again["before"]["interface"] is None
    assert list(addresses(node, "eth0")) == [address]
    assert module("ip_address", address=address, interface="eth0")["announced"] == 0


@pytest.mark.python39
@pytest.mark.parametrize("address", [VIP, VIP6])
def test_an_address_on_another_link_is_moved(node: Namespace, module: Module, address: str) -> None:
    nodad = " nodad" if ":" in address else ""
    node.ip(f"addr add {address} dev eth1{nodad}")
    answer = module("ip_address", address=address, interface="eth0")
    assert answer["changed"]
    assert answer["before"]["interface"] == "eth1"
    assert answer["after"]["interface"] == "eth0"
    assert address in addresses(node, "eth0")
    assert not addresses(node, "eth1")


@pytest.mark.python39
def test_the_neighbours_learn_of_a_move(node: Namespace, peer: Namespace, module: Module) -> None:
    """Both links end on one bridge; the peer's cache has to follow at once, without a question of its own."""
    peer.ip("link add br0 type bridge")
    for words in ("link set br0 up", "link set eth0 master br0", "link set eth1 master br0", "addr add 10.1.0.1/24 dev br0"):
        peer.ip(words)
    peer.ip("-6 addr add fd00:1::1/64 dev br0 nodad")
    for address in (VIP, VIP6):
        module("ip_address", address=address, interface="eth0", check_unique=False)
        host = address.partition("/")[0]
        peer.run("ping", "-c1", "-W2", host)
        answer = module("ip_address", address=address, interface="eth1")
        assert answer["announced"] == 3
        mac = node.run("cat", "/proc/self/net/dev").stdout and node.ip("-j link show eth1").split('"address":"')[1][:17]
        assert mac in peer.ip(f"neigh show {host}"), peer.ip("neigh")


@pytest.mark.scenario("C8")
@pytest.mark.parametrize("address", [VIP, VIP6])
def test_a_duplicate_on_the_link_is_refused(node: Namespace, peer: Namespace, module: Module, address: str) -> None:
    settle(node)
    peer.ip(f"addr add {address} dev eth0{' nodad' if ':' in address else ''}")
    before = snapshot(node)
    for check in (True, False):
        answer = module("ip_address", check, address=address, interface="eth0")
        assert answer["failed"]
        assert "in use by" in answer["msg"]
        assert answer["errors"][0]["mac"] in peer.ip("link show eth0")
        assert not answer["changed"]
        assert snapshot(node) == before
    assert not module("ip_address", address=address, interface="eth0", check_unique=False)["failed"]
    assert address in addresses(node, "eth0")


def test_a_duplicate_is_found_from_a_link_without_any_ipv6_address(node: Namespace, peer: Namespace, module: Module) -> None:
    node.ip("link set eth0 addrgenmode none")
    node.ip("-6 addr flush dev eth0")
    peer.ip(f"addr add {VIP6} dev eth0 nodad")
    answer = module("ip_address", address=VIP6, interface="eth0")
    assert answer["failed"]
    assert answer["errors"][0]["mac"] in peer.ip("link show eth0")


def test_an_address_that_failed_duplicate_detection_is_added_again(node: Namespace, peer: Namespace, module: Module) -> None:
    peer.ip(f"addr add {VIP6} dev eth0 nodad")
    node.ip(f"addr add {VIP6} dev eth0")
    deadline = time.monotonic() + 5
    while "dadfailed" not in node.ip("addr show eth0") and time.monotonic() < deadline:
        time.sleep(0.05)
    peer.ip(f"addr del {VIP6} dev eth0")
    answer = module("ip_address", address=VIP6, interface="eth0")
    assert answer["changed"]
    assert answer["before"]["dadfailed"]
    assert not answer["after"]["dadfailed"]


def a_question(address: str) -> bytes:
    """Who has the address? From nobody, as a switch asks that tracks devices, and a host that is about to use the address."""
    mac, ip = bytes.fromhex("02aabbccddee"), Address.parse(address).ip.packed
    return arp_frame(mac, b"\0" * 4, ip) if len(ip) == 4 else solicitation_frame(mac, ip)


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_a_device_that_only_asks_for_the_address_has_no_claim(node: Namespace, peer: Namespace, module: Module, address: str) -> None:
    settle(node)
    stop = threading.Event()
    with peer.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind(("eth0", 0))

        def ask() -> None:
            while not stop.wait(0.02):
                raw.send(a_question(address))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            answer = module("ip_address", address=address, interface="eth0")
        finally:
            stop.set()
            thread.join()
    assert not answer["failed"], answer["msg"]
    assert address in addresses(node, "eth0")
    assert not answer["after"]["dadfailed"]


def label(machine: Namespace, link: str) -> str:
    return str(addresses(machine, link)[VIP]["label"])


def test_a_label_is_set_and_goes_with_the_address(node: Namespace, module: Module) -> None:
    module("ip_address", address=VIP, interface="eth0", label="vip")
    assert label(node, "eth0") == "eth0:vip"
    module("ip_address", address=VIP, interface="eth1")
    assert label(node, "eth1") == "eth1:vip"
    module("ip_address", address=VIP, interface="eth0", valid_lft=100)
    assert label(node, "eth0") == "eth0:vip"
    answer = module("ip_address", address=VIP, interface="eth0", label="longer-than-that")
    assert answer["failed"]
    assert answer["msg"].startswith("label: ")


def test_a_label_is_kept_where_the_prefix_length_changes(node: Namespace, module: Module) -> None:
    node.ip("addr add 10.1.0.10/32 dev eth0 label eth0:1")
    module("ip_address", address=VIP, interface="eth0")
    assert label(node, "eth0") == "eth0:1"


def test_a_label_is_no_interface(module: Module) -> None:
    answer = module("ip_address", address=VIP, interface="eth0:1")
    assert answer["msg"] == "interface: 'eth0:1' is the label of an address, not an interface; give eth0, and set label to '1'"


def test_a_link_that_is_down_is_set_up(node: Namespace, module: Module) -> None:
    node.ip("link set eth0 down")
    refused = module("ip_address", address=VIP, interface="eth0", bring_up=False)
    assert refused["failed"]
    assert "eth0 is down" in refused["msg"]
    assert not addresses(node, "eth0")
    answer = module("ip_address", address=VIP, interface="eth0")
    assert answer["changed"]
    assert answer["after"]["carrier"]
    assert VIP in addresses(node, "eth0")


def test_a_duplicate_behind_a_link_that_was_down_is_refused(node: Namespace, peer: Namespace, module: Module) -> None:
    peer.ip(f"addr add {VIP} dev eth0")
    node.ip("link set eth0 down")
    answer = module("ip_address", address=VIP, interface="eth0")
    assert answer["failed"]
    assert answer["msg"].startswith("10.1.0.10 is in use by")
    assert not addresses(node, "eth0")


@pytest.mark.scenario("C3")
def test_a_dead_link_is_bounced_once_and_keeps_what_was_on_it(node: Namespace, peer: Namespace, module: Module) -> None:
    for words in ("addr add 10.1.0.2/24 dev eth0", "-6 addr add fd00:1::2/64 dev eth0 nodad", "route add 10.9.0.0/16 via 10.1.0.1 mtu 1400"):
        node.ip(words)
    node.ip("-6 route add fd00:9::/64 via fd00:1::1")
    node.ip("route add default via 10.1.0.1 dev eth0 table 77")
    settle(node)
    peer.ip("link set eth0 down")
    wait_without_carrier(node)
    before = [line for line in snapshot(node).splitlines() if line]
    with Watch(node, "link") as seen:
        answer = module("ip_address", address=VIP, interface="eth0")
    assert answer["failed"]
    assert "has no carrier, also after it was set down and up once" in answer["msg"]
    assert not answer["changed"]
    assert seen.count_down("eth0") == 1, seen.lines
    peer.ip("link set eth0 up")
    settle(node)
    for kept in ("10.9.0.0/16 via 10.1.0.1", "fd00:9::/64 via fd00:1::1", "default via 10.1.0.1 dev eth0 table 77", "mtu 1400"):
        assert kept in snapshot(node), (kept, before)
    assert sorted(addresses(node, "eth0")) == ["10.1.0.2/24", "fd00:1::2/64"]


def wait_without_carrier(node: Namespace) -> None:
    deadline = time.monotonic() + 5
    while "NO-CARRIER" not in node.ip("link show eth0") and time.monotonic() < deadline:
        time.sleep(0.02)


class Watch:
    """What `ip monitor` saw while the block ran."""

    def __init__(self, node: Namespace, what: str) -> None:
        import subprocess

        self.lines: list[str] = []
        self._process = subprocess.Popen(node.command(["stdbuf", "-oL", "ip", "-o", "monitor", what]), stdout=subprocess.PIPE, text=True)
        self._node = node

    def __enter__(self) -> Watch:
        time.sleep(0.3)  # it says nothing when it has subscribed
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.1)
        self._process.terminate()
        assert self._process.stdout is not None
        self.lines = self._process.stdout.read().splitlines()
        self._process.wait()

    def count_down(self, link: str) -> int:
        """How often the link went from switched on to switched off."""
        on = [",UP" in line.split(">")[0] for line in self.lines if f" {link}@" in line or f" {link}:" in line]
        return sum(1 for was, now in zip([True, *on], on) if was and not now)


@pytest.mark.parametrize("switch", ["0", "1"])
def test_secondaries_survive_their_primary(node: Namespace, module: Module, switch: str) -> None:
    node.run(
        "sh", "-c", f"echo {switch} > /proc/sys/net/ipv4/conf/eth0/promote_secondaries; echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries"
    )
    for host in (10, 11, 12):
        node.ip(f"addr add 10.1.0.{host}/24 dev eth0")
    assert module("ip_address", address=VIP, interface="eth0", state="absent")["changed"]
    assert sorted(addresses(node, "eth0")) == ["10.1.0.11/24", "10.1.0.12/24"]
    assert node.run("cat", "/proc/sys/net/ipv4/conf/eth0/promote_secondaries").stdout.strip() == switch


def test_foreign_routes_survive_a_move(node: Namespace, module: Module) -> None:
    """The kernel drops all routes of a link that loses its last address, and those that have the address as their source."""
    node.ip(f"addr add {VIP} dev eth1")
    node.ip("addr add 10.2.0.2/24 dev eth0")
    node.ip("route add 10.8.0.0/16 dev eth1")
    node.ip("route add 10.9.0.0/16 via 10.2.0.1 dev eth0 src 10.1.0.10")
    assert module("ip_address", address=VIP, interface="eth0")["changed"]
    shown = node.ip("route")
    assert "10.8.0.0/16 dev eth1" in shown
    assert "10.9.0.0/16 via 10.2.0.1 dev eth0 src 10.1.0.10" in shown


def test_an_address_expires_and_a_run_brings_it_back(node: Namespace, module: Module) -> None:
    module("ip_address", address=VIP, interface="eth0", valid_lft="2")
    deadline = time.monotonic() + 5
    while addresses(node, "eth0") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not addresses(node, "eth0")
    assert module("ip_address", address=VIP, interface="eth0", valid_lft="100")["changed"]
    assert not module("ip_address", address=VIP, interface="eth0", valid_lft="100")["changed"]
    assert module("ip_address", address=VIP, interface="eth0", valid_lft="120")["changed"], "less than nine tenths left"
    assert module("ip_address", address=VIP, interface="eth0", valid_lft="50")["changed"], "more than wanted left"
    held = addresses(node, "eth0")[VIP]
    assert 45 <= held["valid_life_time"] <= 50
    assert held["valid_life_time"] == held["preferred_life_time"]
    forever = module("ip_address", address=VIP, interface="eth0")
    assert forever["changed"]
    assert forever["after"]["valid_lft"] == "forever"
    assert forever["announced"] == 0


def test_absent_leaves_an_address_on_another_link(node: Namespace, module: Module) -> None:
    node.ip(f"addr add {VIP} dev eth1")
    before = snapshot(node)
    assert not module("ip_address", address=VIP, interface="eth0", state="absent")["changed"]
    assert snapshot(node) == before
    node.ip(f"addr del {VIP} dev eth1")
    node.ip("addr add 10.1.0.10/16 dev eth0")
    assert module("ip_address", address=VIP, interface="eth0", state="absent")["changed"]
    assert not addresses(node, "eth0")


def test_loopback_needs_no_neighbours(module: Module) -> None:
    answer = module("ip_address", address="10.1.0.10/32", interface="lo", source_route="none")
    assert answer["changed"]
    assert answer["announced"] == 0


class TestSourceRoute:
    """A client two links away: by eth0's router and by eth1's; the default route is eth0's."""

    @pytest.fixture
    def client(self, node: Namespace, peer: Namespace) -> Any:
        with Namespace(f"{PREFIX}-c") as machine:
            join(peer, "lan", machine, "eth0")
            for where, words in (
                (peer, "addr add 10.0.0.1/24 dev eth0"),
                (peer, "addr add 10.0.1.1/24 dev eth1"),
                (peer, "addr add 192.168.9.1/24 dev lan"),
                (peer, "-6 addr add fd00:0::1/64 dev eth0 nodad"),
                (peer, "-6 addr add fd00:0:0:1::1/64 dev eth1 nodad"),
                (peer, "-6 addr add fd00:9::1/64 dev lan nodad"),
                (node, "addr add 10.0.0.2/24 dev eth0"),
                (node, "addr add 10.0.1.2/24 dev eth1"),
                (node, "-6 addr add fd00:0::2/64 dev eth0 nodad"),
                (node, "-6 addr add fd00:0:0:1::2/64 dev eth1 nodad"),
                (node, "route add default via 10.0.0.1"),
                (node, "-6 route add default via fd00:0::1"),
                (machine, "addr add 192.168.9.9/24 dev eth0"),
                (machine, "-6 addr add fd00:9::9/64 dev eth0 nodad"),
                (machine, "route add default via 192.168.9.1"),
                (machine, "-6 route add default via fd00:9::1"),
                (peer, "route add 10.7.0.10/32 via 10.0.1.2"),
                (peer, "-6 route add fd00:7::10/128 via fd00:0:0:1::2"),
            ):
                where.ip(words)
            # The router of eth0 drops what does not come from there, as a cloud does.
            drops = "iifname eth0 ip saddr 10.7.0.10 drop; iifname eth0 ip6 saddr fd00:7::10 drop;"
            rules = f"table inet f {{ chain c {{ type filter hook forward priority 0; {drops} }}; }}"
            peer.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
            peer.run("nft", "-f", "-", input=rules)
            settle(node)
            settle(peer)
            yield machine

    @pytest.mark.parametrize(("address", "gateway"), [("10.7.0.10/32", "10.0.1.1"), ("fd00:7::10/128", "fd00:0:0:1::1")])
    def test_replies_leave_by_the_right_link(self, node: Namespace, client: Namespace, module: Module, address: str, gateway: str) -> None:
        host = address.partition("/")[0]
        v = "-6" if ":" in address else "-4"
        without = module("ip_address", address=address, interface="eth1", source_route="none")
        assert without["changed"]
        assert client.run("ping", "-c1", "-W1", host, check=False).returncode != 0
        unknown = module("ip_address", address=address, interface="eth1")
        assert not unknown["changed"]
        assert "set gateway" in str(unknown["warnings"])

        def others() -> list[str]:
            return [line for line in (node.ip(f"{v} rule") + node.ip(f"{v} route")).splitlines() if host not in line]

        foreign = others()
        answer = module("ip_address", address=address, interface="eth1", gateway=gateway)
        assert answer["changed"]
        assert answer["after"]["source_route"]["gateway"] == gateway
        client.run("ping", "-c1", "-W2", host)
        kept = module("ip_address", address=address, interface="eth1")
        assert not kept["changed"], "its own gateway is known by now"
        assert "warnings" not in kept, "its own gateway is known by now"
        table = answer["after"]["source_route"]["table"]
        node.ip(f"{v} route replace default via {'10.0.1.77' if v == '-4' else 'fd00:0:0:1::77'} dev eth1 table {table} proto 72")
        assert module("ip_address", address=address, interface="eth1", gateway=gateway)["changed"], "dead gateway"
        client.run("ping", "-c1", "-W2", host)
        assert module("ip_address", address=address, interface="eth1", state="absent")["changed"]
        assert others() == foreign
        assert not node.ip(f"{v} route show table all proto 72")

    def test_it_goes_when_the_address_is_on_the_default_link(self, node: Namespace, client: Namespace, module: Module) -> None:
        node.ip("rule add from 10.7.0.99 lookup 7300 priority 7200")
        node.ip("route add default via 10.0.0.1 dev eth0 table 7300")
        module("ip_address", address="10.7.0.10/32", interface="eth1", gateway="10.0.1.1")
        moved = module("ip_address", address="10.7.0.10/32", interface="eth0")
        assert moved["after"]["source_route"] is None
        assert not node.ip("route show table all proto 72")
        assert "10.7.0.99" in node.ip("rule")
        assert "default via 10.0.0.1" in node.ip("route show table 7300")

    def test_the_gateway_of_another_table_on_that_link_is_found(self, node: Namespace, client: Namespace, module: Module) -> None:
        node.ip("route add default via 10.0.1.1 dev eth1 table 500")
        answer = module("ip_address", address="10.7.0.10/32", interface="eth1")
        assert answer["after"]["source_route"]["gateway"] == "10.0.1.1"
        client.run("ping", "-c1", "-W2", "10.7.0.10")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"address": "10.1.0.10"}, "prefix length"),
    ({"address": "10.1.0/24"}, "CIDR"),
    ({"address": "10.1.0.0/24"}, "network or broadcast"),
    ({"address": "x" * 1_000_000}, "CIDR"),
    ({"interface": "eth0;reboot"}, "interface name"),
    ({"interface": "../eth0"}, "interface name"),
    ({"interface": "e" * 1_000_000}, "interface name"),
    ({"interface": "eth9"}, "no link eth9"),
    ({"valid_lft": "-1"}, "lifetime"),
    ({"valid_lft": "0"}, "lifetime"),
    ({"announce": 1000}, "announce"),
    ({"gateway": "fd00::1"}, "IPv4"),
    ({"gateway": "nowhere"}, "IP address"),
]


@pytest.mark.parametrize(("bad", "told"), BAD, ids=[told + str(n) for n, (_arguments, told) in enumerate(BAD)])
def test_bad_input(node: Namespace, module: Module, bad: dict[str, Any], told: str) -> None:
    settle(node)
    before = snapshot(node)
    answer = module("ip_address", **{"address": VIP, "interface": "eth0", **bad})
    assert answer["failed"]
    assert told in answer["msg"]
    assert len(answer["msg"]) < 400
    assert not answer["changed"]
    assert snapshot(node) == before


@pytest.mark.parametrize("name", ["ip_address", "ip_probe", "ip_backup_interface", "ip_swap_interface", "ip_resource_info"])
def test_netaddr_missing(name: str, tmp_path: Path) -> None:
    """A node without the library: a stand-in that cannot be imported, found first."""
    (tmp_path / "netaddr.py").write_text("raise ImportError('No module named netaddr')\n")
    options = {"tag": "web", **({"interface": "eth0"} if name == "ip_backup_interface" else {})}
    if name in ("ip_address", "ip_probe"):
        options = {"address": VIP, "interface": "eth0"}
    answer = run_module(name, options, env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[3] / '.tree'}"})
    assert answer["failed"]
    assert "netaddr" in answer["msg"]


LONG = "eni-0123456789abcdef0-of-the-service"


@pytest.mark.parametrize("name", ["enp0s5", LONG])
def test_an_alternative_name_of_a_link_is_a_name(node: Namespace, module: Module, name: str) -> None:
    node.ip(f"link property add dev eth1 altname {name}")
    answer = module("ip_address", address=VIP, interface=name, gateway="10.1.0.1")
    assert not answer["failed"], answer["msg"]
    assert (answer["interface"], answer["after"]["interface"]) == ("eth1", "eth1")
    assert VIP in addresses(node, "eth1")
    assert not module("ip_address", address=VIP, interface="eth1", gateway="10.1.0.1")["changed"]
    assert not module("ip_probe", address=VIP, interface=name, targets=["10.1.0.10"])["failed"]
    assert not module("ip_source_route", address=VIP, interface=name, gateway="10.1.0.1")["changed"]
    assert module("ip_address", address=VIP, interface=name, state="absent")["changed"]
    assert not addresses(node, "eth1")


def test_a_name_that_no_link_has_is_refused_with_those_that_there_are(module: Module) -> None:
    answer = module("ip_address", address=VIP, interface=LONG)
    assert answer["msg"] == f"interface: this host has no link {LONG}; it has eth0, eth1, lo"
