# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources in real namespaces: backup interface, swap with and without an answer, what is shown, and the state file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.module import TREE, run_module, twelve_steps
from lab.netns import Namespace

from .conftest import Module, addresses, snapshot
from .test_ip_address import settle, wait_without_carrier

VIP = "10.1.0.10/22"
WEB = {"tag": "web", "address": VIP, "interface": "eth0", "probe": {"targets": ["10.1.0.1"], "tries": 2, "timeout": 0.3}}
STATE = "/var/lib/holdfast/web.json"


@pytest.fixture
def bridged(node: Namespace, peer: Namespace) -> Namespace:
    """Both links of the node are on one network, with 10.1.0.1 and fd00:1::1 on it."""
    peer.ip("link add br0 type bridge")
    for words in (
        "link set br0 up",
        "link set eth0 master br0",
        "link set eth1 master br0",
        "addr add 10.1.0.1/22 dev br0",
        "-6 addr add fd00:1::1/64 dev br0 nodad",
    ):
        peer.ip(words)
    # Two links on one network: without this each answers for the other's addresses, and replies come in by the wrong one.
    node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce")
    settle(node)
    return peer


def define(node: Namespace, **more: Any) -> None:
    node.run("sh", "-c", "mkdir -p /etc/holdfast/resources && cat > /etc/holdfast/resources/web.json", input=json.dumps({**WEB, **more}))


