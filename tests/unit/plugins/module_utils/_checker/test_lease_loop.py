# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread of one lease, on a store in memory: what it knows of how the lease came, and that it is neither late nor vague."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker import lease_loop as module
from ansible_collections.holdfast.ha.plugins.module_utils._checker import resource_loop as watch_module
from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.health_checks import Ec2HealthChecker
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_loop import LeaseLoop
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import LeaseUnit
from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics import Metrics
from ansible_collections.holdfast.ha.plugins.module_utils._checker.resource_loop import CheckerContext, ResourceLoop
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import Request
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, new_state
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Identity, Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreUnreachable
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, Checks
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure import HANDS_OFF, HANDS_OFF_FENCING, HANDS_OFF_UP
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import State
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store
from ansible_collections.holdfast.ha.tests.lab.waiting import until

TIMING = Timing(ttl=3.0, renew=0.2, call=0.2, margin=0.6, poll=0.05)
ME = Identity("node-a", "boot1")


@dataclass
class MemoryStore:
    """One record. ``slow``: seconds that a call takes before it fails. ``hangs``: asked by each failing call how much longer it takes."""

    record: Record | None = None
    slow: float = 0.0
    hangs: Callable[[], float] = lambda: 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, key: str) -> Reading:
        self._fail()
        with self.lock:
            return Reading(self.record, self.record)

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        self._fail()
        with self.lock:
            if expected != self.record:
                return None
            self.record = record
            return record

    def _fail(self) -> None:
        if self.slow:
            time.sleep(self.slow + self.hangs())
            raise StoreUnreachable("the store is silent", retryable=True, ambiguous=True)


class NoAddress:
    """Stands nowhere at first, and can be taken down. ``fence``: of its resource. ``done``: what was done with it, in order.

    ``prolonged``: for each time the link on which it stood, and the one on which it was wanted should it stand nowhere.
    """

    def __init__(self) -> None:
        self.fence = "stop_instance"
        self.in_service: bool | None = None
        self.links: list[str] = []
        self.lives: int | None = None
        self.done: list[str] = []
        self.prolonged: list[tuple[str | None, str | None]] = []
        self.at_take_down: Callable[[], None] = lambda: None

    def known(self) -> Any:
        return SimpleNamespace(in_service=self.in_service, resource=SimpleNamespace(fence=self.fence), interface="eth0", backup_interface=None)

    def places(self) -> list[Any]:
        return [(SimpleNamespace(name=name), SimpleNamespace(valid_lft=self.lives)) for name in self.links]

    def take_down(self) -> None:
        self.at_take_down()
        self.links = []
        self.done.append("down")

    def prolong(self, grant: Callable[[Callable[[int], None]], int], last: str | None) -> str | None:
        self.prolonged.append((self.links[0] if self.links else None, last))
        link = self.links[0] if self.links else last
        if link is not None:
            grant(lambda seconds: setattr(self, "links", [link]))
        return link


class Clock:
    """Moved by the test. With `SLOWLY` the kernel's timer that guards a refresh is of minutes of real time."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


#: A lease taken at 1000 is renewed from 1200 on, its address lives until 1728, and it may be served until 1780.
SLOWLY = {"ttl": 1000.0, "renew": 200.0, "call": 150.0, "margin": 200.0, "poll": 100.0}


class Recorded(NoAddress):
    """One whose resource is in service here by its state, in a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.files = Store(folder / "resources", folder / "states")
        self.files.save(State("web", Address.parse("10.1.0.10/32"), "lo", in_service=True))

    def known(self) -> Any:
        return self.files.effective("web")


