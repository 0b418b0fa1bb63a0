# SPDX-License-Identifier: GPL-3.0-or-later
"""What was foreseen is done once, for just that change, and never while the loop is awake."""

from __future__ import annotations

import threading

import netaddr
import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.fast_path import FastPath, Foreseen
from ansible_collections.holdfast.ha.plugins.module_utils._checker.netlink import ANYTHING, Change
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver

PATIENCE = 20.0
VIP = Address(netaddr.IPAddress("10.1.0.10"), 32)
OTHER = Address(netaddr.IPAddress("10.1.0.11"), 32)


def went(address: Address = VIP, index: int = 2) -> Change:
    return Change(index, LinkAddress(address), gone=True)


class Acts:
    """How often it was done; ``error``: what it raises."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error

    def foreseen(self) -> Foreseen:
        return Foreseen(2, VIP, self)


def test_it_is_done_once() -> None:
    acts, foresight = Acts(), FastPath()
    assert not foresight.take()
    foresight.sleep(acts.foreseen())
    foresight.meet(went())
    foresight.meet(went())
    assert acts.times == 1
    assert foresight.take()
    assert not foresight.take()
    foresight.sleep(acts.foreseen())
    foresight.meet(went())
    assert acts.times == 2


@pytest.mark.parametrize(
    "change",
    [
        ANYTHING,
        Change(2),
        Change(2, gone=True),
        Change(2, LinkAddress(VIP)),
        went(OTHER),
        went(index=3),
        went(Address(VIP.ip, 24)),
    ],
    ids=["anything", "its link", "its link has gone", "it came", "another one went", "it went from another link", "another prefix length"],
)
def test_nothing_else_sets_it_off(change: Change) -> None:
    acts, foresight = Acts(), FastPath()
    foresight.sleep(acts.foreseen())
    foresight.meet(change)
    assert (acts.times, foresight.take()) == (0, False)
    foresight.meet(went())
    assert acts.times == 1


def test_not_while_the_loop_is_awake() -> None:
    acts, foresight = Acts(), FastPath()
    foresight.meet(went())
    foresight.sleep(acts.foreseen())
    foresight.wake_up()
    foresight.meet(went())
    foresight.sleep(None)
    foresight.meet(went())
    assert (acts.times, foresight.take()) == (0, False)


@pytest.mark.parametrize("error", [CommandFailed("no such link"), LeaseOver("the lease has run out")])
def test_what_fails_is_left_to_the_loop(error: Exception) -> None:
    acts, foresight = Acts(), FastPath()
    acts.error = error
    foresight.sleep(acts.foreseen())
    foresight.meet(went())
    assert (acts.times, foresight.take()) == (1, False)


def test_who_wakes_up_waits_for_what_is_being_done() -> None:
    """Else the loop might move the address elsewhere at the moment at which it is put back."""
    begun, go_on, awake = threading.Event(), threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        assert not awake.is_set()

    foresight = FastPath()
    foresight.sleep(Foreseen(2, VIP, act))
    meeting = threading.Thread(target=foresight.meet, args=(went(),))
    meeting.start()
    assert begun.wait(PATIENCE)

    def wake_up() -> None:
        foresight.wake_up()
        awake.set()

    loop = threading.Thread(target=wake_up)
    loop.start()
    assert not awake.wait(0.05)
    go_on.set()
    loop.join(PATIENCE)
    meeting.join(PATIENCE)
    assert awake.is_set()
    assert foresight.take()
