# SPDX-License-Identifier: GPL-3.0-or-later
"""Instance metadata, version 2: its rules over HTTP from inside a node, and what it says."""

from __future__ import annotations

import json
import socket
from datetime import datetime, timezone

import pytest

from lab import metadata
from lab.control import Credentials
from lab.control.http import HttpRequest
from lab.imds import ADDRESS, Identity, Imds
from lab.vpc import Lab

TOKEN, TTL = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"


class Client:
    """Speaks to a metadata service by its HTTP interface, without a network, with a clock of its own."""

    def __init__(self, lab: Lab, lifetime: int = 3600) -> None:
        self.now = 0.0
        self.issued: list[Credentials] = []
        self.place = lab.place.machine("node-a")

        def issue(role: str, seconds: float) -> Credentials:
            self.issued.append(lab.control.issue(role, seconds))
            return self.issued[-1]

        self.imds = Imds(Identity(self.place.instance_id, "holdfast-node", lifetime=lifetime), lambda: lab.view, issue, lambda: self.now)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with socket.socket() as connection:
            reply = self.imds.answer(HttpRequest(method, path, "", named, b"", "10.0.1.11", connection))
        return reply.status, reply.body.decode()

    def token(self, seconds: int = 60) -> str:
        status, token = self.ask("PUT", "/latest/api/token", **{TTL: str(seconds)})
        assert status == 200
        return token

    def get(self, path: str) -> tuple[int, str]:
        return self.ask("GET", f"/latest/{path}", **{TOKEN: self.token()})


@pytest.fixture
def client(lab: Lab) -> Client:
    return Client(lab)


@pytest.mark.parametrize("ttl", ["", "0", "-1", "21601", "x", "1.5", "٣", "9" * 5000])
def test_a_token_needs_a_lifetime_within_bounds(client, ttl):
    assert client.ask("PUT", "/latest/api/token", **{TTL: ttl})[0] == 400


def test_a_token_is_not_given_without_the_header_by_get_or_through_a_proxy(client):
    assert client.ask("PUT", "/latest/api/token")[0] == 400
    assert client.ask("GET", "/latest/api/token", **{TTL: "60"})[0] == 405
    assert client.ask("PUT", "/latest/api/token", **{TTL: "60", "x-forwarded-for": "10.0.0.1"})[0] == 403


def test_every_read_needs_a_token_that_has_not_run_out(client):
    path = "/latest/meta-data/instance-id"
    assert client.ask("GET", path)[0] == 401
    assert client.ask("GET", path, **{TOKEN: "made-up"})[0] == 401
    token = client.token(seconds=60)
    assert client.ask("GET", path, **{TOKEN: token}) == (200, client.place.instance_id)
    client.now = 59.9
    assert client.ask("GET", path, **{TOKEN: token})[0] == 200
    client.now = 60.0
    assert client.ask("GET", path, **{TOKEN: token})[0] == 401


def test_what_it_says_of_the_interfaces(client, lab):
    eth0, eth1 = client.place.interfaces
    base = "meta-data/network/interfaces/macs"
    assert set(client.get(f"{base}/")[1].split()) == {f"{eth0.mac}/", f"{eth1.mac}/"}
    said = {name: client.get(f"{base}/{eth0.mac}/{name}")[1] for name in client.get(f"{base}/{eth0.mac}/")[1].split() if not name.endswith("/")}
    assert said == {
        "mac": eth0.mac,
        "interface-id": eth0.id,
        "device-number": "0",
        "owner-id": "123456789012",
        "subnet-id": eth0.subnet_id,
        "vpc-id": lab.place.vpc_id,
        "subnet-ipv4-cidr-block": "10.0.1.0/24",
        "subnet-ipv6-cidr-blocks": lab.view.subnets[0].ipv6_cidr,
        "vpc-ipv4-cidr-block": "10.0.0.0/16",
        "vpc-ipv4-cidr-blocks": "10.0.0.0/16",
        "vpc-ipv6-cidr-blocks": lab.view.ipv6_cidr,
        "local-ipv4s": eth0.address,
        "ipv6s": eth0.ipv6_address,
        "public-ipv4s": lab.place.elastic_ip,
    }
    assert client.get(f"{base}/{eth0.mac}/ipv4-associations/{lab.place.elastic_ip}") == (200, eth0.address)
    assert client.get(f"{base}/{eth1.mac}/device-number") == (200, "1")
    assert client.get(f"{base}/{eth1.mac}/public-ipv4s")[0] == 404


