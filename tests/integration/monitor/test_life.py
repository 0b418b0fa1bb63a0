# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fresh node on: install, run again, refuse, reload, upgrade; then what goes wrong, with no further hand.

The tests build on each other in this order, as a cluster's life does: each finds both checkers running and leaves them so. It goes on in
test_life_limits.py, and ends in test_life_uninstall.py.
"""

from __future__ import annotations

import json
import re
import signal
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import APP, EVENTS, TAG, TOKEN, UNIT, Installed, since_now
from harness.marks import STALLS
from lab.booted import BootedNode
from lab.control import Fault
from lab.faults import clear, strike
from lab.waiting import throughout, until

pytestmark = STALLS

EXTRA = {"tag": "extra", "address": "192.0.2.77/32", "interface": "eth1"}
TTL = 7.0
#: What systemd-analyze says of the unit, from 0 (safe) to 10: it needs the network and, for dependents and their task files, what root may do.
EXPOSURE = 4.5
_IN_BATCHES = """
- hosts: all
  gather_facts: false
  serial: 1
  roles: [holdfast.ha.monitor]
"""


def service(node: BootedNode, *names: str) -> dict[str, str]:
    """Properties of the checker's unit, as systemd has them."""
    shown = node.run("systemctl", "show", *(f"--property={name}" for name in names), UNIT).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def metrics_for_nobody(node: BootedNode) -> bool:
    """Whether node_exporter, which runs without rights, can read the checker's metrics."""
    read = node.run("runuser", "-u", "nobody", "--", "cat", "/var/lib/node_exporter/holdfast.prom", check=False)
    return "holdfast_" in read.stdout


# --- install -----------------------------------------------------------------------------------------------------------


def test_what_the_nodes_could_not_agree_on_is_refused(cluster: Installed) -> None:
    batches = cluster.folder / "batches.yml"
    batches.write_text(_IN_BATCHES)
    run = cluster.play(str(batches))
    assert run.status != 0
    assert "the peers' key cannot be settled, as node-b takes no part in this run" in run.message
    run = cluster.play("install", words=("--limit", "node-b"), monitor_peer_key="k" * 64)
    assert run.status != 0
    assert "it is not known at which address node-a is reached by its peers" in run.message
    for node in cluster.nodes:
        assert node.run("ls", "-d", "/etc/holdfast", "/opt/holdfast", check=False).stdout == "", "something was written"


def test_install_on_two_fresh_nodes(cluster: Installed) -> None:
    cluster.variables["holdfast_resources"] = [cluster.web, EXTRA]
    with cluster.kernels(), cluster.lab.prober("client-c") as prober:
        diffs = cluster.converge(words=("--diff",))
        cluster.wait_settled("node-a")  # where the address was before there was a checker
        report = prober.stop()
    print(f"longest outage {report.longest_ms:.0f} ms")
    assert {node for node, _epoch in report.answered_by} == {"node-a"}
    assert any("ExecStart=" in json.dumps(task.result.get("diff", "")) for task in diffs.tasks), "nothing was shown that could hold a secret"
    keys = {node.run("cat", "/etc/holdfast/peer.key").stdout.strip() for node in cluster.nodes}
    assert len(keys) == 1
    assert keys.pop() not in diffs.other + json.dumps([task.result for task in diffs.tasks], default=str)
    for node in cluster.nodes:
        assert node.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
        assert cluster.is_active(node, UNIT)
        found = node.run("find", "/etc/holdfast", "/var/lib/holdfast", "/run/holdfast", "/var/log/holdfast", "-printf", "%m %u %y %p\n").stdout
        for line in found.splitlines():
            mode, user, kind, path = line.split()
            assert (user, mode) == ("root", "700" if kind == "d" else "600"), path
        found = node.run("find", "/opt/holdfast", "/usr/local/bin", "/etc/systemd/system", "-perm", "/022", "-not", "-type", "l").stdout
        assert found == "", "others may change what root runs"
        assert node.run("cat", "/etc/holdfast/secrets/token").stdout == TOKEN
        assert TOKEN not in node.run("sh", "-c", f"journalctl -u {UNIT}; cat {EVENTS}; ps axww -o args").stdout
        until(partial(metrics_for_nobody, node), 20, "node_exporter cannot read the metrics")
    until(lambda: cluster.is_quiet("node-a"), 120, "it is not at rest")
    table = cluster.nodes[0].run("holdfast", "status").stdout
    assert "FAILED" not in table, table
    assert re.search(r"^web +HEALTHY", table, re.MULTILINE), table
    answer = cluster.nodes[0].run("lkipbu", "-s", "-t", TAG).stdout
    assert answer.splitlines()[0] == f"IP address: {cluster.lab.place.vip.partition('/')[0]}"


