# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule, one decision at a time: a script of events, and what the rule asks for after each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule import step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import (
    Acknowledged,
    Action,
    Contact,
    Demote,
    Event,
    Fenced,
    Identity,
    Intent,
    IntentChanged,
    Notice,
    Outcome,
    Promise,
    PromiseAsked,
    Read,
    ReadEnded,
    Reading,
    RecordChanged,
    Released,
    Serve,
    State,
    Tick,
    Write,
    WriteEnded,
    valid_lft,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES, Timing

TIMING = Timing()
ME = Identity("me", "boot")
OTHERS = Record("other", 7, "far.s.1")
FREE = Record("", 7, "far.s.2")
MINE = Record("me", 7, "boot.old.3")


def after(*events: Event, state: State | None = None) -> tuple[State, tuple[Action, ...]]:
    """The state, and the actions of the last event."""
    state, actions = state or State(ME, "s", TIMING, first_epoch=1000), ()
    for event in events:
        state, actions = step(state, event)
    return state, actions


def polling(state: State, until: float, record: Record | None, read_as: object = "t1") -> State:
    """A standby that goes on reading the same, four seconds apart, for as long as that is before ``until``."""
    while state.read_at + 4 < until:
        at = state.read_at + 4
        state, _actions = after(Tick(at), ReadEnded(at, Reading(record, read_as)), state=state)
    return state


def claiming(record: Record | None, read_as: object = "t1", at: float = 100.0) -> State:
    """A node that wants the lease and has just read it for the first time, at ``at``."""
    return after(IntentChanged(at, Intent.CLAIM), Tick(at), ReadEnded(at, Reading(record, read_as)))[0]


def holding(at: float = 100.0) -> State:
    """A node that acquired at ``at``, with epoch 8 and token t2."""
    return after(Tick(at), WriteEnded(at, Outcome.WRITTEN, "t2"), state=claiming(FREE, at=at))[0]


@pytest.mark.parametrize(
    ("record", "free_after"),
    [
        (FREE, 0.0),
        (replace(FREE, handoff_to="me"), 0.0),
        (replace(FREE, handoff_to="third"), 10.2),
        (OTHERS, 10.2),
        (replace(OTHERS, ttl=30.0), 30.6),
        (replace(OTHERS, ttl=1.0), 10.2),
        (replace(MINE, nonce="clone.s.1"), 10.2),
        (None, 10.2),
    ],
)
def test_when_a_standby_may_take_over(record: Record | None, free_after: float) -> None:
    state = polling(claiming(record), 100.0 + free_after, record)
    if free_after:
        state, actions = after(Tick(100.0 + free_after - 0.01), state=state)
        assert actions == (Read(),), "too early"
        state, _actions = after(ReadEnded(100.0 + free_after - 0.01, Reading(record, "t1")), state=state)
        assert state.due == pytest.approx(100.0 + free_after)
    _state, actions = after(Tick(100.0 + free_after + 1e-6), state=state)
    epoch = 1000 if record is None else 8
    unfenced = ("other",) if record is not None and record.holder == "other" else ()
    assert actions == (Write("t1", Record("me", epoch, "boot.s.0", ttl=10.0, unfenced=unfenced)),)


def test_a_renewal_seen_starts_the_wait_again() -> None:
    state, _actions = after(Tick(105), ReadEnded(105.5, Reading(replace(OTHERS, nonce="far.s.9"), "t2")), state=claiming(OTHERS))
    assert state.free_at() == pytest.approx(115.7)


def test_the_wait_counts_from_the_end_of_the_read() -> None:
    state, _actions = after(IntentChanged(0, Intent.CLAIM), Tick(100), ReadEnded(140, Reading(OTHERS, "t1")))
    assert state.free_at() == pytest.approx(150.2)


def test_the_deadline_counts_from_before_the_write() -> None:
    state, actions = after(Tick(100), WriteEnded(103, Outcome.WRITTEN, "t2"), state=claiming(FREE))
    assert actions == (Serve(8, pytest.approx(107.8)),)
    assert state.due == pytest.approx(103, abs=1.01)
    assert valid_lft(107.8, 103) == 4


def test_a_confirmation_after_the_deadline_serves_nothing() -> None:
    state, actions = after(Tick(100), WriteEnded(107.8, Outcome.WRITTEN, "t2"), state=claiming(FREE))
    assert (state.held, actions) == (None, ())


