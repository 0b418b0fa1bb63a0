# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkers left to themselves: what is broken is mended, who is gone is replaced, and never two nodes have the address."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from harness.marks import STALLS
from harness.module import run_module
from lab.control import Fault
from lab.lan import VIP, Lan
from lab.waiting import until

from .pair import CHECKS, KEY, RECOVERY, TAG, Pair

pytestmark = STALLS

TIMING = PROFILES["fast"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"pair{os.getpid()}-", links=2) as lan:
        pair = Pair(lan)
        try:
            yield pair
        finally:
            pair.stop()


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """node-a is active. At the end the oracle has seen no instant with two holders."""
    shared.reset()
    with shared.lan.oracle(KEY):
        yield shared


@pytest.fixture
def patient(shared: Pair) -> Iterator[Pair]:
    """As `pair`, with leases that are long enough for a process to start anew on a busy machine."""
    shared.reset(settings={"timing": "standard"})
    with shared.lan.oracle(KEY):
        yield shared


def _mended(pair: Pair) -> dict[str, Any]:
    """Delete the address once; the event of its repair, which came in time."""
    a = pair.checkers["node-a"]
    before = len(a.seen("reflex"))
    with pair.lan.prober() as prober:
        prober.wait_until_answered(10, by="node-a")
        pair.node("node-a").drop(VIP)
        until(lambda: len(a.seen("reflex")) > before, 10, "no reflex")
        prober.wait_until_answered(10, by="node-a")
        deleted = prober.report().longest_ms
    reflex = a.seen("reflex")[before]
    print(f"address deleted: {deleted:.0f} ms")
    assert (reflex["ok"], reflex["faults"]) == (True, ["address"])
    assert deleted < 1000
    return reflex


@pytest.mark.scenario("C2", "E4", "F1")
def test_what_needs_only_the_kernel_is_mended_at_once(pair: Pair) -> None:
    a = pair.checkers["node-a"]
    drops = (_mended(pair) for _time in range(5))  # a loop that is awake at that instant mends the address itself
    assert any(reflex.get("foreseen") for reflex in drops), "the loop had to find out by itself, five times"
    before = len(a.seen("reflex"))
    with pair.lan.prober() as prober:
        prober.wait_until_answered(10, by="node-a")
        pair.lan.switch.ip("link set node-a-0 down")
        until(lambda: pair.places("node-a") == ["eth1"], 10, "it did not move to the backup")
        prober.wait_until_answered(10, by="node-a")
        moved = prober.report().longest_ms
    print(f"link down: {moved:.0f} ms")
    assert moved < 2000
    until(lambda: len(a.seen("reflex")) == before + 1, 5, "not told")
    assert "foreseen" not in a.seen("reflex")[-1]
    status = until(lambda: told if (told := pair.status("node-a"))["health"] == "healthy" else None, 10, "it is not healthy again")
    assert (status["interface"], status["backup_interface"], status["interface_up"]) == ("eth1", "eth0", True)
    pair.lan.switch.ip("link set node-a-0 up")
    until(lambda: pair.status("node-a")["phase"] == "watching", 10, "it is still at work")
    assert pair.places("node-a") == ["eth1"]
    assert pair.places("node-b") == []


def swap(pair: Pair) -> None:
    node = pair.node("node-a")
    answer = run_module("ip_swap_interface", {"tag": TAG}, where=node.namespace, env=dict(node.environment))
    assert not answer["failed"], answer


