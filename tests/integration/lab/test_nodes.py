# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: what their network looks like, their way to EC2, their service, and SSH."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from lab.vpc import Lab

_BOTO = "import boto3; print(boto3.client('ec2').describe_network_interfaces()['NetworkInterfaces'][0]['VpcId'])"


def test_a_node_looks_like_a_cloud_image(lab: Lab):
    node = lab.node_a
    assert node.run("hostname").stdout == "node-a\n"
    assert node.run("ls", "/sys/class/net").stdout.split() == ["eth0", "eth1", "lo"]
    links = {one["ifname"]: one["address"] for one in json.loads(node.namespace.ip("-j link"))}
    assert [links["eth0"], links["eth1"]] == [one.mac for one in node.place.interfaces]
    routes = json.loads(node.namespace.ip("-j route show default"))
    assert [(one["dev"], one["gateway"], one["metric"]) for one in routes] == [("eth0", "10.0.1.1", 100), ("eth1", "10.0.1.1", 200)]
    routes6 = json.loads(node.namespace.ip("-j -6 route show default"))
    assert [(one["dev"], one["gateway"], one["metric"]) for one in routes6] == [("eth0", "fe80::1", 100), ("eth1", "fe80::1", 200)]
    assert node.run("cat", "/proc/sys/net/ipv4/conf/eth0/ignore_routes_with_linkdown").stdout == "1\n"


def test_state_on_one_node_is_not_on_another(lab: Lab):
    for folder in ("/etc/holdfast", "/var/lib/holdfast", "/run/holdfast"):
        lab.node_a.run("touch", f"{folder}/mine")
        assert lab.node_b.run("ls", folder).stdout == ""
        assert not (Path(folder) / "mine").exists()


@pytest.mark.parametrize("dead", [None, "eth0"])
def test_boto3_reaches_ec2_with_the_credentials_of_instance_metadata(lab: Lab, dead):
    if dead:
        lab.router.cut(lab.node_a.place.interface(dead).id)
    assert lab.node_a.run("python", "-c", _BOTO).stdout.strip() == lab.place.vpc_id
    (call,) = lab.control.calls.all("DescribeNetworkInterfaces")
    assert call.access_key.startswith("ASIA")
    assert call.source == lab.node_a.place.interface("eth1" if dead else "eth0").address


@pytest.mark.scenario("E5")
def test_the_nodes_role_may_do_no_more_than_it_needs(lab: Lab):
    done = lab.node_a.run("python", "-c", "import boto3; boto3.client('ec2').delete_vpc(VpcId='vpc-0123456789abcdef0')", check=False)
    assert "UnauthorizedOperation" in done.stderr


@pytest.mark.parametrize("address", ["10.1.0.10", "fd00:1::10", "10.0.1.12"])
def test_the_service_answers_from_the_address_that_was_asked(lab: Lab, address):
    if address == "10.0.1.12":  # asked on the second interface, it answers from there as well
        lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=lab.node_a.place.interface("eth0").id, SourceDestCheck={"Value": False})
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    lab.node_a.set_epoch(7)
    with lab.client.namespace.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2)
        asker.sendto(b"5", (address, 7000))
        answer, source = asker.recvfrom(100)
    assert (answer, source[0]) == (b"node-a 7 5", address)
    with lab.client.namespace.socket(family) as caller:
        caller.settimeout(2)
        caller.connect((address, 7000))
        assert caller.recv(100) == b"node-a 7\n"


def test_ssh_with_the_labs_key_alone(lab: Lab):
    done = lab.ssh("node-b", "hostname; echo $AWS_ENDPOINT_URL; ls /var/lib/holdfast; ls /sys/class/net | tr '\\n' ' '")
    assert done.stdout.split() == ["node-b", "http://198.18.0.1", "eth0", "eth1", "lo"]
    settings = ("BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "UserKnownHostsFile=/dev/null")
    options = [word for one in settings for word in ("-o", one)]
    refused = lab.router.namespace.run("ssh", "-F", "/dev/null", *options, "-i", str(lab.keys.host), "root@10.0.2.21", "true", check=False)
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_ansible_reaches_a_node_over_ssh(lab: Lab, tmp_path: Path):
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps(lab.inventory()))
    argv = ["ansible", "-i", str(inventory), "all", "-m", "command", "-a", "hostname"]
    (tmp_path / "ansible.cfg").write_text("")
    environment = {**lab.node_a.environment, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "home")}
    done = lab.router.namespace.run(*argv, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"node-a", "node-b"} <= set(done.stdout.split())