@pytest.mark.parametrize(
    ("record", "unfenced"),
    [
        (OTHERS, ("other",)),
        (FREE, ()),
        (None, ()),
        (Record("", 7, "far.s.3", handoff_to="third"), ()),
        (MINE, ()),
        (replace(OTHERS, unfenced=("third",)), ("third", "other")),
        (replace(OTHERS, unfenced=("me",)), ("other",)),
        (replace(FREE, unfenced=("third", "me")), ("third",)),
        (replace(MINE, unfenced=("third",)), ("third",)),
    ],
)
def test_the_record_names_who_held_it_and_did_not_release_it(record: Record | None, unfenced: tuple[str, ...]) -> None:
    """For as long as it is held, also where the reply was lost, and after a release."""
    waited = after(Tick(120), state=polling(claiming(record), 120, record))[0]
    state = after(WriteEnded(120.1, Outcome.WRITTEN, "t2"), state=waited)[0]
    sent = waited.sent
    assert sent is not None
    unsure = after(WriteEnded(120.1, Outcome.UNKNOWN), Tick(120.2), ReadEnded(120.3, Reading(sent.record, "t2")), state=waited)[0]
    renewed = after(Tick(122.1), WriteEnded(122.2, Outcome.WRITTEN, "t3"), state=state)[0]
    for each in (state, unsure, renewed):
        assert each.held is not None
        assert each.held.unfenced == unfenced
        assert each.seen is not None
        assert each.seen.record is not None
        assert each.seen.record.unfenced == unfenced
    _state, released = after(IntentChanged(122.3, Intent.RELEASE), Tick(122.3), state=renewed)
    assert isinstance(released[-1], Write)
    assert released[-1].record.unfenced == unfenced


def test_once_it_is_in_service_the_record_says_so_at_once() -> None:
    waited = after(Tick(120), state=polling(claiming(OTHERS), 120, OTHERS))[0]
    held = after(WriteEnded(120.1, Outcome.WRITTEN, "t2"), state=waited)[0]
    state, actions = after(Fenced(120.2), Tick(120.2), state=held)
    assert isinstance(actions[-1], Write)
    assert (actions[-1].record.holder, actions[-1].record.unfenced) == ("me", ())
    state, actions = after(WriteEnded(120.3, Outcome.WRITTEN, "t3"), IntentChanged(120.4, Intent.RELEASE), Tick(120.4), state=state)
    assert isinstance(actions[-1], Write)
    assert (actions[-1].record.holder, actions[-1].record.unfenced) == ("", ())


def test_it_says_so_too_if_a_renewal_was_under_way() -> None:
    waited = after(Tick(120), state=polling(claiming(OTHERS), 120, OTHERS))[0]
    renewing = after(WriteEnded(120.1, Outcome.WRITTEN, "t2"), Tick(122.1), state=waited)[0]
    _state, actions = after(Fenced(122.15), WriteEnded(122.2, Outcome.WRITTEN, "t3"), Tick(122.2), state=renewing)
    assert isinstance(actions[-1], Write)
    assert actions[-1].record.unfenced == ()


def test_what_was_fenced_before_a_loss_says_nothing_of_the_next_hold() -> None:
    waited = after(Tick(120), state=polling(claiming(OTHERS), 120, OTHERS))[0]
    held = after(WriteEnded(120.1, Outcome.WRITTEN, "t2"), Fenced(120.2), state=waited)[0]
    lost = after(Tick(130), IntentChanged(131, Intent.CLAIM), state=held)[0]
    assert (lost.held, lost.fenced) == (None, False)


def test_a_record_that_was_deleted_is_put_back_with_who_is_to_be_fenced() -> None:
    waited = after(Tick(120), state=polling(claiming(OTHERS), 120, OTHERS))[0]
    held = after(WriteEnded(120.1, Outcome.WRITTEN, "t2"), state=waited)[0]
    _state, actions = after(
        Tick(122.1), WriteEnded(122.2, Outcome.CONFLICT), Tick(122.2), ReadEnded(122.3, Reading(None, None)), Tick(122.3), state=held
    )
    assert isinstance(actions[-1], Write)
    assert actions[-1].record.unfenced == ("other",)