@pytest.mark.parametrize("move", [lambda pair: pair.ask("node-a", "move"), swap], ids=["by the checker", "by the module"])
def test_a_move_is_no_fault(shared: Pair, move: Callable[[Pair], object]) -> None:
    """What is done if the address goes does not apply to a removal by whoever moves it: the address is never back where it was taken from."""
    pair = shared
    pair.reset(probe={"targets": [pair.node("node-b").place.interfaces[0].address]})
    a = pair.checkers["node-a"]
    with pair.node("node-a").namespace.spawn("ip", "-o", "monitor", "address") as monitor:
        for link in ("eth1", "eth0"):
            move(pair)
            assert pair.places("node-a") == [link]
        status = pair.status("node-a")
        monitor.terminate()
        assert monitor.stdout is not None
        told = [line for line in monitor.stdout.read().splitlines() if VIP in line]
    places: set[str] = {"eth0"}
    for line in told:
        link = line.removeprefix("Deleted ").split()[1]
        places = places - {link} if line.startswith("Deleted") else places | {link}
        assert len(places) < 2, told
    assert sum(line.startswith("Deleted") for line in told) == 2
    assert not a.seen("fault")
    assert (status["health"], status["phase"], status["interface"], status["backup_interface"]) == ("healthy", "watching", "eth0", "eth1")
    pair.node("node-a").drop(VIP)
    until(lambda: a.seen("reflex"), 5, "it is not watched any more")


def test_who_moves_it_and_dies_is_not_waited_for_long(pair: Pair) -> None:
    a = pair.checkers["node-a"]
    pair.ask("node-a", "stand_aside", wait=2)
    pair.node("node-a").drop(VIP)
    told = pair.ask("node-a", "check")
    assert (told["phase"], a.seen("fault"), pair.places("node-a")) == ("watching", [], [])
    assert "somebody on this host moves its address" in told["reasons"][0]
    until(lambda: a.seen("reflex"), 10, "it is never repaired")
    assert pair.places("node-a") == ["eth0"]


def test_a_run_that_is_killed_in_the_middle_of_a_move_is_not_waited_for(shared: Pair) -> None:
    shared.reset(start=False, settings={"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery", "timeout": 3}]})
    a, node = shared.checkers["node-a"], shared.node("node-a")
    node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=RECOVERY)
    a.start()
    shared.until_serving("node-a")
    until(lambda: a.seen("run ended"), 20, "it does not finish its takeover")
    node.run("touch", "/var/lib/holdfast/moving", "/var/lib/holdfast/hang")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(shared.ask, "node-a", "recover", wait=30)
        moving = until(lambda: next((why for why in shared.status("node-a")["reasons"] if "moves its address" in why), ""), 20, "it is not told")
        assert "it is left alone, for 60 s at most" in moving
        node.drop(VIP)
        told = until(lambda: a.seen("run killed"), 20, "it goes on")
        until(lambda: shared.places("node-a") == ["eth0"], 20, "the address stays away")
        assert asked.result()["held"]
    assert not a.seen("run ended")[1]["ok"]
    assert "did not end within 3 s" in told[0]["reason"]


@pytest.mark.scenario("E2")
def test_who_goes_in_order_hands_over_and_who_is_gone_is_replaced(pair: Pair) -> None:
    a, b = pair.checkers["node-a"], pair.checkers["node-b"]
    begin = time.monotonic()
    a.stop()
    pair.until_serving("node-b", 10)
    assert time.monotonic() - begin < TIMING.ttl, "taken over as if nobody had handed over"
    assert (a.exit_code, a.seen("handed over")[0]["to"], pair.places("node-a")) == (0, "node-b", [])
    a.start()  # a returning node leaves it where it is
    until(lambda: pair.status("node-a")["ready"], 20, "node-a is not ready")
    assert (pair.status("node-a")["role"], pair.status("node-b")["role"]) == ("standby", "active")
    until(lambda: pair.status("node-b")["peers"][0]["ready"], 10, "node-b does not hear that node-a is ready")
    begin = time.monotonic()
    pair.ask("node-b", "release", handoff_to="node-a")
    pair.until_serving("node-a", 10)
    assert time.monotonic() - begin < TIMING.ttl
    a.kill()
    killed = time.monotonic()
    pair.until_serving("node-b")
    assert time.monotonic() - killed > TIMING.ttl - TIMING.renew - 1, "taken before the lease can have run out"
    assert b.seen("acquired")
    a.start()
    until(lambda: pair.status("node-a")["ready"], 20, "node-a is not ready")
    b.send(signal.SIGSTOP)
    pair.until_serving("node-a")
    b.send(signal.SIGCONT)
    until(lambda: b.exit_code is not None or b.seen("lost"), 10, "node-b did not notice")
    assert pair.places("node-b") == []
    assert pair.places("node-a") == ["eth0"]


