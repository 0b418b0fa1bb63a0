# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told to the neighbours when the lease has run out in the middle of putting an address up. No kernel, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker import address as module
from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

VIP = Address.parse("10.1.0.10/24")
UP = Link(name="eth0", index=2, mac="02:00:00:00:00:01", admin_up=True, carrier=True)


@pytest.mark.parametrize(("stopped", "told"), [(0.0, 1), (20.0, 0)], ids=["in time", "stopped for longer than the lease"])
def test_nothing_is_announced_after_the_lease(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stopped: float, told: int) -> None:
    now, announced = [99.0], []

    def announce(address: Address, link: Link, count: int, pause: object, within: Callable[[Callable[[], None]], object]) -> None:
        within(lambda: announced.append(link))

    def grant(give: Callable[[int], None]) -> int:
        if now[0] >= 110:
            raise LeaseOver("the lease was not renewed in time")
        give(1)
        now[0] += stopped
        return 1

    monkeypatch.setattr(module.frames, "announce", announce)
    monkeypatch.setattr(module, "observe", lambda *_given: NetState((UP,)))
    monkeypatch.setattr(module, "set_lifetime", lambda *given, **more: None)
    one = ProtectedAddress("web", Kernel(lambda argv: pytest.fail(str(argv)), look=lambda: (UP,)), Store(tmp_path, tmp_path))
    monkeypatch.setattr(one, "known", lambda: cast(object, SimpleNamespace(address=VIP, interface="eth0", resource=None)))
    if told:
        one.bring_up(grant, unique=False)
    else:
        with pytest.raises(LeaseOver):
            one.bring_up(grant, unique=False)
    assert len(announced) == told


def test_an_announcement_that_is_repeated_is_made_within_the_lease(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    announced: list[tuple[object, ...]] = []

    def announce(address: Address, link: Link, count: int, pause: object, within: Callable[[Callable[[], None]], object]) -> None:
        within(lambda: announced.append((address, link, count)))

    def over(act: Callable[[int], None]) -> int:
        raise LeaseOver("the lease was not renewed in time")

    def within(act: Callable[[int], None]) -> int:
        act(1)
        return 1

    monkeypatch.setattr(module.frames, "announce", announce)
    one = ProtectedAddress("web", Kernel(lambda argv: pytest.fail(str(argv))), Store(tmp_path, tmp_path))
    monkeypatch.setattr(one, "known", lambda: cast(object, SimpleNamespace(address=VIP)))
    with pytest.raises(LeaseOver):
        one.announce(UP, over)
    assert announced == []
    one.announce(UP, within)
    assert announced == [(VIP, UP, 1)]