def test_the_node_goes_on_with_its_own_lease_after_a_restart() -> None:
    _state, actions = after(Tick(100), state=claiming(MINE))
    assert actions == (Write("t1", Record("me", 7, "boot.s.0")),)


def test_it_stops_at_the_deadline_less_what_stopping_takes() -> None:
    slow = replace(holding(), timing=replace(TIMING, stop_budget=1.5))
    assert slow.due <= 106.3
    assert not any(isinstance(action, Demote) for action in after(Tick(106.29), state=slow)[1])
    state, actions = after(Tick(106.3), state=slow)
    assert actions == (Demote("no renewal was confirmed in time"),)
    assert (state.held, state.intent) == (None, Intent.WATCH)


def test_an_ambiguous_renewal_is_settled_by_reading_its_nonce() -> None:
    state, actions = after(Tick(102), state=holding())
    assert isinstance(actions[0], Write)
    sent = actions[0].record
    state, actions = after(WriteEnded(103.5, Outcome.UNKNOWN), Tick(103.5), state=state)
    assert actions == (Read(),)
    state, actions = after(ReadEnded(104, Reading(sent, "t3")), state=state)
    assert actions == (Serve(8, pytest.approx(109.8)),), "it counts from its own sending"
    assert state.open == ()


def test_an_ambiguous_renewal_that_has_not_come_is_sent_anew_and_may_still_win() -> None:
    state, (first,) = after(Tick(102), state=holding())
    assert isinstance(first, Write)
    old = holding().seen
    state, (second,) = after(WriteEnded(103.5, Outcome.UNKNOWN), Tick(103.5), ReadEnded(103.6, old), Tick(103.6), state=state)
    assert isinstance(second, Write)
    assert second.expected == first.expected
    assert second.record.nonce != first.record.nonce
    state, actions = after(WriteEnded(103.7, Outcome.CONFLICT), Tick(103.7), ReadEnded(103.8, Reading(first.record, "t3")), state=state)
    assert actions == (Serve(8, pytest.approx(109.8)),), "the first one came late: the deadline is the first one's"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record("other", 9, "far.s.5"), "other holds the lease with epoch 9"),
        (Record("me", 9, "clone.s.5"), "another machine holds the lease under the name me"),
        (Record("", 9, "far.s.5"), "the lease was released by somebody else"),
    ],
)
def test_losing_it(record: Record, reason: str) -> None:
    state, actions = after(Tick(102), WriteEnded(102.1, Outcome.CONFLICT), Tick(102.1), ReadEnded(102.2, Reading(record, "t9")), state=holding())
    assert isinstance(actions[0], Demote)
    assert actions[0].reason.startswith(reason)
    assert state.held is None


def test_a_deleted_record_is_put_back_by_its_holder_with_a_higher_epoch() -> None:
    state, actions = after(Tick(102), WriteEnded(102.1, Outcome.CONFLICT), Tick(102.1), ReadEnded(102.2, Reading(None, None)), state=holding())
    assert isinstance(actions[0], Notice)
    _state, actions = after(Tick(102.2), state=state)
    assert actions == (Write(None, Record("me", 1000, "boot.s.2")),)


def test_the_epoch_never_falls() -> None:
    remembers = replace(State(ME, "s", TIMING, first_epoch=1), highest=41)
    state, actions = after(IntentChanged(0, Intent.CLAIM), Tick(0), ReadEnded(0, Reading(FREE, "t1")), state=remembers)
    assert [str(action)[:80] for action in actions] == [
        "the lease's epoch fell from 41 to 7: the record was changed by hand or restored from a backup"[:80]
    ]
    for record in (FREE, None, MINE, OTHERS):
        state, _actions = after(IntentChanged(0, Intent.CLAIM), Tick(0), ReadEnded(0, Reading(record, "t1")), state=remembers)
        _state, (written,) = after(Tick(11), state=polling(state, 11, record))
        assert isinstance(written, Write)
        assert (written.record.holder, written.record.epoch) == ("me", 42)


RESTORED = [MINE, FREE, replace(FREE, handoff_to="me"), replace(FREE, handoff_to="-"), OTHERS, replace(MINE, nonce="clone.s.1")]