def test_it_follows_the_control_plane(client, lab):
    eth0, eth1 = client.place.interfaces
    lab.ec2.associate_address(AllocationId=lab.place.allocation_id, NetworkInterfaceId=eth1.id, PrivateIpAddress=eth1.address)
    assert client.get(f"meta-data/network/interfaces/macs/{eth1.mac}/public-ipv4s") == (200, lab.place.elastic_ip)
    assert client.get(f"meta-data/network/interfaces/macs/{eth0.mac}/public-ipv4s")[0] == 404


@pytest.mark.parametrize(
    "path", ["meta-data/nothing", "meta-data/network/interfaces/macs/02:00:00:00:00:00/interface-id", "user-data", "meta-data/instance-id/x"]
)
def test_what_is_not_there_is_404(client, path):
    assert client.get(path)[0] == 404


def test_listings(client):
    assert client.get("")[1].split() == ["dynamic", "meta-data"]
    assert {"instance-id", "mac", "placement/", "network/", "iam/"} <= set(client.get("meta-data/")[1].split())
    assert client.get("meta-data/placement/") == (200, "availability-zone\nregion")
    assert client.get("meta-data/iam/security-credentials/") == (200, "holdfast-node")
    assert json.loads(client.get("dynamic/instance-identity/document")[1])["instanceId"] == client.place.instance_id


def test_folders_and_leaves():
    paths = {"a/b": "1", "a/c/d": "2"}
    assert [metadata.look_up(paths, one) for one in ("a", "a/", "a/b", "a/c", "a/x", "")] == ["b\nc/", "b\nc/", "1", "d", None, "a/"]


def test_credentials_stay_the_same_until_they_are_about_to_run_out(client, lab):
    path = "meta-data/iam/security-credentials/holdfast-node"
    first, again = (json.loads(client.get(path)[1]) for _number in range(2))
    assert (first["Code"], first["AccessKeyId"]) == ("Success", again["AccessKeyId"])
    assert set(first) == {"Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert client.get("meta-data/iam/security-credentials/another")[0] == 404


def test_credentials_are_renewed_before_they_run_out(lab):
    client = Client(lab, lifetime=1)
    path = "meta-data/iam/security-credentials/holdfast-node"
    first = json.loads(client.get(path)[1])["AccessKeyId"]
    client.imds._credentials = client.issued[0]._replace(expiration=datetime.now(timezone.utc))
    second = json.loads(client.get(path)[1])
    assert second["AccessKeyId"] != first
    who = lab.control.client("sts", credentials=client.issued[-1]).get_caller_identity()
    assert who["Arn"].split("/")[1] == "holdfast-node"


def test_fault_no_token(client):
    client.imds.fail("token-refused")
    assert client.ask("PUT", "/latest/api/token", **{TTL: "60"})[0] == 403
    client.imds.fail(None)
    assert client.token()


def test_fault_credentials_that_have_run_out(client, lab):
    path = "meta-data/iam/security-credentials/holdfast-node"
    client.imds.fail("credentials-expired")
    said = json.loads(client.get(path)[1])
    assert datetime.fromisoformat(said["Expiration"].replace("Z", "+00:00")) < datetime.now(timezone.utc)
    with pytest.raises(Exception, match="expired"):
        lab.control.client("ec2", credentials=client.issued[-1]).describe_addresses()
    client.imds.fail(None)
    lab.control.client("ec2", credentials=lab.control.issue("holdfast-node", 60)).describe_addresses()
    assert json.loads(client.get(path)[1])["AccessKeyId"] != said["AccessKeyId"]


def test_an_unknown_fault_is_refused(client):
    with pytest.raises(ValueError, match="no such metadata fault"):
        client.imds.fail("nonsense")


@pytest.mark.parametrize(("fault", "expected"), [(None, "0"), ("silent", "28")])
def test_over_http_from_inside_the_node(lab, fault, expected):
    """curl's 28 is a time-out."""
    assert lab.node_a.imds is not None
    lab.node_a.imds.fail(fault)
    argv = ["curl", "-sS", "-m", "1", "-X", "PUT", "-H", f"{TTL}: 60", f"http://{ADDRESS}/latest/api/token"]
    done = lab.node_a.run(*argv, check=False)
    assert str(done.returncode) == expected
    if fault is None:
        found = lab.node_a.run("curl", "-sS", "-m", "1", "-H", f"{TOKEN}: {done.stdout}", f"http://{ADDRESS}/latest/meta-data/instance-id").stdout
        assert found == lab.place.machine("node-a").instance_id
        other = lab.node_b.run(*argv).stdout
        assert "401" in lab.node_a.run("curl", "-sS", "-m", "1", "-H", f"{TOKEN}: {other}", f"http://{ADDRESS}/latest/meta-data/instance-id").stdout
    assert lab.client.run(*argv, check=False).returncode != 0, "only nodes have metadata"