def test_paused_nothing_is_done_also_by_the_next_process(patient: Pair) -> None:
    pair = patient
    a, node = pair.checkers["node-a"], pair.node("node-a")
    assert pair.ask("node-a", "pause")["paused"] is True
    node.drop(VIP)
    until(lambda: pair.status("node-a")["health"] == "failed", 10, "the fault is not seen")
    with pytest.raises(RuntimeError, match="resume it first"):
        pair.ask("node-a", "recover")
    a.kill()
    a.start()
    until(lambda: pair.status("node-a")["held"], 10, "it does not go on with its lease")
    status = until(lambda: told if (told := pair.status("node-a"))["health"] == "failed" else None, 10, "the fault is not seen")
    assert (status["phase"], status["paused"], pair.places("node-a")) == ("paused", True, [])
    assert not a.seen("reflex")
    assert not a.seen("takeover")
    pair.ask("node-a", "resume")
    until(lambda: pair.places("node-a") == ["eth0"], 10, "it is not put back")
    for name in ("node-a", "node-b"):
        pair.ask(name, "pause")
    until(lambda: "paused" in str(pair.status("node-a")["peers"][0]["reason"]), 20, "node-a does not hear that node-b is paused too")
    a.stop()  # left as it is, for the next process
    assert pair.places("node-a") == ["eth0"]
    a.start()
    until(lambda: a.seen("resumed"), 10, "it does not go on with its lease")
    assert pair.record().holder == "node-a"


def test_a_reload_moves_nothing_and_a_wrong_one_changes_nothing(patient: Pair) -> None:
    pair = patient
    a = pair.checkers["node-a"]
    pid, epoch = a.pid, pair.status("node-a")["epoch"]
    pair.configure("node-a", checks={**CHECKS, "interval": -1})
    a.send(signal.SIGHUP)
    told = until(lambda: a.seen("kept old configuration"), 10, "nothing was said")
    assert "checks.interval" in told[0]["reason"]
    assert "\n" not in told[0]["reason"]
    own = pair.node("node-a").place.interfaces[0].address
    inside = pair.node("node-a").namespace
    with inside.socket() as web, inside.socket(kind=socket.SOCK_DGRAM) as peer:
        web.bind(("127.0.0.1", 9447))
        web.listen()
        peer.bind((own, 7450))
        for number, (changes, cause) in enumerate(
            (
                ({"store": {"type": "etcd", "endpoints": ["https://127.0.0.1:2379"], "ca_cert": "/etc/holdfast/gone.pem"}}, "/etc/holdfast/gone.pem"),
                ({"store": {**pair.settings["store"], "profile": "nobody"}}, "no profile 'nobody'"),
                ({"metrics": {"listen": "127.0.0.1:9447"}}, "127.0.0.1:9447 cannot be used"),
                ({"peers": {**pair.settings["peers"], "port": 7450}}, f"{own}, UDP port 7450"),
            )
        ):
            pair.configure("node-a", **changes)
            a.send(signal.SIGHUP)
            kept = until(lambda n=number: a.seen("kept old configuration")[n + 1 :], 10, f"nothing was said of {changes}")
            assert cause in kept[0]["reason"]
            assert "\n" not in kept[0]["reason"]
    assert (a.exit_code, a.seen("reloaded")) == (None, [])
    pair.configure("node-a", reflex=False)
    a.send(signal.SIGHUP)
    until(lambda: a.seen("reloaded"), 15, "it did not reload")
    until(lambda: pair.status("node-a")["held"] and pair.status("node-a")["serving"], 15, "it does not go on with its lease")
    assert (a.pid, a.exit_code, pair.status("node-a")["epoch"]) == (pid, None, epoch)
    assert not a.seen("lost")
    assert pair.places("node-a") == ["eth0"]
    pair.node("node-a").drop(VIP)  # the new configuration holds: nothing mends it
    until(lambda: pair.status("node-a")["health"] == "failed", 10, "the fault is not seen")
    assert not a.seen("reflex")