def test_the_unit_is_confined_and_goes_before_others(cluster: Installed, active: str) -> None:
    node = cluster.node(active)
    said = node.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout.splitlines()[-1]
    print(said)
    score = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert score is not None, said
    assert float(score[1]) <= EXPOSURE
    shown = service(node, "TimeoutStopUSec", "OOMScoreAdjust", "Nice", "CPUWeight", "StartLimitIntervalUSec", "RestartUSec", "MainPID")
    assert shown["TimeoutStopUSec"] == "3min 10s", "the dependents' 100 s, and what the rest of an orderly end may take"
    assert (shown["OOMScoreAdjust"], shown["Nice"], shown["CPUWeight"]) == ("-900", "-10", "1000")
    assert shown["StartLimitIntervalUSec"] == "0"
    words = node.run("cat", f"/proc/{shown['MainPID']}/cmdline").stdout.split("\0")
    assert words[1:3] == ["-m", "ansible_collections.holdfast.ha.plugins.module_utils._checker"], "DESIGN.md section 7"
    find = "for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline | grep -q '[v]env/bin/ansible-playbook'; then"
    find += " echo $(cat $p/oom_score_adj) $(cut -d' ' -f19 $p/stat); fi; done 2>/dev/null | sort -u"
    until(lambda: node.run("sh", "-c", find).stdout.strip() == "0 0", 60, "a run that waits has what the checker has ahead of others", every=0.5)


def test_a_second_run_changes_nothing(cluster: Installed, active: str) -> None:
    before = [cluster.pid(node) for node in cluster.nodes]
    run = cluster.converge()
    assert [(task.host, task.task) for task in run.changed] == []
    assert [cluster.pid(node) for node in cluster.nodes] == before


def test_a_port_that_is_blocked_between_the_nodes_is_named(cluster: Installed, active: str) -> None:
    node = cluster.node(cluster.other(active))
    node.namespace.run("nft", "-f", "-", input="table inet blocked { chain in { type filter hook input priority 0; udp dport 7447 drop; }; }")
    try:
        until(lambda: not cluster.status(node)["peers"][0]["alive"], 30, "it still hears its peer")
        run = cluster.converge()
    finally:
        node.namespace.run("nft", "delete", "table", "inet", "blocked")
    assert [task.task for task in run.changed] == []
    warned = {task.host: str(task.result.get("msg")) for task in run.tasks if "WARNING" in str(task.result.get("msg"))}
    assert f"does not hear {active} on UDP port 7447" in warned[node.name]
    assert "firewall-cmd --permanent --add-port=7447/udp" in warned[node.name]
    assert "\n" not in warned[node.name]


def test_systemd_networkd_is_told_to_keep_rules_and_routes_of_others(cluster: Installed, active: str) -> None:
    for node in cluster.nodes:
        shown = node.run("systemd-analyze", "cat-config", "--no-pager", "systemd/networkd.conf").stdout.splitlines()
        assert {"ManageForeignRoutingPolicyRules=no", "ManageForeignRoutes=no"} <= set(shown)


def test_a_wrong_configuration_is_refused_before_anything_is_written(cluster: Installed, active: str) -> None:
    look = "cd / && find etc/holdfast opt/holdfast/bin opt/holdfast/releases usr/local/bin -type f -not -name '*.pyc' -print0 | sort -z"
    look += " | xargs -0 sha256sum; readlink opt/holdfast/collections opt/holdfast/venv"
    before = [node.run("sh", "-c", look).stdout for node in cluster.nodes]
    run = cluster.play("install", monitor_checks={"interval": -1})
    assert run.status != 0
    assert "checks.interval: this has to be a number" in run.message
    assert [node.run("sh", "-c", look).stdout for node in cluster.nodes] == before


