# SPDX-License-Identifier: GPL-3.0-or-later
"""The VPC's data plane with real packets: what the control plane says is what happens to them, from the next one on."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import pytest

from harness.marks import STALLS
from lab import faults
from lab.vpc import Lab

pytestmark = STALLS

A, B, NOBODY = {"node-a"}, {"node-b"}, set[str]()


def test_everybody_reaches_the_service_at_first(lab: Lab, who_answers):
    place = lab.place
    questions = [("client-c", place.vip), ("client-c", place.vip6), ("node-b", place.vip), ("node-b", place.vip6), ("outside", place.elastic_ip)]
    assert who_answers(*questions) == [A] * 5


def test_a_forgotten_table_loses_the_service_for_its_subnet_alone(lab: Lab, who_answers):
    faults.strike(lab, "forgotten-table")
    place = lab.place
    assert who_answers(("client-c", place.vip), ("client-c", place.vip6), ("node-b", place.vip), ("node-b", place.vip6)) == [NOBODY, NOBODY, A, A]


def test_source_dest_check_lets_only_own_addresses_pass(lab: Lab, who_answers):
    faults.strike(lab, "sdc-on")
    own = lab.place.machine("node-a").interface("eth0")
    questions = [("client-c", lab.place.vip), ("client-c", lab.place.vip6), ("client-c", own.address), ("client-c", own.ipv6_address)]
    assert who_answers(*questions) == [NOBODY, NOBODY, A, A]
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=own.id, SourceDestCheck={"Value": False})
    assert who_answers(*questions) == [A] * 4


@pytest.mark.parametrize("family", [4, 6])
def test_source_dest_check_stops_foreign_sources_too(lab: Lab, who_answers, family):
    """The address is on the backup, whose check is off, but replies leave by the first interface, whose check is on."""
    node = lab.node_a
    eth0, eth1 = node.place.interfaces
    vip = lab.place.vip if family == 4 else lab.place.vip6
    node.drop(vip)
    node.hold(vip, "eth1")
    parameter = "DestinationCidrBlock" if family == 4 else "DestinationIpv6CidrBlock"
    lab.ec2.replace_route(RouteTableId=lab.place.table("client-c"), NetworkInterfaceId=eth1.id, **{parameter: vip})
    for interface, check in ((eth0, True), (eth1, False)):
        lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface.id, SourceDestCheck={"Value": check})
    assert who_answers(("client-c", vip)) == [NOBODY]
    plain, words = vip.partition("/")[0], "ip" if family == 4 else "ip -6"
    gateway = "10.0.1.1" if family == 4 else "fe80::1"
    node.run(*f"{words} rule add from {plain} lookup 77".split())
    node.run(*f"{words} route add default via {gateway} dev eth1 table 77".split())
    try:
        assert who_answers(("client-c", vip)) == [A]
    finally:
        node.run(*f"{words} rule del from {plain} lookup 77".split())
        node.run(*f"{words} route flush table 77".split())


def test_packets_go_to_the_interface_that_the_route_names_and_to_no_other(lab: Lab, who_answers):
    """A VPC maps addresses to interfaces; it does not ask who has one. Here the second interface's link is down, the address on the first."""
    eth1 = lab.node_a.place.interfaces[1]
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=eth1.id, SourceDestCheck={"Value": False})
    lab.ec2.replace_route(RouteTableId=lab.place.table("client-c"), DestinationCidrBlock=lab.place.vip, NetworkInterfaceId=eth1.id)
    assert who_answers(("client-c", lab.place.vip)) == [A]  # Linux takes a packet for any of its addresses on any of its links
    lab.node_a.namespace.ip("link set eth1 down")
    assert who_answers(("client-c", lab.place.vip), ("node-b", lab.place.vip)) == [NOBODY, A]


def test_a_route_target_holds_from_the_next_packet_on(lab: Lab):
    lab.node_b.hold(lab.place.vip, "eth0")
    target = lab.place.machine("node-b").interface("eth0")
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=target.id, SourceDestCheck={"Value": False})
    with lab.prober("client-c") as prober:
        prober.wait_until_answered(2, by="node-a")
        lab.ec2.replace_route(RouteTableId=lab.place.table("client-c"), DestinationCidrBlock=lab.place.vip, NetworkInterfaceId=target.id)
        replied = time.monotonic()
        prober.wait_until_answered(2, by="node-b", since=replied)
        report = prober.stop()
    assert {one.node for one in report.answers if one.asked > replied} == B
    assert report.answered_by == (("node-a", 0), ("node-b", 0))


def test_an_elastic_ip_follows_its_association_at_once(lab: Lab):
    with lab.prober("outside") as prober:
        prober.wait_until_answered(2, by="node-a")
        faults.strike(lab, "eip-taken")
        replied = time.monotonic()
        prober.wait_until_answered(2, by="node-b", since=replied)
        report = prober.stop()
    assert {one.node for one in report.answers if one.asked > replied} == B
    assert report.longest_ms < 100


def test_an_elastic_ip_without_association_leads_nowhere(lab: Lab, who_answers):
    association = lab.ec2.describe_addresses(AllocationIds=[lab.place.allocation_id])["Addresses"][0]["AssociationId"]
    lab.ec2.disassociate_address(AssociationId=association)
    assert who_answers(("outside", lab.place.elastic_ip), ("outside", lab.place.machine("node-a").interface("eth0").ipv6_address)) == [NOBODY, A]


def test_private_addresses_are_not_reached_from_the_internet(lab: Lab, who_answers):
    private = lab.place.machine("node-a").interface("eth0").address
    assert who_answers(("outside", private), ("outside", lab.place.vip), ("outside", lab.place.vip6)) == [NOBODY] * 3


