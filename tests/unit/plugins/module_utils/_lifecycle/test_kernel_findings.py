# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an address and its link: one answer for the checker, the modules and the status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Health, Link, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import address_health, kernel_findings, look_at_kernel
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource

WEB = EffectiveResource("web", Address.parse("172.17.106.10/22"), "eth0", "eth1", None)


def net(*links: tuple[str, bool, bool, tuple[str, ...]]) -> NetState:
    return NetState(
        tuple(
            Link(name, 1, "", up, carrier, addresses=tuple(LinkAddress(Address.parse(cidr)) for cidr in cidrs)) for name, up, carrier, cidrs in links
        )
    )


GOOD = net(("eth0", True, True, ("172.17.106.10/22",)), ("eth1", True, True, ()))


@pytest.mark.parametrize(
    ("state", "in_service", "faults", "reason"),
    [
        (GOOD, None, (), None),
        (GOOD, True, (), None),
        (GOOD, False, (Fault.STRAY,), "out of service here, yet"),
        (net(("eth0", True, True, ())), False, (), None),
        (net(("eth0", True, True, ())), True, (Fault.ADDRESS,), "not on eth0"),
        (net(("eth0", True, True, ("172.17.106.10/24",))), True, (Fault.ADDRESS,), "prefix length on eth0 is 24"),
        (net(("eth0", True, True, ("172.17.106.1/22", "172.17.106.101/22"))), True, (Fault.ADDRESS,), "not on eth0"),  # compared parsed, not as text
        (net(("eth0", False, False, ("172.17.106.10/22",))), True, (Fault.LINK,), "eth0 is down"),
        (net(("eth0", True, False, ("172.17.106.10/22",))), True, (Fault.LINK,), "no carrier"),
        (net(("eth1", True, True, ("172.17.106.10/22",))), True, (Fault.LINK, Fault.ADDRESS), "no link eth0"),
        (net(("eth0", True, True, ("172.17.106.10/22",)), ("eth1", True, True, ("172.17.106.10/22",))), True, (Fault.ADDRESS,), "is on eth1"),
    ],
)
def test_the_address_and_its_link(state: NetState, in_service: bool | None, faults: tuple[Fault, ...], reason: str | None) -> None:
    health, reasons = address_health(replace(WEB, in_service=in_service), state)
    assert (health is Health.HEALTHY) == (reason is None)
    assert reason is None or reason in "; ".join(reasons)
    found = kernel_findings(WEB, state, in_service=in_service is not False)
    assert tuple(dict.fromkeys(one.fault for one in found)) == faults
    assert tuple(one.reason for one in found) == reasons, "a module and the checker say the same"
    looked = look_at_kernel(WEB, state, held=in_service is not False, elsewhere=in_service is False)
    assert (looked.health, looked.faults, looked.reasons) == (health, faults, reasons)