def test_told_to_end_while_it_reloads_it_ends_in_good_order(patient: Pair) -> None:
    """The next process does not listen yet, and would die of the signal."""
    a = patient.checkers["node-a"]
    environment = Path(f"/proc/{a.pid}/environ")
    a.send(signal.SIGHUP)
    until(lambda: b"HOLDFAST_RELOADED=" in environment.read_bytes(), 15, "it does not reload", every=0.001)
    a.send(signal.SIGTERM)
    until(lambda: a.exit_code is not None, 30, "it goes on")
    assert a.exit_code == 0
    assert a.seen("stopped")
    assert patient.places("node-a") == []
    patient.until_serving("node-b", 10)


@pytest.mark.scenario("F9")
def test_the_fiftieth_deletion_costs_no_more_than_the_first(shared: Pair) -> None:
    """No limit holds up what the kernel alone can repair. There is no ready standby that it could move to. Each time the checker has seen it well."""
    shared.reset()
    shared.checkers["node-b"].stop()
    node, checker, outages = shared.node("node-a"), shared.checkers["node-a"], []
    for _number in range(50):
        with shared.lan.prober() as prober:
            prober.wait_until_answered(10, by="node-a")
            until(lambda: checker.ask("status", tag=TAG)["health"] == "healthy", 10, "the repaired address is not healthy")
            node.drop(VIP)
            prober.wait_until_answered(10, by="node-a")
            outages.append(prober.stop().longest_ms)
    first, last = max(outages[:5]), max(outages[-5:])
    print(f"50 deletions: the first five {first:.0f} ms at most, the last five {last:.0f} ms, all {max(outages):.0f} ms")
    assert max(outages) < 500
    assert (shared.record().holder, shared.places("node-a")) == ("node-a", ["eth0"])


@pytest.mark.scenario("F9")
def test_what_is_undone_again_and_again_moves_to_the_standby(shared: Pair) -> None:
    """Something on node-a deletes the address every 0.3 s; on node-b it stays. networkd, which configures eth0 there, is named."""
    shared.reset(settings={"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery"}]})
    for node in shared.lan.nodes:
        node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=RECOVERY)
    a, node = shared.checkers["node-a"], shared.node("node-a")
    index = json.loads(node.namespace.ip("-j link show eth0"))[0]["ifindex"]
    node.run("sh", "-c", "mkdir -p /run/systemd/netif && mount -t tmpfs tmpfs /run/systemd/netif && mkdir /run/systemd/netif/links")

    def has_moved() -> bool:
        node.drop(VIP)
        return shared.record().holder == "node-b"

    try:
        node.run("install", "/dev/stdin", f"/run/systemd/netif/links/{index}", input="ADMIN_STATE=configured\nOPER_STATE=routable\n")
        with shared.lan.oracle(KEY):
            until(has_moved, 60, "it does not move", every=0.3)
            shared.until_serving("node-b")
    finally:
        node.run("umount", "/run/systemd/netif")
    assert len(a.seen("reflex")) >= 10
    (reason,) = {one["reason"] for one in a.seen("run started") if one["playbook"] == "switchover"}
    assert reason.endswith("s, as something on this node undoes that; eth0 is managed by systemd-networkd, see the guide Network managers")


def test_without_a_standby_the_status_says_that_repairs_do_not_stay(shared: Pair) -> None:
    shared.reset(settings={"peers": None})
    assert "undoes that" not in str(shared.status("node-a")["reasons"])

    def is_told() -> bool:
        shared.node("node-a").drop(VIP)
        return "times within 60 s, as something on this node undoes that" in str(shared.status("node-a")["reasons"])

    until(is_told, 30, "it is not told", every=0.1)


@pytest.mark.scenario("F2")
def test_the_store_is_away(shared: Pair) -> None:
    """For shorter than the lease nothing happens. For longer, without a channel among the nodes, the address goes in time, and is back after."""
    shared.reset(settings={"peers": None})
    a = shared.checkers["node-a"]
    with shared.lan.oracle(KEY):
        shared.lan.control.faults.inject(Fault("silent", "dynamodb:*"))
        time.sleep(1.0)  # shorter than the lease
        shared.lan.control.faults.clear()
        until(lambda: shared.status("node-a")["watching"], 10, "the store is not seen again")
        assert not a.seen("lost")
        shared.lan.control.faults.inject(Fault("silent", "dynamodb:*"))
        until(lambda: not shared.places("node-a"), 3 * TIMING.ttl, "the address is still there")
        until(lambda: a.seen("lost"), 10, "nothing was said")
        assert shared.places("node-b") == []
        shared.lan.control.faults.clear()
        until(lambda: bool(shared.places("node-a")) != bool(shared.places("node-b")), 30, "nobody took it up again")


