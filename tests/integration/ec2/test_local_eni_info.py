# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_local_eni_info and the `interface` option, in a namespace whose links have the MAC addresses of the network interfaces."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.control.http import HttpReply, HttpRequest, HttpServer
from lab.imds import Identity, Imds
from lab.netns import Namespace

from .conftest import VIP, World

MODULE = "ec2_local_eni_info"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.mark.python39
def test_interfaces_of_this_instance(world: World) -> None:
    """Without a link that has their MAC addresses."""
    answer = world.run(MODULE)
    assert not answer["failed"], answer
    assert not answer["changed"], answer
    assert (answer["instance_id"], answer["region"]) == (world.instances[0], world.plane.region)
    assert answer["availability_zone"].startswith(world.plane.region)
    first, second = answer["network_interfaces"]
    assert (first["network_interface_id"], first["primary"], first["device_number"], first["interface"]) == (world.ours, True, 0, None)
    assert (second["network_interface_id"], second["primary"], second["device_number"]) == (world.second, False, 1)
    assert (first["vpc_id"], first["vpc_cidrs"], first["subnet_cidr"], first["gateway"]) == (world.vpc, ["10.0.0.0/16"], "10.0.1.0/24", "10.0.1.1")
    assert len(first["private_ip_addresses"]) == 1
    assert first["gateway_ipv6"] is None
    assert world.plane.calls.all() == [], "no API call is needed"


