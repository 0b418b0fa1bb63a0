# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fresh node to an empty one: install, run again, refuse, reload, upgrade; then what goes wrong, with no further hand; uninstall.

The tests build on each other in this order, as a cluster's life does: each finds both checkers running and leaves them so.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import APP, EVENTS, TAG, TOKEN, UNIT, Installed, since_now
from lab.control import Fault
from lab.faults import clear, strike
from lab.waiting import until

EXTRA = {"tag": "extra", "address": "192.0.2.77/32", "interface": "eth1"}
TTL = 7.0


@pytest.fixture
def active(cluster: Installed) -> str:
    """All is well; the node that it is on."""
    return cluster.reset()


def follows(trail: list[str], *wanted: str) -> bool:
    """Whether these events came in this order, with others between."""
    rest = iter(trail)
    return all(one in rest for one in wanted)


# --- install -----------------------------------------------------------------------------------------------------------


def test_install_on_two_fresh_nodes(cluster: Installed) -> None:
    cluster.variables["holdfast_resources"] = [cluster.web, EXTRA]
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        cluster.converge()
        cluster.wait_settled("node-a")  # where the address was before there was a checker
        report = prober.stop()
    print(f"longest outage {report.longest_ms:.0f} ms")
    assert {node for node, _epoch in report.answered_by} == {"node-a"}
    for node in cluster.nodes:
        assert node.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
        assert cluster.is_active(node, UNIT)
        assert "0 FAILED" not in node.run("holdfast", "status").stdout
        found = node.run("find", "/etc/holdfast", "/var/lib/holdfast", "/run/holdfast", "/var/log/holdfast", "-printf", "%m %u %y %p\n").stdout
        for line in found.splitlines():
            mode, user, kind, path = line.split()
            assert (user, mode) == ("root", "700" if kind == "d" else "600"), path
        assert node.run("cat", "/etc/holdfast/secrets/token").stdout == TOKEN
        assert TOKEN not in node.run("sh", "-c", f"journalctl -u {UNIT}; cat {EVENTS}; ps axww -o args").stdout
    keys = {node.run("cat", "/etc/holdfast/peer.key").stdout for node in cluster.nodes}
    assert len(keys) == 1
    assert "holdfast_" in until(lambda: cluster.nodes[0].run("cat", "/var/lib/node_exporter/holdfast.prom", check=False).stdout, 20, "no metrics")
    answer = cluster.nodes[0].run("lkipbu", "-s", "-t", TAG).stdout
    assert answer.splitlines()[0] == f"IP address: {cluster.lab.place.vip.partition('/')[0]}"
    print(cluster.nodes[0].run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout.splitlines()[-1])


def test_a_second_run_changes_nothing(cluster: Installed, active: str) -> None:
    before = [cluster.pid(node) for node in cluster.nodes]
    run = cluster.converge()
    assert [(task.host, task.task) for task in run.changed] == []
    assert [cluster.pid(node) for node in cluster.nodes] == before


def test_a_wrong_configuration_is_refused_before_anything_is_written(cluster: Installed, active: str) -> None:
    look = "cd / && find etc/holdfast opt/holdfast/bin opt/holdfast/releases usr/local/bin -type f -not -name '*.pyc' -print0 | sort -z"
    look += " | xargs -0 sha256sum; readlink opt/holdfast/collections opt/holdfast/venv"
    before = [node.run("sh", "-c", look).stdout for node in cluster.nodes]
    run = cluster.play("install", monitor_checks={"interval": -1})
    assert run.status != 0
    assert "checks.interval: this has to be a number" in run.message
    assert [node.run("sh", "-c", look).stdout for node in cluster.nodes] == before


def test_a_change_is_reloaded_and_a_resource_that_left_is_removed(cluster: Installed, active: str) -> None:
    standby = cluster.node(cluster.other(active))
    pid, begin = cluster.pid(standby), since_now()
    cluster.variables["monitor_checks"] = {**cluster.variables["monitor_checks"], "interval": 0.6}
    run = cluster.converge(words=("--limit", standby.name))
    assert [task.task.rpartition(" : ")[2] for task in run.changed] == ["Write the checker's configuration", "Reload the checker"]
    until(lambda: "reloaded" in cluster.trail(standby, begin), 20, "it was not reloaded")
    assert cluster.pid(standby) == pid
    assert cluster.holder() == active