@pytest.mark.parametrize("record", RESTORED, ids=lambda record: f"{record.holder or 'released'} {record.handoff_to}")
def test_a_record_that_was_restored_is_waited_for_whatever_it_says(record: Record) -> None:
    """It says nothing of who holds by the later epoch that this node has seen, nor for how long that node was promised it."""
    seen = claiming(replace(OTHERS, epoch=8, ttl=20.0))
    state = polling(after(Tick(101), ReadEnded(101, Reading(record, "t2")), state=seen)[0], 121.3, record, "t2")
    assert state.due == pytest.approx(121.4), "the holder of epoch 8 may serve until then"
    assert after(Tick(121.5), state=state)[1] == (
        Write("t2", Record("me", 9, "boot.s.0", unfenced=(record.holder,) if record.holder == "other" else ())),
    )


def test_a_holder_puts_a_restored_record_of_its_own_back_at_once() -> None:
    state, _actions = after(Tick(102), WriteEnded(102.1, Outcome.CONFLICT), Tick(102.1), ReadEnded(102.2, Reading(MINE, "t9")), state=holding())
    assert after(Tick(102.2), state=state)[1] == (Write("t9", Record("me", 9, "boot.s.2")),)


def test_a_refused_write_begins_the_wait_anew_although_the_record_looks_the_same() -> None:
    """Missing, then taken by somebody, whose record was deleted: he serves on, and this node knows of him by the refusal alone."""
    state = polling(claiming(None, 0), 110.3, None, 0)
    state, (write,) = after(Tick(110.3), state=state)
    assert isinstance(write, Write)
    state, _actions = after(WriteEnded(110.4, Outcome.CONFLICT), Tick(110.4), ReadEnded(110.5, Reading(None, 0)), state=state)
    assert state.free_at() == pytest.approx(120.7)


@pytest.mark.parametrize("record", [None, OTHERS])
def test_what_was_not_watched_for_a_lease_is_waited_for_anew(record: Record | None) -> None:
    state, actions = after(Tick(110.6), state=claiming(record))
    assert actions == (Read(),), "what was read 10.6 s ago is not written against"
    state, _actions = after(ReadEnded(110.7, Reading(record, "t1")), state=state)
    assert state.free_at() == pytest.approx(120.9)
    assert polling(claiming(record), 150, record).since == 100


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_missing_record_is_waited_for_as_long_as_the_longest_profile(name: str) -> None:
    """Who holds by it, and with which profile, cannot be told."""
    state = replace(claiming(None), timing=PROFILES[name])
    assert state.free_at() == pytest.approx(110.2)
    state, _actions = after(Tick(101), ReadEnded(101, Reading(None, 0)), state=replace(claiming(replace(OTHERS, ttl=30.0)), timing=PROFILES[name]))
    assert state.free_at() == pytest.approx(131.6), "the last holder was promised more than that"


def test_a_release_is_written_and_confirmed() -> None:
    state, actions = after(IntentChanged(101, Intent.RELEASE, "third"), Tick(101), state=holding())
    assert state.held is None, "from the order on it no longer holds"
    assert actions == (Write("t2", Record("", 8, "boot.s.1", "third")),)
    state, actions = after(WriteEnded(101.1, Outcome.WRITTEN, "t3"), state=state)
    assert actions == (Released(),)
    assert state.intent is Intent.WATCH


def test_a_release_waits_for_a_renewal_on_its_way() -> None:
    state, _actions = after(Tick(102), IntentChanged(102.1, Intent.RELEASE), state=holding())
    state, actions = after(WriteEnded(102.2, Outcome.WRITTEN, "t3"), state=state)
    assert actions == (), "the renewal does not bring the address back"
    assert after(Tick(102.2), state=state)[1] == (Write("t3", Record("", 8, "boot.s.2")),)


def test_an_ambiguous_release_is_settled_by_its_nonce() -> None:
    state, (write,) = after(IntentChanged(101, Intent.RELEASE), Tick(101), state=holding())
    assert isinstance(write, Write)
    _state, actions = after(WriteEnded(102.5, Outcome.UNKNOWN), Tick(102.5), ReadEnded(102.6, Reading(write.record, "t3")), state=state)
    assert actions == (Released(),)