def test_not_on_ec2(world: World) -> None:
    answer = world.run(MODULE, env={**world.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"})
    assert answer["failed"]
    assert "run this on the EC2 instance" in answer["msg"]


@contextmanager
def metadata_at(world: World, listener: socket.socket, without: str = "") -> Iterator[None]:
    """The metadata service of the first instance on a bound socket; it has nothing at paths with ``without`` in them."""
    metadata = Imds(Identity(world.instances[0], "node"), lambda: world.plane.snapshot(world.vpc), world.plane.issue)

    def answer(request: HttpRequest) -> HttpReply:
        return HttpReply(404, b"", "text/html") if without and without in request.path else metadata.answer(request)

    server = HttpServer(answer)
    listener.listen(16)
    server.listen(listener)
    yield
    server.stop()
    metadata.stop()


@pytest.fixture
def node(world: World) -> Iterator[Namespace]:
    """eth0 and eth1 with the MAC addresses of ours and second; br0 above eth0; the control plane and metadata inside."""
    macs = {one.id: one.mac for one in world.plane.snapshot(world.vpc).interfaces}
    with Namespace(f"ec2t-{os.getpid()}") as namespace:
        for name, eni in (("eth0", world.ours), ("eth1", world.second)):
            namespace.ip(f"link add {name} address {macs[eni]} type veth peer name peer{name}")
        namespace.ip("link add br0 type bridge")
        namespace.ip("link set eth0 master br0")
        for listener, serve in ((namespace.socket(), None), (namespace.socket(), world)):
            listener.bind(("127.0.0.1", 8001 if serve else 8000))
            listener.listen(16)
            if serve:
                world.plane.serve([listener])
            else:
                metadata = Imds(Identity(world.instances[0], "node"), lambda: world.plane.snapshot(world.vpc), world.plane.issue)
                server = HttpServer(metadata.answer)
                server.listen(listener)
        yield namespace
        server.stop()
        metadata.stop()


def _env(world: World) -> dict[str, str]:
    return {**world.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:8000", "AWS_ENDPOINT_URL": "http://127.0.0.1:8001"}


def test_links_are_found_by_mac(world: World, node: Namespace) -> None:
    answer = world.run(MODULE, env=_env(world), where=node)
    found = [(eni["network_interface_id"], eni["interface"]) for eni in answer["network_interfaces"]]
    assert found == [(world.ours, "eth0"), (world.second, "eth1")]
    one = world.run(MODULE, {"interface": "eth1"}, env=_env(world), where=node)
    assert [eni["network_interface_id"] for eni in one["network_interfaces"]] == [world.second]
    above = world.run(MODULE, {"interface": "br0"}, env=_env(world), where=node)
    assert [eni["network_interface_id"] for eni in above["network_interfaces"]] == [world.ours]


@pytest.mark.parametrize("leaf", ["", "device-number", "interface-id"])
def test_an_interface_that_is_being_detached_is_left_out(world: World, node: Namespace, leaf: str) -> None:
    """For minutes, metadata lists its MAC address without its details. The other interfaces are served all the same."""
    table = world.add_tables(1, {VIP: world.theirs})[0]
    mac = {one.id: one.mac for one in world.plane.snapshot(world.vpc).interfaces}[world.second]
    listener = node.socket()
    listener.bind(("127.0.0.1", 8002))
    env = {**_env(world), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:8002"}
    with metadata_at(world, listener, without=f"{mac}/{leaf}"):
        found = world.run(MODULE, env=env, where=node)
        assert [eni["network_interface_id"] for eni in found["network_interfaces"]] == [world.ours], found
        led = world.run("ec2_route_target", {"destinations": [VIP], "interface": "eth0"}, env=env, where=node)
        assert led["changed"], led
        assert world.routes()[table, VIP][0] == world.ours
        refused = world.run(MODULE, {"interface": "eth1"}, env=env, where=node)
        assert refused["failed"], refused
        assert f"nothing at network/interfaces/macs/{mac}/{leaf}" in refused["msg"]


def test_metadata_over_ipv6(world: World, node: Namespace) -> None:
    node.ip("address add fd00:ec2::254/128 dev lo")
    listener = node.socket(socket.AF_INET6)
    listener.bind(("fd00:ec2::254", 80))
    env = {name: value for name, value in _env(world).items() if name != "AWS_EC2_METADATA_SERVICE_ENDPOINT"}
    with metadata_at(world, listener):
        answer = world.run(MODULE, env={**env, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, where=node)
        assert answer.get("instance_id") == world.instances[0], answer
        plain = world.run(MODULE, env={**env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[fd00:ec2::254]"}, where=node)
        assert plain.get("instance_id") == world.instances[0], plain
        assert world.run(MODULE, env=env, where=node)["failed"], "nothing answers over IPv4 here"


def test_an_endpoint_of_ec2_with_a_full_name_is_not_asked_for_a_role(world: World, node: Namespace, tmp_path: Path) -> None:
    """A private name in front of EC2's endpoint in the VPC. STS has an endpoint of its own."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost ec2.corp.example\n")
    node.run("mount", "--bind", str(hosts), "/etc/hosts")
    world.add_tables(1, {VIP: world.theirs})
    world.plane.set_policy("routes", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]})
    world.plane.set_trust("routes")
    ask = {"destinations": [VIP], "endpoint_url": "http://ec2.corp.example:8001", "role_arn": world.plane.role_arn("routes")}
    env = {name: value for name, value in _env(world).items() if name != "AWS_ENDPOINT_URL"}
    alone = world.run("ec2_route_target", ask, env=env, where=node, check=True)
    assert alone["failed"], alone
    assert f"cannot reach https://sts.{world.plane.region}.amazonaws.com;" in alone["msg"], alone
    assert world.plane.calls.all() == []
    given = world.run("ec2_route_target", ask, env={**env, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:8001"}, where=node)
    assert given["changed"], given
    emulator = world.run("ec2_route_target", {**ask, "endpoint_url": "http://127.0.0.1:8001"}, env=env, where=node)
    assert (emulator["failed"], world.plane.calls.count("sts:AssumeRole")) == (False, 1), emulator
    (tmp_path / "config").write_text("[default]\nservices = here\n[services here]\nsts =\n  endpoint_url = http://127.0.0.1:8001\n")
    configured = world.run("ec2_route_target", ask, env={**env, "AWS_CONFIG_FILE": str(tmp_path / "config")}, where=node)
    assert (configured["failed"], world.plane.calls.count("sts:AssumeRole")) == (False, 1), configured


@pytest.mark.parametrize(("link", "words"), [("peereth0", "no network interface of EC2 behind it"), ("eth7", "no link eth7")])
def test_links_without_a_network_interface(world: World, node: Namespace, link: str, words: str) -> None:
    for module, more in ((MODULE, {}), ("ec2_source_dest_check", {})):
        answer = world.run(module, {"interface": link, **more}, env=_env(world), where=node)
        assert answer["failed"], answer
        assert words in answer["msg"], answer
        assert "eth0, eth1" in answer["msg"], answer


def test_the_modules_follow_the_link(world: World, node: Namespace) -> None:
    table = world.add_tables(1, {VIP: world.theirs})[0]
    elastic = world.ec2.allocate_address(Domain="vpc")["PublicIp"]
    for module, args in (
        ("ec2_route_target", {"destinations": [VIP]}),
        ("ec2_source_dest_check", {}),
        ("ec2_eip_association", {"public_ip": elastic}),
    ):
        answer = world.run(module, {**args, "interface": "eth1"}, env=_env(world), where=node)
        assert answer["changed"], answer
        assert not answer["failed"], answer
    after = world.everything()
    assert after["routes"][table, VIP][0] == world.second
    assert after["checks"] == {world.ours: True, world.second: False, world.theirs: True}
    assert after["elastic"][elastic][0] == world.second


@pytest.mark.parametrize("library", ["boto3", "botocore", "netaddr"])
@pytest.mark.parametrize("module", ["ec2_route_target", "ec2_source_dest_check", "ec2_eip_association", MODULE])
def test_a_library_is_missing(world: World, tmp_path: Path, library: str, module: str) -> None:
    """One line that names it; the information module needs netaddr alone."""
    (tmp_path / f"{library}.py").write_text("raise ImportError('hidden by the test')\n")
    args = {"ec2_route_target": {"destinations": [VIP]}, "ec2_eip_association": {"public_ip": "203.0.113.5"}}.get(module, {})
    env = {**world.env, "PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[3] / '.tree'}"}
    answer = world.run(module, args, env=env)
    if module == MODULE and library != "netaddr":
        assert not answer["failed"], answer
    else:
        assert answer["failed"], answer
        assert ("boto3" if library == "botocore" else library) in answer["msg"], answer
        assert world.plane.calls.all() == []