def test_an_upgrade_keeps_the_address_up(cluster: Installed, active: str) -> None:
    record = cluster.record()
    version = Path(cluster.variables["monitor_collection"], "README.md")
    version.write_text(version.read_text() + "\nA newer version.\n")
    cluster.variables["holdfast_resources"] = [cluster.web]
    before = [cluster.pid(node) for node in cluster.nodes]
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        cluster.converge()
        report = prober.stop()
    print(f"{report.asked} asks, longest outage {report.longest_ms:.0f} ms")
    assert {node for node, _epoch in report.answered_by} == {active}
    assert report.longest_ms < 500, "the address moved, or went"
    after = cluster.record()
    assert record is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, record.epoch)
    for node, old in zip(cluster.nodes, before):
        assert cluster.pid(node) not in (0, old)
        assert node.run("ls", "/etc/holdfast/resources").stdout.split() == ["web.json"]
        assert len(node.run("ls", "/opt/holdfast/releases").stdout.split()) == 1
    left = [str(node.addresses()) for node in cluster.nodes]
    until(
        lambda: not any(EXTRA["address"] in str(node.addresses()) for node in cluster.nodes), 2 * TTL, f"the address that left is still there: {left}"
    )


# --- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("fault", ["wrong-route", "eip-taken", "sdc-on", "address-deleted", "wrong-prefix", "link-down"])
def test_what_can_be_repaired_on_the_node_is_repaired_there(cluster: Installed, active: str, fault: str) -> None:
    node, epoch, begin = cluster.node(active), cluster.record(), since_now()
    link = next(link for link, cidr in node.addresses() if cidr == cluster.lab.place.vip)
    with cluster.oracle():
        print(strike(cluster.lab, fault))
        until(lambda: "fault" in cluster.trail(node, begin), 30, "nobody noticed")
        if fault == "link-down":  # brought up again, or left for the backup interface: both are well
            links = ("eth0", "eth1")
            link = until(lambda: next((one for one in links if cluster.where() == cluster.settled(active, one)), ""), 60, "not repaired", every=0.1)
        cluster.wait_settled(active, link)
        until(lambda: follows(cluster.trail(node, begin), "fault", "recovered"), 60, "no event tells of the recovery")
    after = cluster.record()
    assert epoch is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, epoch.epoch), "it moved to another node"


@pytest.mark.long
def test_a_dead_primary_interface_moves_it_to_the_backup(cluster: Installed, active: str) -> None:
    node, begin = cluster.node(active), since_now()
    link = next(link for link, cidr in node.addresses() if cidr == cluster.lab.place.vip)
    with cluster.oracle():
        strike(cluster.lab, "primary-dead")
        cluster.wait_settled(active, "eth1" if link == "eth0" else "eth0")
    assert follows(cluster.trail(node, begin), "fault")


@pytest.mark.long
def test_both_interfaces_dead_the_other_node_takes_over(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle():
        for interface in node.place.interfaces:
            cluster.lab.router.cut(interface.id)
        until(lambda: cluster.holder() == other, 60, "nobody took over")
        until(lambda: not cluster.is_active(node), 60, f"the dependent still runs on {active}")
        cluster.wait_settled(other)
    assert follows(cluster.trail(cluster.node(other), begin), "acquired", "takeover")
    assert "lost" in cluster.trail(node, begin) or "released" in cluster.trail(node, begin)


@pytest.mark.long
def test_power_off_and_return(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.power_off()
        cluster.wait_settled(other)
        report = prober.stop()
        print(f"client-c was without the service for {report.longest_ms:.0f} ms")
        node.configure()
        node.power_on()
        node.wait_until_up()
        until(lambda: cluster.status(node).get("role") == "standby", 60, "it did not come back as a standby")
        until(lambda: cluster.status(node).get("ready"), 60, "it is not ready")
        assert cluster.holder() == other  # failback is manual
        cluster.wait_settled(other)
    assert follows(cluster.trail(cluster.node(other), begin), "peer silent", "acquired", "takeover")


def test_killed_it_is_back_before_anybody_notices(cluster: Installed, active: str) -> None:
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.run("systemctl", "kill", "--signal=KILL", UNIT)
        until(lambda: "resumed" in cluster.trail(node, begin), 30, "it did not resume")
        until(lambda: cluster.status(node).get("serving"), 20, "it does not serve")
        report = prober.stop()
    print(f"longest outage {report.longest_ms:.0f} ms")
    after = cluster.record()
    assert record is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, record.epoch)


@pytest.mark.long
def test_stopped_longer_than_its_lease_and_continued(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    pid = cluster.pid(node)
    with cluster.oracle():
        node.run("kill", f"-{signal.SIGSTOP:d}", str(pid))
        until(lambda: cluster.holder() == other, 60, "nobody took over")
        node.run("kill", f"-{signal.SIGCONT:d}", str(pid), check=False)  # the watchdog may have been there first
        until(lambda: cluster.status(node).get("role") == "standby", 60, "it did not step down")
        until(lambda: not cluster.is_active(node), 30, "its dependent still runs")
        cluster.wait_settled(other)
    assert follows(cluster.trail(cluster.node(other), begin), "acquired", "takeover")


@pytest.mark.long
def test_a_store_that_is_silent_for_less_than_the_lease_is_no_event(cluster: Installed, active: str) -> None:
    record = cluster.record()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        cluster.lab.control.faults.inject(Fault("silent", "dynamodb:*"))
        time.sleep(TTL / 4)  # this is how long the fault lasts
        clear(cluster.lab)
        cluster.wait_settled(active)
        report = prober.stop()
    after = cluster.record()
    assert record is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, record.epoch)
    assert report.longest_ms < 1000


@pytest.mark.long
def test_a_store_that_is_silent_for_long_leaves_it_there_while_the_peers_agree(cluster: Installed, active: str) -> None:
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    with cluster.oracle():
        cluster.lab.control.faults.inject(Fault("silent", "dynamodb:*"))
        until(lambda: any(one["event"] == "failsafe" and one.get("on") for one in cluster.events(node, begin)), 30, "no failsafe")
        end = time.monotonic() + 1.5 * TTL
        while time.monotonic() < end:
            assert cluster.places(), cluster.story()
            time.sleep(0.1)
        clear(cluster.lab)
        until(lambda: any(one["event"] == "failsafe" and not one.get("on") for one in cluster.events(node, begin)), 30, "it did not end")
    after = cluster.record()
    assert record is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, record.epoch)


