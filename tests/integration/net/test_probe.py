# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes over real links: which replies count, which do not, the reason that is given, and many probes in one process."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.module import TREE, run_module
from lab.netns import Namespace
from lab.waiting import until

from .conftest import Module

HOST, HOST6, ROUTER, ROUTER6 = "10.1.0.10", "fd00:1::10", "10.1.0.1", "fd00:1::1"
NEVER_ANSWERS = "10.1.0.99"
#: Parts of `_net/probe.py` in a process of their own, as in the checker.
PROLOGUE = """
import json, os, sys, threading, time
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import run_probe
"""


@pytest.fixture
def wired(node: Namespace, peer: Namespace) -> Namespace:
    """The peer, which is the router of the node's network on eth0."""
    node.ip(f"addr add {HOST}/22 brd + dev eth0")
    peer.ip(f"addr add {ROUTER}/22 brd + dev eth0")
    node.ip(f"-6 addr add {HOST6}/64 dev eth0 nodad")
    peer.ip(f"-6 addr add {ROUTER6}/64 dev eth0 nodad")
    return peer


def family(host: str) -> str:
    return "-6" if ":" in host else "-4"


def in_one_process(node: Namespace, script: str, timeout: float = 60) -> Any:
    """What the script prints, run on the node by one process."""
    done = node.run(sys.executable, "-c", PROLOGUE + script, env={"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin"}, timeout=timeout)
    return json.loads(done.stdout)


@pytest.mark.parametrize(("source", "target"), [(HOST, ROUTER), (HOST6, ROUTER6)])
@pytest.mark.python39
def test_an_answer_ends_the_wait(module: Module, wired: Namespace, source: str, target: str) -> None:
    begin = time.monotonic()
    assert module("ip_probe", address=source, interface="eth0", targets=[target], timeout=30)["answered"] == [target]
    assert time.monotonic() - begin < 15


def test_an_ipv6_router_by_its_own_address_of_the_link(module: Module, wired: Namespace) -> None:
    def own() -> list[str]:
        (shown,) = json.loads(wired.ip("-j addr show dev eth0"))
        return [one["local"] for one in shown["addr_info"] if one["scope"] == "link" and not one.get("tentative")]

    (target,) = until(own, 5, "the router has no address of its own")
    assert module("ip_probe", address=HOST6, interface="eth0", targets=[target])["answered"] == [target]


def test_all_targets_are_asked_at_the_same_time(module: Module, wired: Namespace) -> None:
    silent = [f"10.1.1.{number}" for number in range(1, 64)]
    begin = time.monotonic()
    answer = module("ip_probe", address=HOST, interface="eth0", targets=[*silent, ROUTER], tries=2, timeout=1)
    assert 2 <= time.monotonic() - begin < 4.5, "twice one second, and no more for 63 than for one"
    assert (answer["answered"], answer["silent"]) == ([ROUTER], silent)


@pytest.mark.parametrize("source", [HOST, HOST6])
def test_it_is_asked_as_often_as_wanted(module: Module, wired: Namespace, source: str) -> None:
    target = {HOST: NEVER_ANSWERS, HOST6: "fd00:1::99"}[source]
    begin = time.monotonic()
    answer = module("ip_probe", address=source, interface="eth0", targets=[target], tries=3, timeout=0.3)
    assert time.monotonic() - begin >= 0.9
    assert answer["msg"].startswith(f"{target} did not answer to {source} on eth0 in 3 tries of 0.3 s; an answer is required")


def _absent(node: Namespace, peer: Namespace) -> None:
    node.ip(f"addr del {HOST}/22 dev eth0")
    node.ip(f"-6 addr del {HOST6}/64 dev eth0")


def _tentative(node: Namespace, peer: Namespace) -> None:
    node.ip(f"-6 addr del {HOST6}/64 dev eth0")
    node.sysctl({"net.ipv6.conf.eth0.dad_transmits": 200})
    node.ip(f"-6 addr add {HOST6}/64 dev eth0")


def _down(node: Namespace, peer: Namespace) -> None:
    node.sysctl({"net.ipv6.conf.eth0.keep_addr_on_down": 1})
    node.ip("link set eth0 down")


