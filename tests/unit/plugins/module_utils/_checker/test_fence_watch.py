# SPDX-License-Identifier: GPL-3.0-or-later
"""For how long the holder keeps the old node fenced, and what it reports."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.fence_watch import FenceWatch, is_over
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotFound, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Eni
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import Fenced

OLD = "eni-0000000000000000a"
FENCED = Fenced(7, (OLD,), ("node-a",))


def peer(node: str = "node-a", *, alive: bool = True, **resources: tuple[bool, bool]) -> dict[str, Any]:
    """``resources``: by tag whether that node is ready, and whether it holds the lease."""
    return {"node": node, "alive": alive, "resources": {tag: {"ready": ready, "held": held} for tag, (ready, held) in resources.items()}}


@pytest.mark.parametrize(
    ("peers", "nodes", "over"),
    [
        ([peer(alive=False)], ("node-a",), False),
        ([peer(alive=False, web=(True, False))], ("node-a",), False),
        ([peer()], ("node-a",), False),
        ([peer(web=(False, False))], ("node-a",), False),
        ([peer(web=(True, False))], ("node-a",), True),
        ([peer(web=(True, True))], ("node-a",), False),  # what it said before it was silent
        ([peer(web=(False, False), mail=(True, False))], ("node-a",), False),
        ([peer(web=(False, False), mail=(True, True))], ("node-a",), True),
        ([peer(alive=False), peer("node-c", web=(True, False))], ("node-a",), False),
        ([peer(alive=False), peer("node-c", web=(True, False))], ("node-a", "node-c"), True),
        ([], ("node-a",), True),
        ([peer(alive=False)], (), True),
    ],
    ids=str,
)
def test_for_how_long(peers: list[dict[str, Any]], nodes: tuple[str, ...], over: bool) -> None:
    fenced = Fenced(7, (OLD,), nodes)
    assert is_over(fenced, "web", peers, seconds=60, hold_down=60) is over
    assert not is_over(fenced, "web", peers, seconds=59, hold_down=60), "a call may still be under way"


def test_it_is_for_one_lease_and_does_not_begin_again() -> None:
    watch = FenceWatch("web", lambda event, **facts: None)
    silent, back = [peer(alive=False)], [peer(web=(True, False))]
    times = {"seconds": 100.0, "hold_down": 60.0}
    assert not watch.applies(None, 7, silent, **times)
    assert not watch.applies(FENCED, 8, silent, **times), "the lease was acquired again since"
    assert watch.applies(FENCED, 7, silent, **times)
    assert not watch.applies(FENCED, 7, back, **times)
    assert not watch.applies(FENCED, 7, silent, **times)
    assert watch.applies(Fenced(9, (OLD,), ("node-a",)), 9, silent, **times)


class Ec2:
    """Stands for observing and for the client: one interface, or an error."""

    def __init__(self, check: bool | Exception) -> None:
        self.check, self.written = check, 0

    def observe(self, eni: str) -> Eni:
        if isinstance(self.check, Exception):
            raise self.check
        return Eni(eni, "", "", "", self.check)

    def modify_network_interface_attribute(self, **given: Any) -> dict[str, Any]:
        assert given == {"NetworkInterfaceId": OLD, "SourceDestCheck": {"Value": True}}
        self.written += 1
        return {}


@pytest.mark.parametrize(
    ("check", "held", "written", "events"),
    [
        (True, True, 0, []),
        (False, True, 2, ["fence restored", "fence restored"]),
        (False, False, 0, []),
        (NotFound("it is gone"), True, 0, []),
        (ServiceError("you may not do this"), True, 0, ["fence not verified"]),  # once, although it lasts
    ],
    ids=str,
)
def test_what_is_done_and_reported(check: bool | Exception, held: bool, written: int, events: list[str]) -> None:
    seen: list[str] = []
    watch, ec2 = FenceWatch("web", lambda event, **facts: seen.append(event)), Ec2(check)
    for _look in range(2):
        watch.verify(FENCED, ec2.observe, lambda: ec2, lambda: held)
    assert (ec2.written, seen) == (written, events)