def test_a_change_is_reloaded_and_waited_for(cluster: Installed, active: str) -> None:
    standby = cluster.node(cluster.other(active))
    pid, begin, peers = cluster.pid(standby), since_now(), standby.run("cat", "/etc/holdfast/checker.json").stdout
    cluster.variables["monitor_checks"] = {**cluster.variables["monitor_checks"], "interval": 0.6}
    cluster.variables["monitor_secrets"] = {}
    run = cluster.converge(words=("--limit", standby.name))
    assert cluster.tells(standby, begin, "ready", "reloaded"), "the role went on before the checker had reloaded"
    names = [task.task.rpartition(" : ")[2] for task in run.changed]
    assert names == ["Write the checker's configuration", "Reload it", "Remove secrets that nothing uses"]
    assert cluster.pid(standby) == pid
    assert cluster.holder() == active
    assert node_secrets(standby) == []
    after = standby.run("cat", "/etc/holdfast/checker.json").stdout
    assert json.loads(after)["peers"] == json.loads(peers)["peers"], "what is known of a node that takes no part was lost"


def test_a_change_is_reloaded_on_a_node_that_keeps_no_journal(cluster: Installed, active: str) -> None:
    node = cluster.node(cluster.other(active))
    settings = "/etc/systemd/journald.conf.d/none.conf"
    nothing = f"mkdir -p $(dirname {settings}); printf '[Journal]\\nStorage=none\\n' > {settings}; rm -rf /run/log/journal /var/log/journal"
    interval, words = cluster.variables["monitor_checks"]["interval"], ("--limit", node.name)
    busy = node.namespace.socket()
    try:
        node.run("sh", "-euc", f"{nothing}; systemctl restart systemd-journald")
        pid = cluster.pid(node)
        cluster.variables["monitor_checks"] = {**cluster.variables["monitor_checks"], "interval": 0.7}
        run = cluster.converge(words=words)
        assert "Reload it" in " ".join(task.task for task in run.changed)
        assert cluster.pid(node) == pid
        busy.bind(("127.0.0.1", 9447))
        busy.listen()
        run = cluster.play("install", words=words, monitor_metrics_listen="127.0.0.1:9447")
        assert run.status != 0
        assert f"the checker of {node.name} keeps its old configuration: " in run.message
        assert "127.0.0.1:9447 cannot be used" in run.message
        run = cluster.play("install", words=words, monitor_metrics_listen="127.0.0.1:9447")
        assert run.status != 0, "the second run passes over it"
    finally:
        busy.close()
        node.run("sh", "-euc", f"rm -f {settings}; systemctl restart systemd-journald")
        cluster.variables["monitor_checks"] = {**cluster.variables["monitor_checks"], "interval": interval}
    cluster.converge(words=words)


def node_secrets(node: BootedNode) -> list[str]:
    """The files of the folder for secrets."""
    return node.run("ls", "-A", "/etc/holdfast/secrets").stdout.split()