@pytest.mark.scenario("F2")
def test_with_a_channel_the_active_node_stays_when_the_store_is_away(pair: Pair) -> None:
    a = pair.checkers["node-a"]
    pair.lan.control.faults.inject(Fault("silent", "dynamodb:*"))
    until(lambda: a.seen("failsafe"), 20, "no failsafe")
    end = time.monotonic() + 2 * TIMING.ttl
    while time.monotonic() < end:
        assert pair.places("node-a") == ["eth0"]
        time.sleep(0.1)
    pair.lan.control.faults.clear()
    until(lambda: pair.status("node-a")["watching"], 10, "the store is not seen again")
    assert not a.seen("lost")


def test_a_reload_while_the_store_is_away_is_refused(pair: Pair) -> None:
    """The next process would have no lease, and not the word of the peers by which the address stays."""
    a = pair.checkers["node-a"]
    pair.lan.control.faults.inject(Fault("silent", "dynamodb:*"))
    until(lambda: a.seen("failsafe"), 20, "no failsafe")
    a.send(signal.SIGHUP)
    kept = until(lambda: a.seen("kept old configuration"), 20, "it reloads")
    assert "web is held while the store of leases does not answer" in kept[0]["reason"]
    end = time.monotonic() + TIMING.ttl
    while time.monotonic() < end:
        assert pair.places("node-a") == ["eth0"]
        time.sleep(0.1)
    pair.lan.control.faults.clear()
    until(lambda: pair.status("node-a")["watching"], 10, "the store is not seen again")
    a.send(signal.SIGHUP)
    until(lambda: a.seen("reloaded"), 15, "it does not reload")


def test_what_was_taken_out_of_service_waits_for_a_person(pair: Pair) -> None:
    pair.ask("node-a", "release", handoff_to="-")
    epoch = pair.record().epoch
    end = time.monotonic() + TIMING.wait(0) + 4 * TIMING.poll
    while time.monotonic() < end:
        assert (pair.places("node-a"), pair.places("node-b")) == ([], [])
        time.sleep(0.1)
    pair.ask("node-b", "acquire", wait=5)
    pair.ask("node-b", "serve")
    assert pair.places("node-b") == ["eth0"]
    assert pair.record().epoch > epoch


@pytest.mark.scenario("F7")
def test_an_address_on_the_standby_is_removed(shared: Pair) -> None:
    shared.reset()
    shared.node("node-b").hold(VIP, "eth1")
    until(lambda: not shared.places("node-b"), 10, "it is still there")
    told = until(lambda: shared.checkers["node-b"].seen("reflex"), 10, "nothing was said")
    assert told[0]["faults"] == ["stray"]
    assert shared.places("node-a") == ["eth0"]


