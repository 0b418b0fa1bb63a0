# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_local_eni_info and the `interface` option, in a namespace whose links have the MAC addresses of the network interfaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.control.http import HttpServer
from lab.imds import Identity, Imds
from lab.netns import Namespace

from .conftest import VIP, World

MODULE = "ec2_local_eni_info"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


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
