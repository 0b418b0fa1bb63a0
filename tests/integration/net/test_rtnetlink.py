# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and addresses as the kernel tells them itself are those that `ip` shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.net.conftest import Namespace

_TREE = str(Path(__file__).resolve().parents[3] / ".tree")
_COMPARE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import links
mine, theirs = links(), observe_links(run_command)
print(json.dumps([[repr(link) for link in mine], [repr(link) for link in theirs]]))
"""


def test_it_sees_what_ip_shows(node: Namespace, peer: Namespace) -> None:
    for words in (
        "addr add 10.0.1.10/24 dev eth0 broadcast + metric 100",
        "addr add 10.0.1.11/24 dev eth0",
        "addr add 10.1.0.10/32 dev eth0 valid_lft 3000 preferred_lft 2000",
        "addr add 10.9.0.1/32 dev eth1 scope link noprefixroute label eth1:x",
        "addr add fd00::10/64 dev eth1 nodad",
        "addr add fd00::11/128 dev eth1 valid_lft 3000 preferred_lft 2000",
        "link add br0 type bridge",
        "link add mv0 link eth0 type macvlan",
        "link set eth1 master br0",
        "link set eth0 down",
        "link set br0 up",
    ):
        node.ip(words)
    node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries")
    mine, theirs = json.loads(node.run(sys.executable, "-c", _COMPARE, _TREE).stdout)
    assert len(mine) == 5
    for one, other in zip(mine, theirs, strict=True):
        assert one == other
