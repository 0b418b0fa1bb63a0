# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that are down or dead: bounced, or left for the backup interface with everything that belongs to the address."""

from __future__ import annotations

import json

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, told
from ansible_collections.holdfast.ha.tests.integration.recovery.world import ABSENT
from lab.faults import active, strike

ADDRESS = "ip_address"
MOVE = "ip_swap_interface"


def leaves_by(cluster: Cluster, source: str, target: str) -> str:
    """The link by which the node's kernel sends what comes from ``source``."""
    found = json.loads(cluster.node_a.run("ip", "-j", "route", "get", target, "from", source.partition("/")[0]).stdout)
    return str(found[0]["dev"])


@pytest.mark.scenario("C4", "C10")
def test_dead_primary_everything_follows_to_the_backup_and_stays_there(cluster: Cluster) -> None:
    lab, place = cluster.lab, cluster.lab.place
    primary, backup = cluster.interface("eth0"), cluster.interface("eth1")
    strike(lab, "primary-dead")
    assert cluster.who_answers(*cluster.clients) == [set(), set(), set(), set()]

    run = cluster.recover(cluster.web, cluster.web6)

    assert run.status == 0, run.message
    assert changed(run).count(MOVE) == 2
    cluster.assert_served()
    after = {subject: new for subject, (_old, new) in cluster.changes().items()}
    for vip, width in ((place.vip, "32"), (place.vip6, "128")):
        assert after.pop(("address", "node-a", "eth0", vip)) == ABSENT
        assert after.pop(("address", "node-a", "eth1", vip)) == "for ever"
        assert width in vip
        for _machine, table in place.route_tables:
            assert after.pop(("route", table, vip)) == f"{backup} active"
    assert after.pop(("source/dest check", backup)) == "off"
    assert after.pop(("elastic ip", place.elastic_ip)) == f"{backup} {place.machine('node-a').interface('eth1').address}"
    for tag in ("web", "web6"):
        state = json.loads(after.pop(("file", "node-a", f"var/lib/holdfast/{tag}.json")))
        assert (state["interface"], state["backup_interface"], state["in_service"]) == ("eth1", "eth0", True)
    assert {subject[:2] for subject in after} <= {("link", "node-a"), ("rule", "node-a"), ("kernel route", "node-a")}, "something else has changed"
    assert ("source/dest check", primary) not in after
    assert told(run, "ip_resource_info").result["resources"][0]["info"].split()[1:] == ["eth1", place.vip6.partition("/")[0], "128", "eth0"]

    settled = cluster.node_a.addresses()
    for state in ("still dead", "mended"):
        if state == "mended":
            lab.router.mend(primary)
        again = cluster.recover(cluster.web)
        assert (again.status, changed(again), cluster.writes()) == (0, [], []), (state, again.message)
        assert active(lab) == (cluster.node_a, "eth1")
    assert cluster.node_a.addresses() == settled
    cluster.assert_served()
    client = place.machine("client-c").interface("eth0").address
    assert leaves_by(cluster, place.vip, client) == "eth1"
    assert leaves_by(cluster, place.machine("node-a").interface("eth1").address, "198.51.100.2") == "eth1"
    assert leaves_by(cluster, place.machine("node-a").interface("eth0").address, client) == "eth0", "what is not ours goes its own way"
    info = json.loads(cluster.node_a.run("cat", "/var/lib/holdfast/web.json").stdout)
    assert (info["interface"], info["backup_interface"]) == ("eth1", "eth0")


def test_link_that_was_set_down_is_brought_up(cluster: Cluster) -> None:
    strike(cluster.lab, "link-down")
    assert cluster.who_answers(*cluster.clients) == [set(), set(), set(), set()]

    run = cluster.recover(cluster.web)

    assert run.status == 0, run.message
    assert MOVE not in changed(run)
    assert active(cluster.lab) == (cluster.node_a, "eth0")
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)
    kinds = {subject[0] for subject in cluster.changes()}
    assert kinds <= {"rule", "kernel route", "address"}, kinds  # the kernel drops a downed link's IPv6 addresses and routes


def test_both_links_dead_fails_in_one_line_and_changes_nothing(cluster: Cluster) -> None:
    cluster.lab.router.cut(cluster.interface("eth1"))
    strike(cluster.lab, "primary-dead")
    broken = cluster.changes()

    run = cluster.recover(cluster.web)

    assert run.status != 0
    assert run.message.startswith("web: eth1 has no carrier")
    assert cluster.writes() == []
    assert {subject: change for subject, change in cluster.changes().items() if subject not in broken} == {}
    assert active(cluster.lab) == (cluster.node_a, "eth0")


def test_probe_that_fails_on_the_backup_too_rolls_back(cluster: Cluster) -> None:
    nobody = {"targets": ["10.0.1.99"], "tries": 1, "timeout": 0.3}

    run = cluster.recover({**cluster.web, "probe": nobody})

    assert run.status != 0
    assert "10.0.1.99 did not answer" in run.message
    assert "back on eth0" in run.message
    assert (changed(run), cluster.writes()) == ([], [])
    assert cluster.changes() == {}
    cluster.assert_served()


def test_duplicate_on_the_link_is_refused_and_moves_nothing(cluster: Cluster) -> None:
    strike(cluster.lab, "duplicate")
    broken = cluster.changes()

    run = cluster.recover(cluster.web, cluster.web6)

    assert run.status != 0
    for tag, vip in (("web", cluster.lab.place.vip), ("web6", cluster.lab.place.vip6)):
        assert f"{tag}: " in run.message
        assert vip.partition("/")[0] in run.message
    assert (changed(run), cluster.writes()) == ([], [])
    assert cluster.changes() == broken


def test_interface_overridden_for_a_host_takes_everything(cluster: Cluster) -> None:
    here = {"web": {"interface": "eth1", "backup_interface": "eth0"}}

    run = cluster.recover(cluster.web, holdfast_resource_overrides=here)

    assert run.status == 0, run.message
    assert active(cluster.lab) == (cluster.node_a, "eth1")
    assert changed(run)[0] == ADDRESS
    assert cluster.writes() == ["AssociateAddress", "ModifyNetworkInterfaceAttribute", *["ReplaceRoute"] * 3]
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)