def test_an_upgrade_keeps_the_address_up(cluster: Installed, active: str) -> None:
    """Configuration and version change at once, and one checker does not answer while that is looked at."""
    record, node = cluster.record(), cluster.node(active)
    version = Path(cluster.variables["monitor_collection"], "README.md")
    version.write_text(version.read_text() + "\nA newer version.\n")
    cluster.variables["holdfast_resources"] = [cluster.web]
    cluster.variables["monitor_checks"] = {**cluster.variables["monitor_checks"], "interval": 0.5}
    before = [cluster.pid(one) for one in cluster.nodes]
    program = "/usr/local/bin/holdfast"
    node.run("sh", "-c", f"printf '#!/bin/sh\\nexit 1\\n' > /tmp/silent && chmod 755 /tmp/silent && mount --bind /tmp/silent {program}")

    def answer_again(task: str) -> None:
        if task.endswith("Write the configuration"):
            node.run("umount", program, check=False)

    with cluster.kernels(), cluster.lab.prober("client-c") as prober:
        run = cluster.converge(began=answer_again)
        report = prober.stop()
    print(f"{report.asked} asks, longest outage {report.longest_ms:.0f} ms")
    assert {one for one, _epoch in report.answered_by} == {active}
    assert report.longest_ms < 500, "the address moved, or went"
    cluster.stays(record)
    assert "Reload it" not in " ".join(task.task for task in run.tasks), "a restart has read the configuration already"
    for one, old in zip(cluster.nodes, before):
        pid = cluster.pid(one)
        assert pid not in (0, old)
        assert one.run("ls", "/etc/holdfast/resources").stdout.split() == ["web.json"]
        assert node_secrets(one) == []
        (release,) = one.run("ls", "/opt/holdfast/releases").stdout.split()
        (venv,) = one.run("ls", "/opt/holdfast/venvs").stdout.split()
        assert f"PYTHONPATH=/opt/holdfast/releases/{release}" in one.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
        assert one.run("cat", f"/proc/{pid}/cmdline").stdout.startswith(f"/opt/holdfast/venvs/{venv}/bin/python\0")
    until(lambda: not any(EXTRA["address"] in str(one.addresses()) for one in cluster.nodes), 2 * TTL, "the address that left is still there")


@pytest.mark.long
def test_a_run_that_was_broken_off_is_finished_by_the_next(cluster: Installed, active: str) -> None:
    """It had switched to the new version already, and the old one still runs: that is neither kept nor removed before it has ended."""
    standby = cluster.node(cluster.other(active))
    release = standby.run("readlink", "/opt/holdfast/collections").stdout.strip()
    begin, older = since_now(), "/opt/holdfast/releases/older"
    standby.run("sh", "-euc", f"cp -a {release} {older}; ln -sfn {older} /opt/holdfast/collections; systemctl kill --signal=KILL {UNIT}")
    cluster.wait_told(standby, begin, "ready")
    standby.run("ln", "-sfn", release, "/opt/holdfast/collections")
    assert f"PYTHONPATH={older}" in standby.run("cat", f"/proc/{cluster.pid(standby)}/environ").stdout.split("\0")
    run = cluster.converge(words=("--limit", standby.name))
    names = [task.task.rpartition(" : ")[2] for task in run.changed]
    assert names == ["See whether the checker that runs is of this version", "Exchange the process", "Remove versions that nothing uses"]
    assert f"PYTHONPATH={release}" in standby.run("cat", f"/proc/{cluster.pid(standby)}/environ").stdout.split("\0")
    assert standby.run("ls", "/opt/holdfast/releases").stdout.split() == [release.rpartition("/")[2]]


# --- what goes wrong ---------------------------------------------------------------------------------------------------


def repaired_in_place(cluster: Installed, name: str, *faults: str, told: tuple[str, ...]) -> None:
    """Make these faults at once; the node puts them right, and its events say what was wrong and what was done."""
    node, record, begin = cluster.node(name), cluster.record(), since_now()
    link = next(link for link, cidr in node.addresses() if cidr == cluster.lab.place.vip)
    with cluster.oracle():
        for fault in faults:
            print(strike(cluster.lab, fault))
        if faults == ("link-down",):  # brought up again, or left for the backup interface: both are well
            link = ""
        for one in told:
            cluster.wait_told(node, begin, one)
        cluster.wait_settled(name, link)
        cluster.wait_told(node, begin, "fault", "recovered")
    cluster.stays(record)


WRONG = {
    "wrong-route": "fault: leads to eni-",
    "eip-taken": "fault: is not associated with eni-",
    "sdc-on": "fault: check of eni-",
}


def test_what_is_wrong_in_the_vpc_is_put_right(cluster: Installed, active: str) -> None:
    """A run that begins at the first of them may repair all before the checker has seen the others."""
    repaired_in_place(cluster, active, *WRONG, told=(WRONG["wrong-route"], "run started", "run ended: Let route table entries"))