def state(node: Namespace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(node.run("cat", STATE).stdout)
    return content


class TestBackup:
    def test_twelve_steps(self, node: Namespace, module: Module) -> None:
        settle(node)
        define(node)
        twelve_steps(
            lambda args, check: module("ip_backup_interface", check, **args),
            lambda: snapshot(node),
            {"tag": "web", "interface": "eth1"},
            {"tag": "web", "interface": "eth1", "state": "absent"},
            None,
        )

    @pytest.mark.python39
    def test_the_file_is_private_and_complete(self, node: Namespace, module: Module) -> None:
        answer = module("ip_backup_interface", tag="web", interface="eth1", resource=WEB, node="ServerA")
        assert answer["info"] == "ServerA eth0 10.1.0.10 fffffc00 eth1"
        assert answer["backup_interface"] == "eth1"
        assert node.run("stat", "-c", "%a", STATE, "/var/lib/holdfast").stdout.split() == ["600", "700"]
        shown = module("ip_resource_info", tag="web", node="ServerA")["resources"][0]
        assert shown["info"] == "ServerA eth0 10.1.0.10 fffffc00 eth1", "the state file alone is enough"

    def test_what_is_refused(self, node: Namespace, module: Module) -> None:
        define(node)
        node.ip("link add eth2 type veth peer name eth2p")

        def told(**options: Any) -> str:
            before = snapshot(node)
            answer = module("ip_backup_interface", **{"tag": "web", **options})
            assert answer["failed"]
            assert not answer["changed"]
            assert snapshot(node) == before
            return str(answer["msg"])

        settle(node)
        assert "no link eth9" in told(interface="eth9")
        assert "is the primary interface" in told(interface="eth0")
        assert not module("ip_backup_interface", tag="web", interface="eth1", state="absent")["changed"], "none there"
        assert module("ip_backup_interface", tag="web", interface="eth1")["changed"]
        assert not module("ip_backup_interface", tag="web", interface="eth1")["changed"]
        assert "has the backup interface eth1 already" in told(interface="eth2")
        assert "is not the backup interface" in told(interface="eth2", state="absent")
        assert told(tag="nosuch", interface="eth1").startswith("no resource nosuch")

    @pytest.mark.scenario("C1")
    def test_other_networks_are_warned_of(self, node: Namespace, module: Module) -> None:
        define(node)
        node.ip("addr add 10.1.0.2/22 dev eth0")
        node.ip("addr add 10.5.0.2/24 dev eth1")
        answer = module("ip_backup_interface", tag="web", interface="eth1")
        assert answer["changed"]
        assert "is on 10.1.0.0/22 and eth1 on 10.5.0.0/24" in str(answer["warnings"])
        node.ip("addr add 10.1.0.3/22 dev eth1")
        assert "warnings" not in module("ip_backup_interface", tag="web", interface="eth1")

    @pytest.mark.scenario("C11")
    def test_a_link_over_two_others_is_an_interface_like_any_other(self, node: Namespace, peer: Namespace, module: Module) -> None:
        """A bond. A kernel without bonding has a bridge in its place: both borrow the MAC address of a port, and lose no address with a port."""
        kind = "bond mode active-backup" if node.run("ip", "link", "add", "probe0", "type", "bond", check=False).returncode == 0 else "bridge"
        node.run("ip", "link", "del", "probe0", check=False)
        node.ip(f"link add bond0 type {kind}")
        for link in ("eth0", "eth1"):
            node.ip(f"link set {link} down")
            node.ip(f"link set {link} master bond0")
            node.ip(f"link set {link} up")
        node.ip("link set bond0 up")
        settle(node)
        define(node, interface="bond0", probe=None)
        assert module("ip_address", address=VIP, interface="bond0")["changed"]
        assert module("ip_resource_info", tag="web")["resources"][0]["health"] == "healthy"
        peer.ip("link set eth0 down")
        assert module("ip_resource_info", tag="web")["resources"][0]["health"] == "healthy", "one port is left"
        assert not module("ip_address", address=VIP, interface="bond0")["changed"]
        node.ip(f"addr del {VIP} dev bond0")
        assert module("ip_resource_info", tag="web")["resources"][0]["health"] == "failed"
        assert module("ip_address", address=VIP, interface="bond0")["changed"]
        assert list(addresses(node, "bond0")) == [VIP]


class TestSwap:
    @pytest.mark.scenario("C7")
    def test_an_answered_swap_is_kept_over_runs(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        define(node, backup_interface="eth1")
        module("ip_address", address=VIP, interface="eth0", valid_lft="500")
        foreseen = module("ip_swap_interface", True, tag="web", node="A")
        assert foreseen["changed"]
        assert VIP in addresses(node, "eth0")
        answer = module("ip_swap_interface", tag="web", node="A")
        assert (answer["from"], answer["to"], answer["in_service"], answer["changed"]) == ("eth0", "eth1", True, True), answer
        assert answer["diff"] == foreseen["diff"]
        assert answer["info"] == "A eth1 10.1.0.10 fffffc00 eth0"
        assert not addresses(node, "eth0")
        assert 490 <= addresses(node, "eth1")[VIP]["valid_life_time"] <= 500
        assert module("ip_resource_info", tag="web")["resources"][0]["primary_interface"] == "eth1"
        assert not module("ip_swap_interface", tag="web", to="eth1")["changed"]
        assert module("ip_swap_interface", tag="web")["to"] == "eth0", "without to every run swaps"
        define(node, backup_interface="eth1", interface="eth0")
        assert state(node)["interface"] == "eth0"

    @pytest.mark.python39
    def test_twelve_steps(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        define(node, backup_interface="eth1")
        node.ip(f"addr add {VIP} dev eth0")
        twelve_steps(
            lambda args, check: module("ip_swap_interface", check, **args),
            lambda: snapshot(node),
            {"tag": "web", "to": "eth1"},
            {"tag": "web", "to": "eth0"},
            None,
        )

    def test_an_unanswered_swap_goes_back(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        define(node, backup_interface="eth1")
        for words in ("addr add 10.1.0.2/22 dev eth0", "addr add 10.1.0.3/22 dev eth1", "route add default via 10.1.0.1 dev eth1"):
            node.ip(words)
        module("ip_address", address="10.1.0.10/22", interface="eth0", gateway="10.1.0.1")
        before = snapshot(node)
        assert "proto 72" in before
        answer = module("ip_swap_interface", tag="web", targets=["10.1.0.99"], tries=1, timeout=0.2, node="A")
        assert answer["failed"], answer
        assert not answer["changed"], answer
        assert "10.1.0.99 did not answer" in answer["msg"]
        assert "10.1.0.10 is back on eth0" in answer["msg"]
        assert answer["info"] == "A eth0 10.1.0.10 fffffc00 eth1"
        assert sorted(snapshot(node).split()) == sorted(before.split())

    def test_a_dead_link_does_not_hold_the_address(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        define(node, backup_interface="eth1")
        module("ip_address", address=VIP, interface="eth0")
        bridged.ip("link set eth0 down")
        wait_without_carrier(node)
        answer = module("ip_swap_interface", tag="web", to="eth1")
        assert answer["changed"], answer
        assert VIP in addresses(node, "eth1"), answer
        bridged.ip("link set eth1 down")
        back = module("ip_swap_interface", tag="web", to="eth0")
        assert back["failed"]
        assert "has no carrier" in back["msg"]
        assert VIP in addresses(node, "eth1")

    def test_a_failed_swap_returns_to_a_dead_link(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        define(node, backup_interface="eth1")
        module("ip_address", address=VIP, interface="eth0")
        bridged.ip("link set eth0 down")
        wait_without_carrier(node)
        answer = module("ip_swap_interface", tag="web", targets=["10.1.0.99"], tries=1, timeout=0.2)
        assert answer["failed"]
        assert "back on eth0" in answer["msg"]
        assert VIP in addresses(node, "eth0")

    @pytest.mark.scenario("C6")
    def test_ipv6(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        web6 = {"tag": "web6", "address": "fd00:1::10/64", "interface": "eth0", "backup_interface": "eth1"}
        node.ip("-6 addr add fd00:1::10/64 dev eth0 nodad")
        answer = module("ip_swap_interface", tag="web6", resource=web6, node="A")
        assert answer["changed"], answer
        assert answer["info"] == "A eth1 fd00:1::10 64 eth0", answer
        assert "fd00:1::10/64" in addresses(node, "eth1")
        assert not addresses(node, "eth0")

    def test_out_of_service_only_the_record_changes(self, node: Namespace, module: Module) -> None:
        settle(node)
        define(node, backup_interface="eth1")
        links = node.ip("addr")
        answer = module("ip_swap_interface", tag="web")
        assert answer["changed"]
        assert not answer["in_service"]
        assert state(node)["interface"] == "eth1"
        assert node.ip("addr") == links

    @pytest.mark.scenario("F6")
    def test_a_killed_swap_is_finished_by_the_next(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        """The address has moved, the record has not been written."""
        define(node, backup_interface="eth1")
        node.ip(f"addr add {VIP} dev eth1")
        answer = module("ip_swap_interface", tag="web", to="eth1")
        assert answer["changed"]
        assert state(node)["interface"] == "eth1"
        assert VIP in addresses(node, "eth1")

    def test_what_is_refused(self, node: Namespace, module: Module) -> None:
        define(node)
        assert "has no backup interface" in module("ip_swap_interface", tag="web")["msg"]
        define(node, backup_interface="eth1")
        assert "neither the primary" in module("ip_swap_interface", tag="web", to="eth7")["msg"]
        assert "not a tag" in module("ip_swap_interface", tag="../../etc/passwd")["msg"]
        assert "not a tag" in module("ip_swap_interface", tag="w" * 1_000_000)["msg"]
        node.ip(f"addr add {VIP} dev eth0")
        assert "IPv4" in module("ip_swap_interface", tag="web", targets=["fd00::1"])["msg"]
        define(node, backup_interface="eth1", address="10.1.0.10/32", probe=None)
        assert "set targets" in module("ip_swap_interface", tag="web")["msg"]
        assert VIP in addresses(node, "eth0")


class TestInfo:
    @pytest.mark.scenario("C6", "D5")
    def test_four_lines_and_health(self, node: Namespace, module: Module) -> None:
        define(node, address="172.17.106.10/22", probe=None, backup_interface="eth1")
        failed = module("ip_resource_info", node="ServerA")["resources"][0]
        assert failed["health"] == "failed"
        assert not failed["in_service"]
        assert "not on eth0" in failed["reasons"][0]
        node.ip("addr add 172.17.106.10/22 dev eth0")
        shown = module("ip_resource_info", tag="web", node="ServerA")["resources"][0]
        assert shown["info"] == "ServerA eth0 172.17.106.10 fffffc00 eth1"
        assert shown["health"] == "healthy"
        assert shown["in_service"]
        assert shown["text"] == "IP address: 172.17.106.10\nNetmask: 255.255.252.0\nPrimary interface: eth0 (up)\nBackup interface: eth1\n"
        node.ip("link set eth0 down")
        down = module("ip_resource_info", tag="web")["resources"][0]
        assert down["primary_state"] == "down"
        assert down["health"] == "failed"
        assert "(down)" in down["text"]
        assert down["info"].startswith(f"{node.name} ")

    @pytest.mark.scenario("F4")
    def test_an_address_that_only_looks_alike_is_another(self, node: Namespace, module: Module) -> None:
        define(node)
        for other in ("10.1.0.1/22", "10.1.0.100/22", "110.1.0.10/22"):
            node.ip(f"addr add {other} dev eth0")
        found = module("ip_resource_info", tag="web")["resources"][0]
        assert (found["health"], found["reasons"][0].startswith("10.1.0.10/22 is not on eth0")) == ("failed", True), found
        assert module("ip_address", address=VIP, interface="eth0")["changed"]
        assert module("ip_resource_info", tag="web")["resources"][0]["health"] == "healthy"
        assert module("ip_address", address=VIP, interface="eth0", state="absent")["changed"]
        assert len(addresses(node, "eth0")) == 3

    @pytest.mark.python39
    def test_all_sorted_and_unknown(self, node: Namespace, module: Module) -> None:
        assert module("ip_resource_info")["resources"] == []
        define(node)
        module("ip_backup_interface", tag="app", interface="eth1", resource={**WEB, "tag": "app"})
        assert [one["tag"] for one in module("ip_resource_info")["resources"]] == ["app", "web"]
        assert module("ip_resource_info", tag="nosuch")["msg"].startswith("no resource nosuch")
        assert "did you mean interface" in module("ip_resource_info", resource={**WEB, "interfase": "eth0"})["msg"]


class TestStateFile:
    @pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"version": 1}', '{"version": 99, "inventory": {}}', "[" * 100_000, "x" * 1_100_000])
    def test_a_damaged_file_is_named(self, node: Namespace, module: Module, content: str) -> None:
        define(node)
        node.run("sh", "-c", f"cat > {STATE}", input=content)
        for name, options in (("ip_resource_info", {}), ("ip_backup_interface", {"interface": "eth1"}), ("ip_swap_interface", {})):
            answer = module(name, tag="web", **options)
            assert answer["failed"], answer
            assert STATE in answer["msg"], answer
            assert "remove it" in answer["msg"], answer
        assert node.run("cat", STATE).stdout == content

    def test_a_symbolic_link_is_refused(self, node: Namespace, module: Module) -> None:
        define(node)
        node.run("sh", "-c", f"echo precious > /var/lib/holdfast/other && ln -s other {STATE}")
        for name, options in (("ip_resource_info", {}), ("ip_backup_interface", {"interface": "eth1"})):
            answer = module(name, tag="web", **options)
            assert answer["failed"]
            assert "symbolic link" in answer["msg"]
        assert node.run("cat", "/var/lib/holdfast/other").stdout == "precious\n"

    def test_a_writer_killed_at_any_instant_leaves_a_whole_file(self, tmp_path: Path) -> None:
        """A process that writes two states in turn is killed again and again; a reader always finds one of the two."""
        script = (
            "import sys, dataclasses; from pathlib import Path\n"
            "from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address\n"
            "from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import State\n"
            "from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store\n"
            "store = Store(states=Path(sys.argv[1])); one = State('web', Address.parse('10.1.0.10/32'), 'eth0', 'eth1')\n"
            "other = dataclasses.replace(one, interface='eth1', backup_interface='eth0'); store.save(one); print('ready', flush=True)\n"
            "while True: store.save(other); store.save(one)\n"
        )
        for turn in range(8):
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TREE)}
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _look in range(20 + 7 * turn):
                content = json.loads((tmp_path / "web.json").read_text())
                assert {content["interface"], content["backup_interface"]} == {"eth0", "eth1"}
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            json.loads((tmp_path / "web.json").read_text())


class TestProbe:
    @pytest.mark.python39
    def test_any_and_all(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        node.ip(f"addr add {VIP} dev eth0")
        quick = {"address": VIP, "interface": "eth0", "tries": 1, "timeout": 0.3, "targets": ["10.1.0.1", "10.1.0.99"]}
        one = module("ip_probe", **quick)
        assert not one["failed"]
        assert one["answered"] == ["10.1.0.1"]
        assert one["silent"] == ["10.1.0.99"]
        assert not one["changed"]
        every = module("ip_probe", **quick, require="all")
        assert every["failed"]
        assert every["answered"] == ["10.1.0.1"]
        assert "10.1.0.99 did not answer" in every["msg"]

    @pytest.mark.scenario("C9")
    def test_broadcast(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        node.ip(f"addr add {VIP} brd + dev eth0")
        options = {"address": VIP, "interface": "eth0", "tries": 1, "timeout": 0.3}
        assert module("ip_probe", **options)["failed"], "hosts ignore broadcast pings by default"
        bridged.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")
        assert module("ip_probe", **options)["answered"] == ["10.1.3.255"]
        node.ip("addr add 10.1.0.11/32 dev eth0")
        assert "set targets" in module("ip_probe", address="10.1.0.11/32", interface="eth0")["msg"]

    def test_all_nodes(self, node: Namespace, bridged: Namespace, module: Module) -> None:
        node.ip("-6 addr add fd00:1::10/64 dev eth0 nodad")
        options = {"address": "fd00:1::10/64", "interface": "eth0", "tries": 1, "timeout": 0.5}
        assert module("ip_probe", **options)["answered"] == ["ff02::1"]
        bridged.ip("link set eth0 nomaster")
        bridged.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/icmp/echo_ignore_all")
        assert module("ip_probe", **options)["failed"], "this host does not answer itself"

    def test_what_is_refused(self, node: Namespace, module: Module) -> None:
        for bad, told in (
            ({"targets": ["nowhere"]}, "targets/0"),
            ({"targets": ["fd00::1"]}, "IPv4"),
            ({"targets": ["10.0.0.1"] * 65}, "too many"),
            ({"tries": 0}, "tries"),
            ({"timeout": 0}, "timeout"),
            ({"interface": "eth9"}, "no link"),
            ({"interface": "$(reboot)"}, "interface name"),
            ({"targets": ["10.1.0.1"]}, "did not answer"),
        ):
            answer = module("ip_probe", **{"address": VIP, "interface": "eth0", **bad})
            assert answer["failed"], answer
            assert told in answer["msg"], answer

    def test_no_program_is_needed(self, node: Namespace, bridged: Namespace) -> None:
        node.ip(f"addr add {VIP} dev eth0")
        node.run("sh", "-c", "for f in /bin/ping /usr/bin/ping /sbin/ping; do [ -e $f ] && mount --bind /dev/null $f; done; true")
        answer = run_module("ip_probe", {"address": VIP, "interface": "eth0", "targets": ["10.1.0.1"]}, where=node)
        assert not answer["failed"], answer