@pytest.mark.long
def test_a_store_and_peers_that_are_silent_end_it_in_time_and_it_comes_back(cluster: Installed, active: str) -> None:
    node, begin = cluster.node(active), since_now()
    rules = "add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add rule inet lab in udp dport 7447 drop"
    with cluster.oracle():
        for one in cluster.nodes:
            one.namespace.run("nft", rules)
        try:
            until(lambda: "peer silent" in cluster.trail(node, begin), 30, "the peers still talk")
            cluster.lab.control.faults.inject(Fault("silent", "dynamodb:*"))
            until(lambda: not cluster.places(), 30, "the address is still there")
        finally:
            for one in cluster.nodes:
                one.namespace.run("nft", "delete table inet lab")
            clear(cluster.lab)
        holder = until(cluster.holder, 60, "nobody took it up again")
        until(lambda: len(cluster.places()) == 1, 60, "the address did not come back")
    assert "lost" in cluster.trail(node, begin)
    assert holder in ("node-a", "node-b")


@pytest.mark.long
def test_ec2_silent_is_unknown_and_moves_nothing(cluster: Installed, active: str) -> None:
    node, record = cluster.node(active), cluster.record()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        for action in ("Describe*", "Replace*", "Associate*", "Modify*"):
            cluster.lab.control.faults.inject(Fault("silent", action))
        told = until(lambda: (cluster.status(node).get("ec2") or {}).get("error"), 60, "the status does not tell")
        assert told
        assert cluster.status(node)["health"] != "failed", json.dumps(cluster.status(node))
        clear(cluster.lab)
        until(lambda: not (cluster.status(node).get("ec2") or {"error": "-"}).get("error"), 60, "it does not see that EC2 answers again")
        report = prober.stop()
    after = cluster.record()
    assert record is not None
    assert after is not None
    assert (after.holder, after.epoch) == (active, record.epoch)
    assert report.longest_ms < 1000


@pytest.mark.long
def test_systemctl_stop_hands_over_in_order(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.run("systemctl", "stop", UNIT)
        cluster.wait_settled(other)
        report = prober.stop()
    print(f"client-c was without the service for {report.longest_ms:.0f} ms")
    assert not cluster.is_active(node)
    assert follows(cluster.trail(node, begin), "released", "stopped")
    times = {one.name: one.run("tail", "-n", "1", "/var/log/app").stdout.split() for one in cluster.nodes}
    assert (times[active][1], times[other][1]) == ("stopped", "started")
    assert float(times[active][0]) <= float(times[other][0]), f"{APP} was started on {other} before it was stopped on {active}"


# --- uninstall ---------------------------------------------------------------------------------------------------------


def test_uninstall_leaves_the_address_and_nothing_else(cluster: Installed, active: str) -> None:
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        run = cluster.play("uninstall")
        assert run.status == 0, run.message or run.other
        report = prober.stop()
    assert report.longest_ms < 500
    assert {node for node, _epoch in report.answered_by} == {active}
    for node in cluster.nodes:
        left = node.run("sh", "-c", "find / -xdev -path /proc -prune -o -path /srv -prune -o -iname '*holdfast*' -print").stdout.split()
        assert [
            path for path in left if "/.ansible/" not in path and not path.startswith(("/var/lib/node_exporter", "/sys", "/tmp", "/var/tmp"))
        ] == []
        assert cluster.pid(node) == 0
    shown = json.loads(cluster.node(active).run("ip", "-j", "addr").stdout)
    vip = next(one for link in shown for one in link["addr_info"] if one["local"] == cluster.lab.place.vip.partition("/")[0])
    assert vip["valid_life_time"] == 2**32 - 1
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", "-")