class Bench:
    """Makes holders, and ends them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.holders: list[LeaseLoop] = []

    def holder(self, *, clock: Callable[[], float] = boottime, address: NoAddress | None = None, **changes: Any) -> LeaseLoop:
        timing = Timing(**{**TIMING.__dict__, **changes})
        keeper = Keeper(self.store, "web-prod/web", new_state(ME, timing), clock)
        stands = cast(ProtectedAddress, NoAddress() if address is None else address)
        made = LeaseLoop("web", keeper, stands, lambda event, **facts: self.events.append((event, facts)), clock)
        self.holders.append(made)
        return made

    def begun(self, **changes: Any) -> LeaseLoop:
        """Past its first look."""
        made = self.holder(**changes)
        made.start()
        until(lambda: made.state.seen is not None, 5, "the record is not read")
        return made


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.slow = 0.0
    for one in made.holders:
        if one.is_alive():
            one.end()
            one.wake()  # its clock may stand still
            one.join(10)
            assert not one.is_alive()


def acquire(holder: LeaseLoop, wait: float = 10.0) -> None:
    holder.ask(Request("acquire", "web", wait=wait))


def test_what_was_released_while_it_was_waited_for_has_not_expired(bench: Bench) -> None:
    """A planned target asks first, and the lease is let go after that: nobody is to be fenced then."""
    bench.store.record = Record("node-b", 7, "other.1", ttl=60)
    holder = bench.begun()
    threading.Timer(0.3, lambda: setattr(bench.store, "record", Record("", 7, "other.2", "node-a"))).start()
    acquire(holder)
    assert (holder.expired, holder.handed, holder.taken, holder.fence_first()) == (False, True, True, False)
    holder.serve("eth0")
    holder.ask(Request("withdraw", "web"))
    assert not holder.handed, "it was taken out of service here, so it does not come back by itself"


def test_what_was_not_let_go_of_has_expired(bench: Bench) -> None:
    bench.store.record = Record("node-b", 7, "other.1", ttl=0.1)
    holder = bench.begun()
    acquire(holder)
    assert (holder.expired, holder.handed, holder.fence_first()) == (True, False, True)


def test_a_fence_is_owed_until_it_is_in_service_whoever_released_it_since(bench: Bench) -> None:
    bench.store.record = Record("", 7, "other.1", unfenced=("node-b",))
    holder = bench.begun()
    acquire(holder)
    assert (holder.expired, holder.fence_first(), holder.status()["over"]) == (True, True, "node-b")
    holder.ask(Request("release", "web"))
    assert bench.store.record is not None
    assert bench.store.record.unfenced == ("node-b",)


def test_a_node_owes_no_fence_of_itself(bench: Bench) -> None:
    bench.store.record = Record("", 7, "other.1", unfenced=("node-a",))
    holder = bench.begun()
    acquire(holder)
    assert (holder.expired, holder.status()["over"]) == (False, "")


def test_what_had_a_record_that_was_deleted_was_not_let_go_of(bench: Bench) -> None:
    clock = Clock()
    bench.store.record = Record("", 7, "other.1")
    holder = bench.begun(clock=clock, **SLOWLY)
    bench.store.record = None
    asker = threading.Thread(target=acquire, args=(holder, 3000.0), daemon=True)
    asker.start()
    while holder.state.held is None:
        clock.now += SLOWLY["poll"]
        holder.wake()
        until(lambda: holder.state.read_at == clock.now, 10, "it does not read")
    asker.join(10)
    assert clock.now > 2000, "a holder may live, and nobody has waited for it"
    assert holder.expired


@pytest.mark.parametrize(("orderly", "expired"), [(True, False), (False, True)])
def test_the_next_process_knows_how_the_lease_came(bench: Bench, tmp_path: Path, orderly: bool, expired: bool) -> None:
    """Killed in the middle of a takeover that was handed over, it must not fence who has let go."""
    memory = PersistentState(tmp_path, lambda event, **facts: None)
    before = Record("", 7, "other.2", "node-a") if orderly else Record("node-b", 7, "other.1", ttl=0.1)
    bench.store.record = before
    first = bench.holder()
    first.remember = lambda epoch, known: memory.remember_epoch("web", epoch, known)
    first.start()
    acquire(first)
    epoch = until(lambda: memory.highest_epoch("web") > 7 and memory.highest_epoch("web"), 5, "the epoch is not kept")
    kept = bench.store.record
    first.end()
    bench.store.record = kept  # as if it had been killed
    second = bench.holder()
    second.was_orderly = lambda epoch: memory.came_orderly("web", epoch)
    second.start()
    until(lambda: second.state.held is not None, 5, "it does not go on")
    assert second.state.held is not None
    assert (second.state.held.epoch, second.expired, second.taken) == (epoch, expired, False)


@pytest.mark.parametrize("unfenced", [(), ("node-b",)], ids=["released", "not released by node-b"])
def test_how_the_lease_came_is_kept(bench: Bench, unfenced: tuple[str, ...]) -> None:
    kept: list[tuple[int, bool]] = []
    bench.store.record = Record("", 7, "other.2", unfenced=unfenced)
    holder = bench.holder()
    holder.remember = lambda epoch, orderly: kept.append((epoch, orderly))
    holder.start()
    acquire(holder)
    until(lambda: kept and kept[-1][0] == 8, 5, "the epoch is not kept")
    assert kept[-1] == (8, not unfenced)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_process_that_goes_on_asks_how_the_lease_came(bench: Bench, orderly: bool) -> None:
    asked: list[int] = []
    bench.store.record = Record("node-a", 7, "boot1.old.3", ttl=60)
    holder = bench.holder()
    holder.was_orderly = lambda epoch: asked.append(epoch) or orderly
    holder.start()
    until(lambda: holder.state.held, 5, "it does not go on")
    assert (asked, holder.expired) == ([7], not orderly)


def test_others_know_of_a_lease_before_the_disk_does(bench: Bench) -> None:
    order: list[tuple[str, bool]] = []
    holder = bench.holder()
    holder.changed = lambda: order.append(("changed", holder.state.held is not None))
    holder.remember = lambda epoch, orderly: order.append(("kept", True))
    bench.store.record = Record("", 7, "other.2")
    holder.start()
    acquire(holder)
    until(lambda: ("kept", True) in order and holder.state.held, 5, "it was not kept")
    held = order.index(("changed", True))
    assert ("kept", True) in order[held:], order


def test_dependents_have_their_whole_time_though_the_store_hangs(bench: Bench) -> None:
    stopped: list[float] = []
    bench.store.record = Record("", 7, "other.2")
    holder = bench.holder(ttl=4.0, stop_budget=0.6, call=0.35)
    holder.stop_dependents = lambda limit: stopped.append(boottime())
    holder.start()
    acquire(holder)
    begun: list[float] = []

    def hangs() -> float:
        """A call that is begun at the last moment takes as long as a call may."""
        held = holder.state.held
        begun.append(held.deadline - 0.6 if held is not None else 0.0)
        return 0.33 if 0 < begun[-1] - boottime() < 0.1 else 0.0

    bench.store.hangs = hangs
    bench.store.slow = 0.01
    until(lambda: stopped, 10, "nothing was stopped")
    assert stopped[0] - max(begun) < 0.1, "a call to the store held it up"


def test_a_release_that_is_not_confirmed_says_what_not_to_do(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    bench.store.slow = 0.1
    with pytest.raises(NotConverged) as caught:
        holder.ask(Request("release", "web"))
    assert "is down here and stays down, and its release is not confirmed" in caught.value.message
    assert "do not start here what needs it (the store is silent)" in caught.value.message
    assert "\n" not in caught.value.message
    bench.store.slow = 0.0
    until(lambda: bench.store.record is not None and not bench.store.record.holder, 5, "the release is not tried on")


def test_what_is_under_way_does_not_undo_a_withdrawal(bench: Bench) -> None:
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    permit, given = holder.permit, []
    holder.grant(given.append, permit)
    holder.ask(Request("withdraw", "web"))
    for late in (lambda: holder.grant(given.append, permit), lambda: holder.within_lease(given.append, permit), lambda: holder.serve("eth0", permit)):
        with pytest.raises(LeaseOver, match="out of service"):
            late()
    assert (len(given), holder.serving) == (1, False)
    holder.serve("eth0", holder.permit)
    assert holder.serving


def test_who_is_at_work_is_left_alone_for_as_long_as_something_is_heard(bench: Bench) -> None:
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    before = boottime()
    acquire(holder)
    assert HANDS_OFF <= holder.hands_off_until - before < HANDS_OFF + 5, "nothing is served meanwhile"
    holder.serve("eth0")
    holder.at_work()
    assert HANDS_OFF_UP <= holder.hands_off_until - before < HANDS_OFF_UP + 5
    holder.ask(Request("withdraw", "web"))
    assert holder.hands_off_until - before < HANDS_OFF + 5
    holder.hands_off_until = boottime() - 1
    holder.at_work()
    assert holder.hands_off_until < boottime(), "a look at the status alone begins nothing"
    holder.ask(Request("release", "web"))
    bench.store.record = Record("node-b", 9, "other.1", ttl=0.1)
    acquire(holder)
    assert holder.hands_off_until - boottime() > HANDS_OFF_FENCING - 5, "to stop an instance takes minutes"


def test_who_was_at_work_when_the_lease_was_lost_is_not_waited_for(bench: Bench) -> None:
    """It comes back to a node that is to serve at once: what was done to the address before is of no more use."""
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    holder.serve("eth0")
    holder.at_work()
    assert holder.hands_off_until > boottime() + HANDS_OFF
    bench.store.record = Record("node-b", 99, "other.3", ttl=60)
    until(lambda: not holder.serving, 5, "it goes on serving")
    assert [event for event, _facts in bench.events if event == "lost"]
    assert holder.hands_off_until < boottime()


def test_what_could_not_be_resumed_is_claimed_only_when_it_is_this_nodes_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarted as the holder, it cannot renew, and another node takes over. From then on it is a standby like any other."""
    bench.store.record = Record("node-a", 7, "boot1.old.3", ttl=TIMING.ttl)
    holder = bench.holder()
    refused = threading.Event()

    def write(key: str, expected: Hashable, record: Record) -> Hashable | None:
        refused.set()
        bench.store.record = Record("node-b", 8, "other.1", ttl=0.1)
        return None

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", write)
        holder.start()
        until(refused.is_set, 5, "it does not resume")
    until(lambda: holder.state.highest == 8, 5, "it does not see who has the lease")
    gone = boottime() + TIMING.wait(0.1) + 0.5
    until(lambda: boottime() > gone or holder.state.held, 10, "node-b, which is dead, is not waited for")
    assert bench.store.record == Record("node-b", 8, "other.1", ttl=0.1), "it took the lease although the policy does not want it to"
    holder.claim_at = lambda state: LONG_AGO
    holder.wake()
    until(lambda: holder.state.held, 5, "it does not take the lease when the policy wants it to")


