# SPDX-License-Identifier: GPL-3.0-or-later
"""The INFO record and the four lines."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import describe, four_lines, info_record

WEB = EffectiveResource("web", Address.parse("172.17.106.10/22"), "eth0", "eth1", None)


def net(*links: tuple[str, bool, bool, tuple[str, ...]]) -> NetState:
    return NetState(
        tuple(
            Link(name, 1, "", up, carrier, addresses=tuple(LinkAddress(Address.parse(cidr)) for cidr in cidrs)) for name, up, carrier, cidrs in links
        )
    )


GOOD = net(("eth0", True, True, ("172.17.106.10/22",)), ("eth1", True, True, ()))


def test_the_record_and_the_lines() -> None:
    assert info_record("ServerA", WEB) == "ServerA eth0 172.17.106.10 fffffc00 eth1"
    assert info_record("ServerA", replace(WEB, backup_interface=None)).endswith(" none")
    assert info_record("B", replace(WEB, address=Address.parse("fd00::10/64"))) == "B eth0 fd00::10 64 eth1"
    assert four_lines(WEB, GOOD) == "IP address: 172.17.106.10\nNetmask: 255.255.252.0\nPrimary interface: eth0 (up)\nBackup interface: eth1\n"


def test_the_state_of_both_links() -> None:
    dark = net(("eth0", True, False, ()), ("eth1", True, True, ()))
    told = [describe("a", WEB, one, "this") for one in (GOOD, dark, net())]
    assert [(one["primary_state"], one["backup_state"]) for one in told] == [("up", "up"), ("down", "up"), ("down", "down")]
    assert describe("a", replace(WEB, backup_interface=None), GOOD, "this")["backup_state"] is None
    off = [describe("a", WEB, one, "this")["primary_switched_off"] for one in (GOOD, dark, net(("eth0", False, False, ())), net())]
    assert off == [False, False, True, False]