def test_nothing_to_release() -> None:
    _state, actions = after(IntentChanged(101, Intent.RELEASE), Tick(101), state=claiming(OTHERS))
    assert actions == (Released(),)


def test_a_store_that_is_out_of_reach_is_asked_again_after_a_poll() -> None:
    state, _actions = after(IntentChanged(0, Intent.CLAIM), Tick(0), ReadEnded(1.5, None))
    assert state.due == 2.5
    state, _actions = after(Tick(102), WriteEnded(102.1, Outcome.NOT_SENT), state=holding())
    assert state.due == pytest.approx(103.1)
    assert after(Tick(103.1), state=state)[1][0].__class__ is Write


def test_a_watcher_only_reads() -> None:
    state, actions = after(Tick(0), ReadEnded(0, Reading(FREE, "t1")), Tick(50))
    assert actions == (Read(),)
    assert state.busy


# ---- failsafe


def cut_off() -> State:
    """A holder since 100 with epoch 8 that could neither renew nor read."""
    return after(Tick(102), WriteEnded(103.5, Outcome.UNKNOWN), Tick(103.5), ReadEnded(105, None), state=holding())[0]


def test_acknowledged_by_all_it_holds_on_from_when_it_asked() -> None:
    state = cut_off()
    assert state.asking == 8
    state, actions = after(Acknowledged(105.2, 8, 105.0), state=state)
    assert actions == (Serve(8, pytest.approx(112.8)),)
    assert state.due == pytest.approx(106.0), "it goes on asking the store"
    assert after(Acknowledged(105.3, 8, 104.0), state=state)[1] == (), "an older one takes nothing away"
    state, (read,) = after(Tick(106.0), state=state)
    assert isinstance(read, Read)
    _state, actions = after(ReadEnded(107.4, None), Tick(112.8), state=state)
    assert actions == (Demote("no renewal was confirmed in time"),)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (holding(), Acknowledged(102, 8, 101.9)),
        (cut_off(), Acknowledged(105.2, 7, 105.0)),
        (cut_off(), Acknowledged(107.8, 8, 107.0)),
        (claiming(MINE), Acknowledged(105.2, 7, 105.0)),
        (after(IntentChanged(105, Intent.RELEASE), state=cut_off())[0], Acknowledged(105.2, 8, 105.0)),
        (after(Tick(102), WriteEnded(102.1, Outcome.CONFLICT), Tick(102.1), ReadEnded(103, None), state=holding())[0], Acknowledged(103.2, 8, 103.1)),
    ],
    ids=["the store answers", "of another epoch", "the hold has ended", "it holds nothing", "it lets go", "the record has changed"],
)
def test_an_acknowledgement_that_does_not_count(state: State, event: Acknowledged) -> None:
    assert after(event, state=state) == (state, ())


def test_back_in_touch_it_keeps_what_was_acknowledged_and_renews_at_once() -> None:
    state, _actions = after(Acknowledged(107.0, 8, 106.9), state=cut_off())
    renewal = state.open[0].record
    assert (renewal.holder, state.open[0].sent_at) == ("me", 102)
    state, actions = after(Tick(110), ReadEnded(110.1, Reading(renewal, "t3")), state=state)
    assert actions == (Serve(8, pytest.approx(114.7)),), "not the deadline of the renewal that has come late, which is over"
    assert state.asking is None
    assert after(Tick(110.1), state=state)[1] == (Write("t3", Record("me", 8, "boot.s.2")),)


def test_a_record_of_another_holder_ends_it() -> None:
    state, _actions = after(Acknowledged(107.0, 8, 106.9), state=cut_off())
    state, actions = after(Tick(107.5), ReadEnded(108, Reading(Record("other", 9, "far.s.5"), "t9")), state=state)
    assert actions == (Demote("other holds the lease with epoch 9"),)
    assert after(Acknowledged(108.1, 8, 108.0), state=state)[1] == ()


def asked(at: float, epoch: int = 7, holder: str = "other", ttl: float = 10.0) -> PromiseAsked:
    return PromiseAsked(at, holder, epoch, ttl)


