# SPDX-License-Identifier: GPL-3.0-or-later
"""The INFO record, the four lines and the health of an address."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Health, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import address_health, describe, four_lines, info_record

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


@pytest.mark.parametrize(
    ("state", "in_service", "reason"),
    [
        (GOOD, None, None),
        (GOOD, True, None),
        (GOOD, False, "out of service here, yet"),
        (net(("eth0", True, True, ())), False, None),
        (net(("eth0", True, True, ())), True, "not on eth0"),
        (net(("eth0", True, True, ("172.17.106.10/24",))), True, "prefix length on eth0 is 24"),
        (net(("eth0", True, True, ("172.17.106.1/22", "172.17.106.101/22"))), True, "not on eth0"),  # compared parsed, not as text
        (net(("eth0", False, False, ("172.17.106.10/22",))), True, "eth0 is down"),
        (net(("eth0", True, False, ("172.17.106.10/22",))), True, "no carrier"),
        (net(("eth1", True, True, ("172.17.106.10/22",))), True, "no link eth0"),
        (net(("eth0", True, True, ("172.17.106.10/22",)), ("eth1", True, True, ("172.17.106.10/22",))), True, "is on eth1"),
    ],
)
def test_health(state: NetState, in_service: bool | None, reason: str | None) -> None:
    health, reasons = address_health(replace(WEB, in_service=in_service), state)
    assert (health is Health.HEALTHY) == (reason is None)
    assert reason is None or reason in "; ".join(reasons)


def test_the_state_of_both_links() -> None:
    dark = net(("eth0", True, False, ()), ("eth1", True, True, ()))
    told = [describe("a", WEB, one, "this") for one in (GOOD, dark, net())]
    assert [(one["primary_state"], one["backup_state"]) for one in told] == [("up", "up"), ("down", "up"), ("down", "down")]
    assert describe("a", replace(WEB, backup_interface=None), GOOD, "this")["backup_state"] is None
    off = [describe("a", WEB, one, "this")["primary_switched_off"] for one in (GOOD, dark, net(("eth0", False, False, ())), net())]
    assert off == [False, False, True, False]