def test_who_reports_work_while_the_lease_is_lost_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    patience = holder._patience

    def lost_meanwhile(up: bool) -> float:
        bench.store.record = Record("node-b", 99, "other.3", ttl=60)
        until(lambda: [event for event, _facts in bench.events if event == "lost"], 5, "the lease is not lost")
        return patience(up)

    monkeypatch.setattr(holder, "_patience", lost_meanwhile)
    holder.at_work()
    assert holder.hands_off_until < boottime()


def test_a_record_that_was_restored_is_no_hand_off(bench: Bench) -> None:
    """It says released to this node, and this node has seen a later epoch: somebody may serve by that."""
    bench.store.record = Record("node-b", 9, "other.3", ttl=0.1)
    holder = bench.begun()
    bench.store.record = Record("", 7, "other.2", "node-a", ttl=0.1)
    before = boottime()
    acquire(holder)
    assert boottime() - before > TIMING.ttl
    assert (holder.expired, holder.handed, holder.fence_first()) == (True, False, True)


def test_a_defect_of_the_store_is_told_once_and_the_lease_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    reads, broken = bench.store.write, threading.Event()

    def write(key: str, expected: Hashable, record: Record) -> Hashable | None:
        if not broken.is_set():
            broken.set()
            raise KeyError("s3cret")
        return reads(key, expected, record)

    monkeypatch.setattr(bench.store, "write", write)
    until(broken.is_set, 5, "it does not renew")
    nonces = holder.state.nonces
    until(lambda: holder.state.nonces > nonces + 1, 5, "it does not renew any more")
    assert holder.is_alive()
    assert holder.state.held is not None
    (told,) = [facts for event, facts in bench.events if event == "defect"]
    assert (told["cause"], told["tag"]) == ("KeyError", "web")
    assert "s3cret" not in str(bench.events)