def test_an_acknowledgement_is_a_promise() -> None:
    state, actions = after(asked(105), state=claiming(OTHERS))
    assert actions == (Promise("other", 7, pytest.approx(115.2)),)
    state, actions = after(Tick(110.3), state=polling(state, 110.3, OTHERS))
    assert actions == (Read(),), "without the promise it would be free at 110.2"
    state, _actions = after(ReadEnded(110.4, Reading(OTHERS, "t1")), state=state)
    assert state.due == pytest.approx(111.4)
    assert after(Tick(115.3), state=polling(state, 115.3, OTHERS))[1] == (Write("t1", Record("me", 8, "boot.s.0", unfenced=("other",))),)


def test_a_promise_lasts_as_long_as_the_longest_lease() -> None:
    assert after(asked(105, ttl=30), state=claiming(OTHERS))[0].bound_until == pytest.approx(135.6)
    assert after(asked(105), state=claiming(replace(OTHERS, ttl=30)))[0].bound_until == pytest.approx(135.6)
    state, _actions = after(asked(105, ttl=30), asked(106), state=claiming(OTHERS))
    assert state.bound_until == pytest.approx(135.6), "a later one takes nothing away"


def test_a_promise_holds_although_the_record_says_it_is_free_or_even_mine() -> None:
    for record in (Record("", 8, "far.s.9", "me"), Record("me", 8, "boot.old.9")):
        state, _actions = after(asked(105), Tick(105.5), ReadEnded(105.6, Reading(record, "t9")), state=claiming(OTHERS))
        assert state.due > 106
        assert after(Tick(107), state=state)[1] == (Read(),)


def test_a_release_of_the_acknowledged_epoch_ends_the_promise() -> None:
    state, _actions = after(asked(105), Tick(105.5), ReadEnded(105.6, Reading(replace(FREE, handoff_to="me"), "t9")), state=claiming(OTHERS))
    assert (state.promise, state.due) == (None, 105.6)
    assert after(Tick(105.6), state=state)[1] == (Write("t9", Record("me", 8, "boot.s.0")),)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (holding(), asked(102, 9)),
        (after(Tick(100), state=claiming(FREE))[0], asked(100.1, 8)),
        (after(Tick(100), WriteEnded(101.5, Outcome.UNKNOWN), state=claiming(FREE))[0], asked(102, 8)),
        (after(IntentChanged(101, Intent.RELEASE), Tick(101), WriteEnded(102.5, Outcome.UNKNOWN), state=holding())[0], asked(103, 9)),
        (claiming(FREE), asked(102, 7)),
        (claiming(OTHERS), asked(102, 6, "third")),
        (claiming(OTHERS), asked(102, 7, "third")),
        (claiming(OTHERS), asked(102, 8, "me")),
        (after(asked(101, 9), state=claiming(OTHERS))[0], asked(102, 8)),
    ],
    ids=[
        "it holds",
        "a claim is under way",
        "a claim may still take effect",
        "a release may still take effect",
        "that epoch was released",
        "a later epoch was seen",
        "another holds that epoch",
        "its own name",
        "a later epoch was acknowledged",
    ],
)
def test_who_does_not_acknowledge(state: State, event: PromiseAsked) -> None:
    assert after(event, state=state) == (state, ())


def test_who_knows_nothing_of_the_record_acknowledges() -> None:
    state, actions = after(IntentChanged(100, Intent.CLAIM), Tick(100), asked(100.5, 900))
    assert [type(action) for action in actions] == [Promise]
    state, _actions = after(ReadEnded(101, Reading(FREE, "t1")), state=state)
    assert state.due == pytest.approx(102.0), "free, but promised"


def test_nudged_it_looks_at_once() -> None:
    assert after(Tick(100.3), state=claiming(OTHERS))[1] == ()
    state, _actions = after(RecordChanged(100.3), state=claiming(OTHERS))
    assert after(Tick(100.3), state=state)[1] == (Read(),)
    assert after(RecordChanged(100.3), state=holding())[0] == holding()
    assert holding().contact is Contact.GOOD


def test_nudged_while_it_looks_it_looks_again() -> None:
    state, _actions = after(Tick(101.0), RecordChanged(101.1), ReadEnded(101.2, Reading(OTHERS, "t1")), state=claiming(OTHERS))
    state, actions = after(Tick(101.2), state=state)
    assert actions == (Read(),)
    state, _actions = after(ReadEnded(101.3, Reading(OTHERS, "t1")), state=state)
    assert after(Tick(101.4), state=state)[1] == (), "once"