def test_what_a_node_sends_to_the_internet_comes_from_its_elastic_ip(lab: Lab):
    """And a node without one sends in vain, as without a NAT gateway."""
    with lab.outside.socket(kind=2) as listener:
        listener.bind(("198.51.100.2", 7001))
        listener.settimeout(2)
        for node, message in ((lab.node_b, b"in vain"), (lab.node_a, b"heard")):
            with node.namespace.socket(kind=2) as sender:
                sender.sendto(message, ("198.51.100.2", 7001))
        heard, (source, _port) = listener.recvfrom(100)
    assert (heard, source) == (b"heard", lab.place.elastic_ip)


def test_a_route_to_a_deleted_interface_is_a_black_hole(lab: Lab, who_answers):
    faults.strike(lab, "route-blackhole")
    assert who_answers(("client-c", lab.place.vip), ("client-c", lab.place.vip6)) == [NOBODY, NOBODY]


def test_a_stopped_instance_gets_no_packets(lab: Lab, who_answers):
    node = lab.place.machine("node-a")
    lab.ec2.stop_instances(InstanceIds=[node.instance_id])
    other = lab.place.machine("node-b").interface("eth0").address
    questions = [("client-c", lab.place.vip), ("client-c", node.interface("eth0").address), ("client-c", other)]
    try:
        assert who_answers(*questions) == [NOBODY, NOBODY, B]
    finally:
        lab.ec2.get_waiter("instance_stopped").wait(InstanceIds=[node.instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        lab.ec2.start_instances(InstanceIds=[node.instance_id])
    assert who_answers(*questions) == [A, A, B]


def test_each_subnets_router_answers_and_nobody_answers_for_foreign_addresses(lab: Lab):
    for machine, router in (("node-a", "10.0.1.1"), ("node-b", "10.0.2.1"), ("client-c", "10.0.3.1"), ("client-c", "fe80::1%eth0")):
        lab.namespace(machine).run("ping", "-c", "1", "-W", "1", router)
    # A neighbour of the same subnet is answered for; an address of another network is not, although a route leads to it.
    node = lab.node_b.namespace
    node.run("ping", "-I", "eth0", "-c", "1", "-W", "1", "10.0.2.1")
    node.ip("route add 10.1.0.10/32 dev eth0 scope link")
    try:
        assert node.run("ping", "-c", "1", "-W", "1", "10.1.0.10", check=False).returncode != 0
        assert "FAILED" in node.ip("neigh show 10.1.0.10 dev eth0") or "INCOMPLETE" in node.ip("neigh show 10.1.0.10 dev eth0")
    finally:
        node.ip("route del 10.1.0.10/32 dev eth0 scope link")


def test_a_dead_primary_stays_dead_when_it_is_bounced_and_the_api_is_reached_by_the_other(lab: Lab):
    node = lab.node_a
    faults.strike(lab, "primary-dead")
    for words in ("link set eth0 down", "link set eth0 up"):
        node.namespace.ip(words)
    assert "NO-CARRIER" in node.namespace.ip("link show eth0")
    assert node.run("cat", "/sys/class/net/eth0/carrier").stdout == "0\n"
    node.configure()  # what a network manager puts back: routes over a link without carrier are not used
    assert "dev eth1" in node.namespace.ip("route get 198.18.0.1")
    assert node.run("curl", "-sS", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", "http://198.18.0.1/").stdout != "000"
    faults.strike(lab, "clear")
    assert "NO-CARRIER" not in node.namespace.ip("link show eth0")


def test_link_down_takes_the_default_route_with_it(lab: Lab):
    before = lab.node_a.namespace.ip("route show default")
    faults.strike(lab, "link-down")
    after = lab.node_a.namespace.ip("route show default")
    assert "dev eth0" in before
    assert "dev eth0" not in after
    assert "dev eth1" in after


def test_a_duplicate_answers_for_the_address_on_the_link(lab: Lab):
    faults.strike(lab, "duplicate")
    node = lab.node_a.namespace
    node.ip("-6 addr add fd00:1::10/128 dev eth0")  # with duplicate address detection
    node.ip("route add 10.1.0.10/32 dev eth0 scope link src 10.0.1.11")
    try:
        node.run("ping", "-c", "1", "-W", "1", "10.1.0.10")
        end = time.monotonic() + 5
        while "dadfailed" not in node.ip("-6 addr show dev eth0") and time.monotonic() < end:
            time.sleep(0.05)
        assert "dadfailed" in node.ip("-6 addr show dev eth0")
    finally:
        node.ip("route del 10.1.0.10/32 dev eth0 scope link")


def test_following_a_change_takes_little_time_whatever_the_number_of_tables(lab: Lab):
    """Only tables that a subnet uses are forwarded by, so 250 of them cost what three do. Bound: 50 ms; some 15 ms on two cores."""
    eth1 = lab.place.machine("node-a").interface("eth1")
    subnets = tuple(
        replace(one, routes=tuple(replace(route, target=eth1.id) if route.destination == lab.place.vip else route for route in one.routes))
        for one in lab.view.subnets
    )
    checks = tuple(replace(one, source_dest_check=not one.source_dest_check) for one in lab.view.interfaces)
    changed = replace(lab.view, subnets=subnets, interfaces=checks)
    took = []
    for number in range(20):
        begin = time.perf_counter()
        lab.router.apply(changed if number % 2 == 0 else lab.view)
        took.append(time.perf_counter() - begin)
    assert statistics.median(took) < 0.05, took
    took = []
    for _number in range(5):
        begin = time.perf_counter()
        lab.router.apply(lab.view)
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.005, "nothing changed, so nothing is to be done"