def _firewall(node: Namespace, peer: Namespace) -> None:
    node.run("nft", "-f", "-", input="table inet f { chain o { type filter hook output priority 0; meta l4proto {icmp, icmpv6} drop\n }\n }")


def _prohibited(node: Namespace, peer: Namespace) -> None:
    node.ip(f"-6 rule add from {HOST6} prohibit")


@pytest.mark.parametrize(
    ("disturb", "source", "told"),
    [
        (_absent, HOST, f"cannot assign requested address: {HOST} is not configured on this host"),
        (_absent, HOST6, f"cannot assign requested address: {HOST6} is not configured on this host"),
        (_tentative, HOST6, "or not yet usable"),
        (_down, HOST, "network unreachable: eth0 is down or has no route there"),
        (_firewall, HOST, f"operation not permitted: allow echo requests from {HOST} by eth0 in this host's firewall"),
        (_firewall, HOST6, f"operation not permitted: allow echo requests from {HOST6} by eth0 in this host's firewall"),
        (_prohibited, HOST6, "a route or a rule of this host prohibits it"),
    ],
)
def test_the_reason_on_this_host(
    node: Namespace, module: Module, wired: Namespace, disturb: Callable[[Namespace, Namespace], None], source: str, told: str
) -> None:
    target = ROUTER6 if ":" in source else ROUTER
    options = {"address": source, "interface": "eth0", "targets": [target], "tries": 2, "timeout": 0.2}
    assert not module("ip_probe", **options)["failed"]
    disturb(node, wired)
    answer = module("ip_probe", **options)
    assert answer["failed"], answer
    assert answer["silent"] == [target]
    assert told in answer["msg"]


@pytest.mark.parametrize(
    ("source", "far", "kind", "told"),
    [
        (HOST, "10.88.0.1", "unreachable", "host unreachable"),
        (HOST, "10.88.0.1", "prohibit", "prohibits it"),
        (HOST6, "fd88::1", "unreachable", "network unreachable: a router has no route there"),
        (HOST6, "fd88::1", "prohibit", "prohibits it"),
    ],
)
def test_the_reason_that_a_router_reports(node: Namespace, module: Module, wired: Namespace, source: str, far: str, kind: str, told: str) -> None:
    wired.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    node.ip(f"{family(far)} route add {far} via {ROUTER6 if ':' in far else ROUTER} dev eth0")
    wired.ip(f"{family(far)} route add {kind} {far}")
    answer = module("ip_probe", address=source, interface="eth0", targets=[far], tries=1, timeout=1)
    assert answer["failed"], answer
    assert told in answer["msg"]


def test_it_goes_by_the_route_of_its_source(node: Namespace, module: Module, wired: Namespace) -> None:
    """With policy routing, only the table of the address has the way to the target."""
    for machine, far, near, mine in ((wired, "10.8.0.1/32", ROUTER, HOST), (wired, "fd08::1/128", ROUTER6, HOST6)):
        machine.ip(f"addr add {far} dev lo")
        node.ip(f"{family(far)} rule add from {mine} lookup 100")
        node.ip(f"{family(far)} route add {far} via {near} dev eth0 table 100")
    wired.sysctl({"net.ipv4.conf.all.arp_ignore": 1, "net.ipv6.conf.all.forwarding": 1})
    node.ip("addr add 10.1.0.11/22 dev eth0")
    node.ip("-6 addr add fd00:1::11/64 dev eth0 nodad")
    quick = {"interface": "eth0", "tries": 2, "timeout": 0.4}
    for source, other, target in ((HOST, "10.1.0.11", "10.8.0.1"), (HOST6, "fd00:1::11", "fd08::1")):
        assert module("ip_probe", address=source, targets=[target], **quick)["answered"] == [target]
        assert module("ip_probe", address=other, targets=[target], **quick)["failed"], "the other address has no way there"