@pytest.mark.long
@pytest.mark.parametrize("fault", WRONG)
def test_each_of_them_alone(cluster: Installed, active: str, fault: str) -> None:
    repaired_in_place(cluster, active, fault, told=(WRONG[fault], "run started"))


@pytest.mark.parametrize("fault", ["address-deleted", "wrong-prefix", "link-down"])
def test_what_the_kernel_lacks_is_put_back_at_once(cluster: Installed, active: str, fault: str) -> None:
    repaired_in_place(cluster, active, fault, told=("fault: is not on eth" if fault != "link-down" else "fault", "reflex", "run started"))


def test_a_dependent_that_dies_is_started_again(cluster: Installed, active: str) -> None:
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    with cluster.oracle():
        node.run("systemctl", "kill", "--signal=KILL", APP)
        cluster.wait_told(node, begin, f"fault: {APP} is failed", "run started")
        assert cluster.status(node)["health"] == "failed"
        cluster.wait_settled(active)
        cluster.wait_told(node, begin, "fault", "recovered")
    cluster.stays(record)


def test_a_dependent_that_was_stopped_on_purpose_stays_stopped(cluster: Installed, active: str) -> None:
    """The status says so, and nothing is done about it."""
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    assert cluster.play("dependents", tag=TAG, state="stopped").status == 0
    until(lambda: cluster.status(node)["health"] == "unknown", 30, "the status says that all is well")
    assert any("it was stopped on purpose" in reason for reason in cluster.status(node)["reasons"])
    throughout(lambda: not cluster.is_active(node), 15, "it was started again", every=0.5)
    assert not cluster.tells(node, begin, "fault"), cluster.story()
    assert cluster.play("dependents", tag=TAG, state="started").status == 0
    cluster.wait_settled(active)
    cluster.stays(record)


