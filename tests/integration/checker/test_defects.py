# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer of EC2 that the code does not expect: the resource shows as unknown, and the leases of the node go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import cast

import pytest

from lab.checker import Checker
from lab.node import Node
from lab.waiting import until

from .small import CLUSTER, STORE, TAG, WEB, SmallNode

#: Instance metadata and EC2 in one. EC2 describes a network interface without its fields while the file named by the second argument is there.
_CLOUD = """
import http.server, os, sys
base = "/latest/meta-data/network/interfaces/macs/"
mac = open("/sys/class/net/eth0/address").read().strip()
leaves = {"interface-id": "eni-0123456789abcdef0", "device-number": "0", "subnet-id": "subnet-1", "vpc-id": "vpc-1"}
told = {base: mac + "/", **{f"{base}{mac}/{name}": text for name, text in leaves.items()}}
item = "<sourceDestCheck>false</sourceDestCheck><vpcId>vpc-1</vpcId><subnetId>subnet-1</subnetId><macAddress>x</macAddress>"
whole = "<networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId><status>in-use</status>" + item
class Cloud(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        self.answer("token")
    def do_GET(self):
        self.answer(told.get(self.path))
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        one = item if os.path.exists(sys.argv[2]) else whole
        self.answer(f"<R xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><networkInterfaceSet><item>{one}</item></networkInterfaceSet></R>")
    def answer(self, text):
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Cloud)
print("there", flush=True)
server.serve_forever()
"""
_PORT, _BROKEN = 8773, "/run/holdfast/broken"
_URL = f"http://127.0.0.1:{_PORT}"


@pytest.fixture
def cloudy(small: SmallNode) -> Iterator[SmallNode]:
    """A node whose resource has a part on EC2, with a checker that serves it."""
    small.reset(watched=False)
    cloud = small.namespace.spawn(sys.executable, "-c", _CLOUD, str(_PORT), _BROKEN)
    assert cloud.stdout is not None
    assert cloud.stdout.readline() == "there\n"
    ec2 = {"endpoint_url": _URL, "region": "eu-central-1"}
    settings = {"cluster": CLUSTER, "store": STORE, "timing": "fast", "checks": {"deep_interval": 1}}
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": _URL, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    small.checker = Checker(cast(Node, small), settings, [{**WEB, "ec2": ec2}], environment)
    small.checker.start()
    small.ask("acquire", tag=TAG, wait=60)
    small.ask("serve", tag=TAG)
    yield small
    small.stop_checker()
    cloud.kill()
    cloud.wait()


def test_a_defect_in_a_check_of_ec2_costs_no_lease(cloudy: SmallNode) -> None:
    checker = cloudy.checker
    assert checker is not None

    def error() -> str:
        seen = cloudy.ask("status", tag=TAG)["ec2"]
        return "not asked yet" if seen is None else str(seen["error"])

    until(lambda: not error(), 20, "EC2 is not seen")
    cloudy.run("touch", _BROKEN)
    until(lambda: "a defect of the checker at observe.py" in error(), 20, "the check does not fail")
    until(lambda: cloudy.ask("status", tag=TAG)["health"] == "unknown", 20, "the resource is not unknown")
    for _look in range(3):
        cloudy.ask("check", tag=TAG)
    assert checker.exit_code is None
    assert list(cloudy.places()) == ["eth0"]
    assert [(one["thread"], one["cause"]) for one in checker.seen("defect")] == [(f"ec2 {TAG}", "KeyError: 'NetworkInterfaceId'")]
    assert json.loads(cloudy.call("holdfast", "status", "--json").stdout)["resources"][0]["held"] is True
    cloudy.run("rm", _BROKEN)
    until(lambda: not error() and cloudy.ask("status", tag=TAG)["health"] == "healthy", 20, "it is not healthy again")
    assert checker.seen("lost") == []