def test_systemd_is_told(shared: Pair, tmp_path: Path) -> None:
    """Ready, alive, reloading, stopping; and a checker without a resource is idle."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        shared.reset(start=False, environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"})
        a = shared.checkers["node-a"]
        shared.node("node-a").run("rm", f"/etc/holdfast/resources/{TAG}.json")

        def hear(word: str) -> str:
            while not (said := systemd.recv(4096).decode()).startswith(word):
                pass
            return said

        a.start()
        assert "0 resources" in hear("READY=1")
        hear("WATCHDOG=1")
        a.send(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in hear("RELOADING=1")
        hear("READY=1")
        hear("WATCHDOG=1")
        a.send(signal.SIGSTOP)  # alive no more: systemd would end it
        systemd.setblocking(False)
        said = [1]
        while said:  # what it said before
            said = [1 for _ready in select.select([systemd], [], [], 0.2)[0] if systemd.recv(4096)]
        assert select.select([systemd], [], [], 2) == ([], [], [])
        systemd.settimeout(20)
        a.send(signal.SIGCONT)
        a.send(signal.SIGTERM)
        assert "EXTEND_TIMEOUT_USEC=70000000" in hear("STOPPING=1"), "without dependents"
        until(lambda: a.exit_code == 0, 20, "it did not end")


@pytest.mark.scenario("E3")
def test_failback(shared: Pair) -> None:
    """Automatic: it returns to the node of the better priority once that has been ready for long enough."""
    settings = {"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery"}], "checks": {**CHECKS, "failback_delay": 2, "hold_down": 1}}
    shared.reset(start=False, settings=settings, failback="automatic")
    for node in shared.lan.nodes:
        node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=RECOVERY)
    a, b = shared.checkers["node-a"], shared.checkers["node-b"]
    b.start()
    shared.until_serving("node-b")
    a.start()
    shared.until_serving("node-a", 40)
    assert [one["reason"] for one in b.seen("run started")][-1] == "node-a has the better priority and is ready"
    until(lambda: a.seen("run ended"), 20, "node-a does not finish its takeover")
    assert not shared.places("node-b")


def test_the_triggers_finish_what_a_reflex_begins(shared: Pair) -> None:
    """A run after a takeover and after a reflex; one at a time; one that fails is retried later; SIGTERM calls it off."""
    shared.reset(start=False, settings={"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery"}]})
    a, node = shared.checkers["node-a"], shared.node("node-a")
    node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=RECOVERY)

    def runs() -> list[str]:
        return node.run("sh", "-c", "cat /var/lib/holdfast/runs 2>/dev/null || true").stdout.splitlines()

    def ended(number: int) -> dict[str, object]:
        return until(lambda: told[number - 1] if len(told := a.seen("run ended")) >= number else None, 20, f"run {number} has not ended")

    a.start()
    shared.until_serving("node-a")
    assert ended(1)["ok"]
    assert a.seen("run started")[0]["reason"] == "this node has taken the lease"
    assert "holdfast.ha.recover" in runs()[0]
    assert f'"tag": "{TAG}"' in runs()[0]
    status = until(lambda: told if (told := shared.status("node-a"))["phase"] == "watching" else None, 10, "it is still at work")
    assert (status["in_service"], status["health"], status["last_recovery"]["ok"]) == (True, "healthy", True)
    node.drop(VIP)
    assert ended(2)["ok"]
    assert [one["event"] for one in a.events if one["event"] in ("reflex", "run started")][-2:] == ["reflex", "run started"]
    node.run("touch", "/var/lib/holdfast/slow")
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(shared.ask, "node-a", "recover", wait=20) for _number in range(2)]
        assert all(one.result()["last_recovery"]["ok"] for one in asked)
    assert len(runs()) == 3, "two runs at once"
    node.run("sh", "-c", "rm /var/lib/holdfast/slow; touch /var/lib/holdfast/bad")
    answer = shared.ask("node-a", "recover", wait=20)
    assert (answer["last_recovery"]["ok"], answer["health"]) == (False, "healthy")
    assert "it cannot be repaired here" in answer["last_recovery"]["message"]
    shared.configure("node-a", reflex=False)
    a.send(signal.SIGHUP)
    until(lambda: a.seen("reloaded"), 15, "it did not reload")
    until(lambda: shared.status("node-a")["serving"], 15, "it does not go on with its lease")
    node.drop(VIP)  # now it is for the playbook, and that fails
    assert not ended(5)["ok"]
    until(lambda: a.seen("backing off"), 10, "it does not back off")
    status = shared.status("node-a")
    assert (status["health"], status["faults"], shared.places("node-a")) == ("failed", ["address"], [])
    assert len(a.seen("reflex")) == 1
    node.run("sh", "-c", "rm /var/lib/holdfast/bad; touch /var/lib/holdfast/hang")
    until(lambda: len(runs()) >= 6, 20, "it is not tried again")
    begin = time.monotonic()
    a.stop()
    assert (a.exit_code, shared.places("node-a")) == (0, [])
    assert time.monotonic() - begin < 15
    assert a.seen("run killed")