def address_of(holder: LeaseLoop) -> NoAddress:
    return cast(NoAddress, holder.address)


def test_a_standby_that_ends_does_not_leave_its_caller_without_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread turns between the decision to end it and the request that ends it."""
    bench.store.record = Record("node-b", 7, "other.1", ttl=60)
    holder = bench.begun()
    put = holder._inbox.put

    def late(job: Any) -> None:
        turned = holder.turned_at
        until(lambda: holder.turned_at > turned or not holder.is_alive(), 5, "it does not turn")
        put(job)

    monkeypatch.setattr(holder._inbox, "put", late)
    begin = boottime()
    holder.end()
    assert boottime() - begin < 5
    holder.join(5)
    assert not holder.is_alive()


def test_a_lost_lease_takes_the_address_down(bench: Bench) -> None:
    """It is not left to the kernel, which waits for the lifetime to end."""
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    holder.serve("eth0")
    bench.store.record = Record("node-b", 99, "other.3", ttl=60)
    until(lambda: address_of(holder).done, 2, "the address stays")
    assert not holder.serving


@pytest.mark.parametrize("holder_of_it", ["node-b", "node-c"])
def test_what_is_left_from_before_another_node_took_over_is_cleared(bench: Bench, holder_of_it: str) -> None:
    """A process begins, and the address is here still. Its dependents are stopped by `dependents`, whose tests show that."""
    bench.store.record = Record(holder_of_it, 7, "other.1", ttl=60)
    holder = bench.holder()
    address_of(holder).links = ["eth0"]
    holder.start()
    until(lambda: not address_of(holder).links, 5, "the address stays")


def test_nobody_gets_a_lifetime_once_the_address_is_to_go(bench: Bench) -> None:
    """The lease is held still while the address is taken down for a release; what is under way elsewhere must not put it up again."""
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun()
    acquire(holder)
    holder.serve("eth0")
    refused: list[str] = []
    given: list[int] = []

    def meanwhile() -> None:
        assert holder.state.held is not None
        assert bench.store.record is not None
        assert bench.store.record.holder == "node-a", "it was released before the address was down"
        for late in (lambda: holder.grant(given.append), lambda: holder.within_lease(given.append), lambda: holder.serve("eth0")):
            with pytest.raises(LeaseOver, match="about to give it up"):
                late()
            refused.append("refused")

    address_of(holder).at_take_down = meanwhile
    holder.ask(Request("release", "web"))
    address_of(holder).at_take_down = lambda: None
    assert refused == ["refused"] * 3


def test_who_has_let_go_does_not_take_it_back_at_once(bench: Bench) -> None:
    """Another node is to have the time to take it, also where this one is the first by priority."""
    bench.store.record = Record("", 7, "other.2")
    holder = bench.holder()
    holder.claim_at = lambda state: 0.0
    holder.start()
    until(lambda: holder.state.held, 5, "it does not take it")
    holder.ask(Request("release", "web"))
    released = boottime()
    until(lambda: holder.state.held, 10, "it does not take it back")
    assert boottime() - released > TIMING.ttl - 0.5


def test_until_it_is_known_what_a_claim_replaces_it_counts_as_not_let_go_of(bench: Bench) -> None:
    """Others see the lease held a moment before that is known: nothing may be brought into service without a fence in it."""
    bench.store.record = Record("node-b", 7, "other.1", ttl=0.1)
    holder = bench.begun()
    seen: list[bool] = []
    write = bench.store.write

    def claim(key: str, expected: Hashable, record: Record) -> Hashable | None:
        seen.append(holder.expired)
        return write(key, expected, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.store, "write", claim)
        acquire(holder)
    assert seen[0]


def serving(bench: Bench, clock: Clock, **changes: Any) -> LeaseLoop:
    """A holder whose address is up since 1000."""
    bench.store.record = Record("", 7, "other.2")
    holder = bench.begun(clock=clock, **{**SLOWLY, **changes})
    acquire(holder)
    address_of(holder).links = ["eth0"]
    holder.grant(lambda seconds: None)
    holder.serve("eth0")
    return holder


@pytest.mark.parametrize(
    ("at", "record", "limit", "up"),
    [
        (1600.0, None, 128.0, True),
        (1200.0, Record("", 99, "other.3"), 180.0, True),
        (1200.0, Record("node-b", 99, "other.3", ttl=60), 0.0, False),
    ],
    ids=["the store is silent", "somebody released it", "another node has it"],
)
def test_dependents_stop_while_the_address_is_up_unless_another_node_has_it(
    bench: Bench, at: float, record: Record | None, limit: float, up: bool
) -> None:
    """They have their budget, and no more than the address lives. Who is too late lets the address go first."""
    clock, stopped = Clock(), list[tuple[float, bool]]()
    holder = serving(bench, clock, stop_budget=180.0)
    holder.stop_dependents = lambda seconds: stopped.append((seconds, bool(address_of(holder).links)))
    if record is None:
        bench.store.slow = 0.001
    else:
        bench.store.record = record
    clock.now = at
    holder.wake()
    until(lambda: stopped and not address_of(holder).links, 10, "it does not step down")
    assert stopped == [(limit, up)]


def test_an_address_that_somebody_removed_stays_away(bench: Bench) -> None:
    clock = Clock()
    holder = serving(bench, clock)
    address_of(holder).links = []
    for number, clock.now in enumerate((1210.0, 1980.0), 1):  # the second time its lifetime would be over too
        holder.wake()
        until(partial(_was_prolonged, holder, number), 10, "the lease is not renewed")
    assert address_of(holder).prolonged == [(None, None), (None, None)]


def _was_prolonged(holder: LeaseLoop, times: int) -> bool:
    return len(address_of(holder).prolonged) >= times


def test_one_whose_time_ran_out_comes_back_where_it_stood(bench: Bench) -> None:
    clock = Clock()
    holder = serving(bench, clock)
    address_of(holder).links = []
    clock.now = 1750.0
    holder.wake()
    until(lambda: address_of(holder).links, 10, "it does not come back with the renewal")
    assert address_of(holder).links == ["eth0"]


def test_an_address_that_is_prolonged_too_late_goes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renewal came in time. The kernel was so slow that the deadline has passed meanwhile."""
    clock = Clock()
    holder = serving(bench, clock)
    prolong = address_of(holder).prolong

    def slow(grant: Callable[[Callable[[int], None]], int], last: str | None) -> str | None:
        clock.now = 2100.0
        return prolong(grant, last)

    monkeypatch.setattr(address_of(holder), "prolong", slow)
    clock.now = 1210.0
    holder.wake()
    until(lambda: address_of(holder).done, 10, "the address stays")
    assert [facts["reason"] for event, facts in bench.events if event == "lost"] == ["the lease was not renewed in time; the address has to go"]
    assert (holder.serving, holder.state.held) == (False, None)