def test_it_leaves_by_its_interface_whatever_the_route(node: Namespace, module: Module, wired: Namespace) -> None:
    """The routes to the target go by a link that is dead."""
    wired.ip("link set eth1 down")
    for source, target in ((HOST, ROUTER), (HOST6, ROUTER6)):
        node.ip(f"{family(target)} route add {target} dev eth1 metric 1")
        quick = {"address": source, "targets": [target], "tries": 2, "timeout": 0.4}
        assert module("ip_probe", interface="eth0", **quick)["answered"] == [target]
        assert module("ip_probe", interface="eth1", **quick)["failed"]


def test_a_link_that_is_up_again_before_the_last_try(node: Namespace, wired: Namespace) -> None:
    node.ip("link set eth0 down")
    found = in_one_process(
        node,
        f"""
threading.Timer(0.4, lambda: os.system("ip link set eth0 up")).start()
print(json.dumps(run_probe(Address.parse_loosely("{HOST}"), "eth0", Probe(("{ROUTER}",), 10, 0.3)).answered))
""",
    )
    assert found == [ROUTER]


def test_a_reply_by_another_link_does_not_count(node: Namespace, module: Module, wired: Namespace) -> None:
    for machine in (node, wired):
        machine.sysctl({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", "eth0", "eth1")})
    wired.ip("addr add 10.1.0.2/22 dev eth1")
    wired.ip(f"route add {HOST}/32 dev eth1 src {ROUTER}")
    options = {"address": HOST, "interface": "eth0", "targets": [ROUTER], "tries": 2, "timeout": 0.4}
    assert module("ip_probe", **options)["failed"]
    wired.ip(f"route del {HOST}/32 dev eth1")
    assert not module("ip_probe", **options)["failed"]


Forge = Callable[[bytes], "list[tuple[bytes, str]]"]


@contextmanager
def answering(machine: Namespace, forge: Forge) -> Iterator[None]:
    """Instead of the machine's kernel, answer each IPv4 echo request: ``forge`` turns its identifier, number and content into (the same, to whom)."""
    machine.sysctl({"net.ipv4.icmp_echo_ignore_all": 1})
    raw = machine.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.settimeout(0.05)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                packet = raw.recv(2048)
            except TimeoutError:
                continue
            if packet[20] == 8:
                for content, to in forge(packet[24:]):
                    reply = b"\0\0\0\0" + content
                    total = sum(struct.unpack(f"!{len(reply) // 2}H", reply))
                    total = (total & 0xFFFF) + (total >> 16)
                    raw.sendto(b"\0\0" + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + content, (to, 0))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        raw.close()


@pytest.mark.parametrize(
    ("forge", "counts"),
    [
        pytest.param(lambda content: [(content, HOST)], True, id="to-us"),
        pytest.param(lambda content: [(content, HOST)] * 3, True, id="three-times"),
        pytest.param(lambda content: [(content, "10.1.0.11")], False, id="to-another-address-of-this-host"),
        pytest.param(lambda content: [(content[:2] + b"\xff\xff" + content[4:], HOST)], False, id="to-another-request"),
        pytest.param(lambda content: [(b"\0\0" + content[2:], HOST)], False, id="to-another-program"),
        pytest.param(lambda content: [(content[:-1] + b"?", HOST)], False, id="without-having-read-the-request"),
        pytest.param(lambda content: [(content[:4], HOST)], False, id="empty"),
        pytest.param(lambda content: [(b"\0\0" + content[2:], HOST)] * 9 + [(content, HOST)], True, id="after-nine-that-are-not-ours"),
    ],
)
def test_the_reply_of_another_node_that_is_not_ours(node: Namespace, module: Module, wired: Namespace, forge: Forge, counts: bool) -> None:
    node.ip("addr add 10.1.0.11/22 dev eth0")
    with answering(wired, forge):
        answer = module("ip_probe", address=HOST, interface="eth0", targets=[ROUTER], tries=2, timeout=0.4)
    assert answer["failed"] is not counts, answer


def test_an_address_that_is_removed_during_the_probe(node: Namespace, wired: Namespace) -> None:
    """The other half of the tries fails with the reason, and the first probe after it is back is answered."""
    found = in_one_process(
        node,
        f"""
probe = Probe(("{NEVER_ANSWERS}",), 3, 0.4)
threading.Timer(0.6, lambda: os.system("ip addr del {HOST}/22 dev eth0")).start()
begin = time.monotonic()
removed = run_probe(Address.parse_loosely("{HOST}"), "eth0", probe)
seconds = time.monotonic() - begin
os.system("ip addr add {HOST}/22 dev eth0")
back = run_probe(Address.parse_loosely("{HOST}"), "eth0", Probe(("{ROUTER}",)))
print(json.dumps({{"reasons": removed.reasons, "seconds": seconds, "back": back.answered}}))
""",
    )
    assert found["back"] == [ROUTER]
    assert "is not configured on this host" in found["reasons"][0]
    assert found["seconds"] < 1.15, "no wait for a reply that cannot come"


def test_many_probes_at_once_share_the_sockets(node: Namespace, wired: Namespace) -> None:
    """Half of the 250 resources ask a router, half ask a host that is silent, with IPv4 and IPv6. Each learns of its own alone."""
    node.batch([f"addr add 10.1.2.{number}/32 dev eth0" for number in range(1, 125)])
    node.batch([f"addr add fd00:1::2:{number}/64 dev eth0 nodad" for number in range(1, 125)])
    found = in_one_process(
        node,
        f"""
answers, gate = {{}}, threading.Barrier(248)
def one(source, target):
    gate.wait()
    answers[source] = run_probe(Address.parse_loosely(source), "eth0", Probe((target,), 3, 1.0))
threads = [threading.Thread(target=one, args=(f"10.1.2.{{n}}", "{ROUTER}" if n % 2 else "{NEVER_ANSWERS}")) for n in range(1, 125)]
threads += [threading.Thread(target=one, args=(f"fd00:1::2:{{n}}", "{ROUTER6}" if n % 2 else "fd00:1::99")) for n in range(1, 125)]
before = threading.active_count()
for thread in threads: thread.start()
for thread in threads: thread.join()
raw = [line for name in ("raw", "raw6") for line in open(f"/proc/net/{{name}}").read().splitlines()[1:]]
drops = sum(int(line.split()[-1]) for line in raw)
right = [source for source, got in answers.items() if bool(got.answered) == bool(int(source.split(":")[-1].split(".")[-1]) % 2)]
print(json.dumps({{"sockets": len(raw), "right": len(right), "drops": drops, "more": threading.active_count() - before}}))
""",
    )
    assert found == {"sockets": 3, "right": 248, "drops": 0, "more": 2}, "a reader for each address family, and IPv6 has a socket for sending"


@pytest.mark.parametrize(("source", "target"), [(HOST, ROUTER), (HOST6, ROUTER6)])
def test_what_other_programs_of_this_host_ask_wakes_nobody(node: Namespace, wired: Namespace, source: str, target: str) -> None:
    found = in_one_process(
        node,
        f"""
def wakes():
    lines = [line.split() for task in os.listdir("/proc/self/task") if int(task) != os.getpid() for line in open(f"/proc/self/task/{{task}}/status")]
    return sum(int(line[1]) for line in lines if line[0] == "voluntary_ctxt_switches:")
ask = lambda: run_probe(Address.parse_loosely("{source}"), "eth0", Probe(("{target}",), 3, 5.0)).answered
before = ask()
slept = wakes()
others = os.system("ping -n -q -c 100 -i 0.002 -I {source} {target} >/dev/null")
woken = wakes() - slept
print(json.dumps({{"before": before, "others": others, "woken": woken, "after": ask()}}))
""",
    )
    assert found == {"before": [target], "others": 0, "woken": found["woken"], "after": [target]}
    assert found["woken"] < 10, "for 100 replies to another program"


def test_the_right_to_a_raw_socket_is_missing(node: Namespace, wired: Namespace, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-net_raw --inh-caps=-net_raw -- {sys.executable} "$@"\n')
    python.chmod(0o755)
    answer = run_module("ip_probe", {"address": HOST, "interface": "eth0", "targets": [ROUTER]}, where=node, python=str(python))
    assert answer["failed"], answer
    assert "become" in answer["msg"], answer