def test_a_dependent_that_does_not_start_again_moves_it_to_the_other_node(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    folder = f"/etc/systemd/system/{APP}.d"
    broken = f"mkdir -p {folder} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {folder}/broken.conf && systemctl daemon-reload"
    node.run("sh", "-euc", broken)
    try:
        with cluster.oracle():
            node.run("systemctl", "kill", "--signal=KILL", APP)
            until(lambda: cluster.holder() == other, 120, cluster.story())
            cluster.wait_settled(other)
        cluster.wait_told(node, begin, f"fault: {APP} is failed", "run started", "released")
    finally:
        node.run("sh", "-euc", f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed {APP} || true")


def test_a_dead_primary_interface_moves_it_to_the_backup(cluster: Installed, active: str) -> None:
    """The node began with the kernel's defaults, so what keeps its own way to the store open, the role has set."""
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    for name in ("ignore_routes_with_linkdown", "promote_secondaries"):
        assert node.run("cat", f"/proc/sys/net/ipv4/conf/all/{name}").stdout.strip() == "1"
    link = next(link for link, cidr in node.addresses() if cidr == cluster.lab.place.vip)
    backup = "eth1" if link == "eth0" else "eth0"
    with cluster.oracle():
        print(strike(cluster.lab, "primary-dead"))
        cluster.wait_settled(active, backup)
        cluster.wait_told(node, begin, "fault", f"reflex: moved it from {link} to {backup}")
    cluster.stays(record)


def test_both_interfaces_dead_the_other_node_takes_over(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle():
        for interface in node.place.interfaces:
            cluster.lab.router.cut(interface.id)
        until(lambda: cluster.holder() == other, 60, "nobody took over")
        until(lambda: not cluster.is_active(node), 60, f"the dependent still runs on {active}")
        cluster.wait_settled(other)
    cluster.wait_told(cluster.node(other), begin, "acquired", "run ended")
    assert cluster.tells(node, begin, "lost") or cluster.tells(node, begin, "released"), cluster.story()


def test_power_off_and_return(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.power_off()
        until(lambda: cluster.holder() == other, 60, "nobody took over")
        node.configure()
        node.power_on()
        cluster.wait_settled(other)
        report = prober.stop()
        print(f"client-c was without the service for {report.longest_ms:.0f} ms")
        node.wait_until_up()
        until(lambda: cluster.status(node).get("role") == "standby", 60, "it did not come back as a standby")
        until(lambda: cluster.status(node).get("ready"), 60, "it is not ready")
        cluster.wait_settled(other)  # failback is manual
    cluster.wait_told(cluster.node(other), begin, f"peer silent: {active}", "acquired")
    cluster.wait_told(cluster.node(other), begin, "peer silent", f"peer alive: {active}")


def test_all_nodes_lose_power(cluster: Installed, active: str) -> None:
    """At the same moment. What was in memory is lost. One node has the resource after that, with its dependents, and no person was needed."""
    with cluster.oracle():
        for node in cluster.nodes:
            node.power_off()
        assert cluster.places() == set()
        for node in cluster.nodes:
            node.configure()
            node.power_on()
        for node in cluster.nodes:
            node.wait_until_up()
        name = until(lambda: next((node.name for node in cluster.nodes if cluster.status(node).get("serving")), ""), 60, "no node serves")
        cluster.wait_settled(name)
        until(lambda: cluster.status(cluster.node(cluster.other(name))).get("ready"), 60, "the other node is not ready")


def test_killed_it_is_back_before_anybody_notices(cluster: Installed, active: str) -> None:
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.run("systemctl", "kill", "--signal=KILL", UNIT)
        cluster.wait_told(node, begin, "resumed", seconds=30)
        until(lambda: cluster.status(node).get("serving"), 20, "it does not serve")
        report = prober.stop()
    print(f"longest outage {report.longest_ms:.0f} ms")
    assert report.longest_ms < 500, "a client noticed"
    assert {one for one, _epoch in report.answered_by} == {active}
    cluster.stays(record)


def test_killed_in_the_middle_of_a_recovery_it_begins_anew(cluster: Installed, active: str) -> None:
    node, record, begin = cluster.node(active), cluster.record(), since_now()
    with cluster.oracle():
        print(strike(cluster.lab, "eip-taken"))
        cluster.wait_told(node, begin, "fault", "run started")
        node.run("systemctl", "kill", "--signal=KILL", UNIT)
        for one in ("ready", "resumed"):  # by two threads, in either order
            cluster.wait_told(node, begin, "run started", one)
        cluster.wait_settled(active)
    cluster.stays(record)


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
    cluster.wait_told(cluster.node(other), begin, "acquired", "run ended")


def silence(cluster: Installed, *actions: str) -> None:
    """These calls are not answered any more, and at least one is waiting for its answer already."""
    for action in actions:
        cluster.lab.control.faults.inject(Fault("silent", action))
    until(lambda: cluster.lab.control.faults.waiting() > 0, 30, "nobody asks the API")


def test_a_store_that_is_silent_for_less_than_the_lease_is_no_event(cluster: Installed, active: str) -> None:
    node, record, begin, place = cluster.node(active), cluster.record(), since_now(), cluster.places()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        silence(cluster, "dynamodb:*")
        throughout(lambda: cluster.places() == place, TTL / 4, "the address went")
        clear(cluster.lab)
        renewed = cluster.record()
        until(lambda: cluster.record() != renewed, 10, "the lease is not renewed again")
        report = prober.stop()
    cluster.stays(record)
    assert report.longest_ms < 500
    told = {one["event"] for one in cluster.events(node, begin)}
    assert not told & {"fault", "lost", "released", "run started", "reflex"}, cluster.story()


def test_a_store_that_is_silent_for_long_leaves_it_there_while_the_peers_agree(cluster: Installed, active: str) -> None:
    node, record, begin, place = cluster.node(active), cluster.record(), since_now(), cluster.places()
    with cluster.oracle():
        silence(cluster, "dynamodb:*")
        cluster.wait_told(node, begin, 'failsafe: "on": true', seconds=30)
        throughout(lambda: cluster.places() == place, 1.5 * TTL, cluster.story)
        clear(cluster.lab)
        cluster.wait_told(node, begin, 'failsafe: "on": true', "failsafe: the store answers again", seconds=30)
    cluster.stays(record)


def test_a_store_and_peers_that_are_silent_end_it_in_time_and_it_comes_back(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    rules = "add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add rule inet lab in udp dport 7447 drop"
    with cluster.oracle():
        for one in cluster.nodes:
            one.namespace.run("nft", rules)
        try:
            cluster.wait_told(node, begin, f"peer silent: {other}", seconds=30)
            silence(cluster, "dynamodb:*")
            until(lambda: not cluster.places(), 30, "the address is still there")
            cluster.wait_told(node, begin, "peer silent", "lost", seconds=15)  # the kernel is up to a second earlier than the lease
        finally:
            for one in cluster.nodes:
                one.namespace.run("nft", "delete table inet lab")
            clear(cluster.lab)
        holder = until(cluster.holder, 60, "nobody took it up again")
        until(lambda: len(cluster.places()) == 1, 30, "the address did not come back")
    assert holder in ("node-a", "node-b")


@pytest.mark.parametrize("seconds", [pytest.param(60, marks=pytest.mark.long), 5])
def test_ec2_silent_is_unknown_and_moves_nothing(cluster: Installed, active: str, seconds: float) -> None:
    """And what the kernel lacks meanwhile is put back all the same; what needs EC2 waits for it."""
    node, record, begin, place = cluster.node(active), cluster.record(), since_now(), cluster.places()

    def is_well() -> bool:
        told = cluster.status(node)
        return cluster.places() == place and told.get("health") != "failed"

    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        silence(cluster, "Describe*", "Replace*", "Associate*", "Modify*")
        until(lambda: (cluster.status(node).get("ec2") or {}).get("error"), 60, "the status does not tell")
        throughout(is_well, seconds, cluster.story, every=0.5)
        assert not cluster.tells(node, begin, "fault"), cluster.story()
        print(strike(cluster.lab, "address-deleted"))
        cluster.wait_told(node, begin, "fault: is not on eth", "reflex")
        throughout(is_well, seconds, cluster.story, every=0.5)
        clear(cluster.lab)
        until(lambda: not (cluster.status(node).get("ec2") or {"error": "-"}).get("error"), 60, "it does not see that EC2 answers again")
        report = prober.stop()
        cluster.wait_settled(active)
    cluster.stays(record)
    assert report.longest_ms < 1000


def test_a_switchover_from_a_controller(cluster: Installed, active: str) -> None:
    """The playbook has it released; the other node's own run, which stood ready, does the rest, and what depends on it is started once."""
    node, other = cluster.node(active), cluster.node(cluster.other(active))
    until(lambda: cluster.status(other).get("takes_over"), 60, "no run stands ready there")
    begin = since_now()
    starts = other.run("sh", "-c", "cat /var/log/app | grep -c started || true").stdout
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        run = cluster.play("switchover", tag=TAG, to=other.name)
        report = prober.stop()
    assert run.status == 0, run.message or run.other
    print(f"client-c was without the service for {report.longest_ms:.0f} ms")
    cluster.wait_settled(other.name)
    assert int(other.run("grep", "-c", "started", "/var/log/app").stdout) == int(starts) + 1
    for place, wanted in ((node, ["released"]), (other, ["acquired", 'takeover: "ok": true', 'run started: "armed": true', 'run ended: "ok": true'])):
        assert cluster.tells(place, begin, *wanted), cluster.story()


@pytest.mark.long
def test_systemctl_stop_hands_over_in_order(cluster: Installed, active: str) -> None:
    node, other, begin = cluster.node(active), cluster.other(active), since_now()
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        node.run("systemctl", "stop", UNIT)
        cluster.wait_settled(other)
        report = prober.stop()
    print(f"client-c was without the service for {report.longest_ms:.0f} ms")
    assert not cluster.is_active(node)
    cluster.wait_told(node, begin, "released", f"handed over: {other}", "stopped")
    times = {one.name: one.run("tail", "-n", "1", "/var/log/app").stdout.split() for one in cluster.nodes}
    assert (times[active][1], times[other][1]) == ("stopped", "started")
    assert float(times[active][0]) <= float(times[other][0]), f"{APP} was started on {other} before it was stopped on {active}"