@pytest.mark.parametrize(("how", "then"), [("release", ""), ("expire", "node-a"), ("lost", "node-b"), ("taken before it began", "node-b")])
def test_a_lease_that_went_leaves_a_state_that_says_so(bench: Bench, tmp_path: Path, how: str, then: str) -> None:
    """Else the node would take the resource for one that is in service here when the lease comes back."""
    address = Recorded(tmp_path)
    bench.store.record = Record("", 7, "other.2") if how != "taken before it began" else Record("node-b", 7, "other.1", ttl=60)
    holder = bench.begun(clock=Clock(), address=address, **SLOWLY)
    if not bench.store.record.holder:
        acquire(holder)
        holder.serve("eth0")
        assert address.known().in_service
    if how == "lost":
        bench.store.record = Record("node-b", 99, "other.3", ttl=60)
        holder.renew()
    elif how in ("release", "expire"):
        holder.ask(Request(how, "web"))
    until(lambda: not address.known().in_service, 10, "it is in service by its state")
    assert bench.store.record.holder == then


class Watched:
    """A holder with a resource of one dependent, which may run, and the watch of both, which is not begun. ``lives``: seconds of its address."""

    def __init__(self, bench: Bench, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, lives: int | None = 0) -> None:
        address = Recorded(folder)
        address.links, address.lives = ["lo"] * (lives != 0), lives
        definition = {"tag": "web", "address": "10.1.0.10/32", "interface": "lo", "dependents": [{"name": "db", "service": "db.service"}]}
        address.files.definitions.mkdir()
        (address.files.definitions / "web.json").write_text(json.dumps(definition))
        MayRun(address.files.states, "web").set()
        (folder / "template").touch()
        self._file = folder / "web.deadline"
        unit = partial(LeaseUnit, template=folder / "template", runtime=folder, deadlines=folder)
        monkeypatch.setattr(watch_module, "LeaseUnit", unit)
        self.holder = bench.holder(clock=clock, address=address, stop_budget=180.0, **SLOWLY)

        def log(event: str, **facts: Any) -> None:
            bench.events.append((event, facts))

        context = CheckerContext(
            "node-a", ("node-a", "node-b"), Checks(), True, log, Ec2HealthChecker({}, clock), PersistentState(address.files.states, log), Metrics()
        )
        self.watch = ResourceLoop(self.holder, context, clock)
        self.holder.stop_dependents = lambda seconds: None  # `dependents` does that, whose tests show it
        self.holder.start()
        until(lambda: self.holder.state.seen is not None or bench.store.slow, 5, "the record is not read")

    @property
    def stop_at(self) -> float:
        """When the checker stops them."""
        return self.watch.dependents.due()

    def unit_ends_at(self) -> float | None:
        """When the unit of the lease does."""
        return int(self._file.read_text()) / 100 if self._file.exists() else None


