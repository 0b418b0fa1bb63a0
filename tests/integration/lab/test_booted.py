# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that boot: systemd, sshd and the way to the cloud's API inside; a power cut; and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import booted
from lab.vpc import Lab
from lab.waiting import until

pytestmark = pytest.mark.skipif(bool(booted.why_not()), reason=booted.why_not() or "-")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(f"bo{os.getpid()}-", booted=True) as made:
        yield made


def machines_of(prefix: str) -> list[str]:
    """The command lines of every nspawn of this lab, and its control groups."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"systemd-nspawn") and any(word.startswith(f"--machine={prefix}".encode()) for word in words):
            found.append(str(place))
    return found + [str(one) for one in Path("/sys/fs/cgroup").glob(f"**/holdfast-lab-{prefix}*")]


def test_a_node_has_systemd_and_its_own_place_in_the_vpc(lab: Lab) -> None:
    for node in lab.booted_nodes:
        assert node.run("hostname").stdout.strip() == node.name
        assert node.run("systemctl", "is-system-running").stdout.strip() == "running"
        assert node.place.interfaces[0].address in node.run("ip", "-o", "addr", "show", "dev", "eth0").stdout
    ids = {node.run("cat", "/proc/sys/kernel/random/boot_id").stdout for node in lab.booted_nodes}
    assert len(ids) == 2


def test_units_and_logins_find_the_clouds_api(lab: Lab) -> None:
    node = lab.booted_nodes[0]
    for answer in (lab.ssh("node-a", "env").stdout, node.run("systemd-run", "--pipe", "--wait", "--quiet", "env").stdout):
        assert "AWS_ENDPOINT_URL=http://" in answer
        assert "HOLDFAST" not in answer
        assert sys.prefix not in answer, "something of this machine's Python reaches a node"
    ask = "import urllib.request as u; print(u.urlopen(u.Request('http://169.254.169.254/latest/api/token', method='PUT', "
    ask += "headers={'X-aws-ec2-metadata-token-ttl-seconds': '60'})).status)"
    assert node.run("python3", "-c", ask).stdout.strip() == "200"


def test_a_node_may_change_its_network_and_its_kernels_settings_of_it(lab: Lab) -> None:
    node = lab.booted_nodes[1]
    node.run("ip", "addr", "add", "192.0.2.1/32", "dev", "eth1", "valid_lft", "60", "preferred_lft", "60")
    assert "192.0.2.1" in node.namespace.ip("addr show dev eth1")
    node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth1/arp_ignore")
    assert node.run("cat", "/proc/sys/net/ipv4/conf/eth1/arp_ignore").stdout.strip() == "1"
    node.run("ip", "addr", "del", "192.0.2.1/32", "dev", "eth1")


def test_after_a_power_cut_its_files_are_there_and_its_addresses_are_not(lab: Lab) -> None:
    node = lab.booted_nodes[1]
    before = node.run("cat", "/proc/sys/kernel/random/boot_id").stdout
    node.run("sh", "-c", "echo kept > /var/kept; sleep 600 >/dev/null 2>&1 &")
    node.hold("192.0.2.7/32", "eth0")
    node.power_off()
    assert node.addresses() == []
    with pytest.raises(RuntimeError, match="is not on"):
        node.run("true")
    node.configure()
    node.power_on()
    node.wait_until_up()
    assert node.run("cat", "/var/kept").stdout == "kept\n"
    assert node.run("cat", "/proc/sys/kernel/random/boot_id").stdout != before
    assert "192.0.2.7" not in str(node.addresses())


def test_nothing_is_left_of_a_lab_that_was_killed() -> None:
    prefix = f"bk{os.getpid()}-"
    code = f"import time\nfrom lab.vpc import Lab\nwith Lab({prefix!r}, booted=True):\n    print('up', flush=True)\n    time.sleep(600)\n"
    tests = str(Path(booted.__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": tests}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert machines_of(prefix)
        process.send_signal(signal.SIGKILL)
    until(lambda: not [one for one in machines_of(prefix) if one.startswith("/proc")], 20, "a machine lives on")
    with Lab(prefix, booted=True) as again:  # takes the place of the other, and finds nothing in its way
        assert again.booted_nodes[0].run("true").returncode == 0
    assert machines_of(prefix) == []