def test_the_checker_and_the_unit_of_the_lease_stop_dependents_a_budget_before_the_deadline(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    bench.store.record = Record("", 7, "other.2")
    watched = Watched(bench, clock, tmp_path, monkeypatch)
    acquire(watched.holder)
    until(lambda: watched.unit_ends_at() == 1600.0, 5, "the unit has another deadline")
    assert watched.stop_at == 1600.0
    clock.now = 1300.0
    watched.holder.wake()
    until(lambda: watched.unit_ends_at() == 1900.0, 5, "the unit's deadline does not move with the lease")
    assert watched.stop_at == 1900.0
    bench.store.record = Record("node-b", 99, "other.3", ttl=60)
    watched.holder.renew()
    until(lambda: watched.unit_ends_at() == 0.0, 5, "the unit has a deadline although the lease is lost")
    assert watched.stop_at == LONG_AGO


@pytest.mark.parametrize(
    ("record", "silent", "at"),
    [
        (Record("node-b", 7, "other.1", ttl=60), False, LONG_AGO),
        (Record("", 7, "other.1"), False, LONG_AGO),
        (Record("node-a", 7, "another-boot.1.1", ttl=60), False, LONG_AGO),
        (None, True, 1300.0),
    ],
    ids=["another node has it", "it was released", "it is of another boot", "the store is silent"],
)
def test_a_checker_that_begins_stops_what_it_may_not_go_on_with(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Record | None, silent: bool, at: float
) -> None:
    """Where it cannot know, it waits for as long as a first reading and a renewal take."""
    bench.store.record, bench.store.slow = record, 0.001 if silent else 0.0
    watched = Watched(bench, Clock(), tmp_path, monkeypatch)
    assert watched.stop_at == at


def test_a_checker_that_begins_goes_on_with_what_is_its_own(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.record = Record("node-a", 7, "boot1.old.3", ttl=60)
    watched = Watched(bench, Clock(), tmp_path, monkeypatch)
    until(lambda: watched.holder.state.held, 5, "it does not go on")
    assert watched.stop_at == 1600.0
    until(lambda: watched.unit_ends_at() == 1600.0, 5, "the unit has another deadline")


@pytest.mark.parametrize(
    ("lives", "at"), [(728, 1549.0), (10, 1300.0), (2000, 1600.0), (None, 1600.0)], ids=["long", "shortly", "beyond any lease", "for ever"]
)
def test_a_checker_that_begins_stops_them_a_budget_before_the_address_goes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int | None, at: float
) -> None:
    """The store is silent. The process before may have renewed the lease just now, and that shows by the address."""
    bench.store.slow = 0.001
    assert Watched(bench, Clock(), tmp_path, monkeypatch, lives).stop_at == at
