# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of the session, one decision at a time: a script of events, and what the rule asks for after each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Intent, Notice, Outcome, Read, RecordChanged, Tick
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session import MOST_PUTS, step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_values import (
    Acknowledged,
    Action,
    Event,
    Fenced,
    IntentChanged,
    Own,
    Promise,
    PromiseAsked,
    ReadEnded,
    Released,
    Resource,
    Serve,
    Session,
    Setup,
    State,
    Stop,
    Tenure,
    Write,
    WriteEnded,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES, Timing

NODES = frozenset(("me", "other", "third"))
ENDED = Session("me", "boot", 4, "far.1", alive=False)
MINE = Session("me", "boot", 5, "boot.old.1")
OTHER = Session("other", "far", 7, "far.s.1")
FREE = Resource("", "", 0, 3, "n")
HELD = Resource("other", "far", 7, 3, "n")
OWN = Resource("me", "boot", 5, 3, "n")
Records = Mapping[str, Any]


def reading(**records: Any) -> dict[str, Any]:
    """Of the sessions of the nodes and the resources by their names. The token is the record's nonce, unless it is given."""
    keys = {"me": "session/me", "other": "session/other", "third": "session/third"}
    return {keys.get(name, f"resource/{name}"): (one, one.nonce) for name, one in records.items() if one is not None}


def run(state: State, *events: Event) -> tuple[State, tuple[Action, ...]]:
    """The state, and the actions of the last event."""
    actions: tuple[Action, ...] = ()
    for event in events:
        state, actions = step(state, event)
    return state, actions


def new(*tags: str, **more: Any) -> State:
    """A process that begins and wants these resources."""
    return State(Setup("me", "boot", "p", Timing(), first=1000), NODES, tenures=dict.fromkeys(tags, Tenure(Intent.CLAIM)), **more)


def read(state: State, at: float, **records: Any) -> tuple[State, tuple[Action, ...]]:
    return run(replace(state, look=True, next_at=at), Tick(at), ReadEnded(at, reading(**records)))


def alive(*tags: str, at: float = 100.0, me: Session = ENDED, **records: Any) -> State:
    """After a read at ``at``, and the write that begins or renews the session."""
    state, _actions = read(new(*tags), at, me=me, **records)
    state, actions = run(state, Tick(at))
    assert isinstance(actions[-1], Write)
    assert [put.key for put in actions[-1].puts] == ["session/me"]
    return run(state, WriteEnded(at, ((Outcome.WRITTEN, "t"),)))[0]


def written(state: State, at: float) -> tuple[State, Write]:
    """What the node writes when it is due."""
    state, actions = run(state, Tick(at))
    assert isinstance(actions[-1], Write), actions
    return state, actions[-1]


def holding(at: float = 100.0) -> State:
    """A node that acquired the resource ``a`` with session 5."""
    state = written(alive("a", a=FREE, at=at), at)[0]
    return run(state, WriteEnded(at, ((Outcome.WRITTEN, "ta"),)))[0]


def due(state: State, at: float) -> State:
    """With a session that was renewed and a read that began at ``at``, and the next write due."""
    return replace(state, own=Own(5, at), read_from=at, call=None, next_at=0.0)


def mine_again(state: State, **records: Any) -> dict[str, Any]:
    """The records as the node has written them."""
    shown = {key.split("/")[1]: seen.record for key, seen in state.seen.items() if seen.record is not None}
    return {**shown, **records}


def test_a_resource_is_served_from_the_moment_its_write_is_confirmed_until_the_deadline_of_the_session() -> None:
    state, write = written(alive("a", a=FREE), 100.0)
    assert write.puts[0].record == Resource("me", "boot", 5, 4, "boot.p.1")
    state, actions = run(state, WriteEnded(101.0, ((Outcome.WRITTEN, "ta"),)))
    assert actions == (Serve(pytest.approx(107.8), (("a", 4),)),)
    assert run(state, Tick(107.8))[1][0] == Stop(("a",), "no renewal was confirmed in time")


@pytest.mark.parametrize(
    ("session", "serial"),
    [
        (ENDED, 5),  # ended: the next one
        (MINE, 5),  # of this boot: go on
        (replace(MINE, origin="boot0"), None),  # of another boot, or of another machine with this name
        (None, None),
    ],
)
def test_which_session_a_process_begins_with(session: Session | None, serial: int | None) -> None:
    state, _actions = read(new("a"), 100.0, me=session, a=FREE)
    state, actions = run(state, Tick(100.0))
    if serial is not None:
        assert isinstance(actions[0], Write)
        assert actions[0].puts[0].record == Session("me", "boot", serial, "boot.p.0")
        return
    assert actions == ()
    for at in (105.0, 110.1):
        state, _actions = read(state, at, me=session, a=FREE)
    state = run(state, Tick(110.1))[0]
    assert state.due == pytest.approx(110.2)
    state, write = written(state, 110.21)
    assert write.puts[0].record.rank == (6 if session else 1000)


@pytest.mark.parametrize(
    ("record", "session", "key", "after"),
    [
        (FREE, OTHER, "resource/a", 0.0),
        (replace(FREE, handoff_to=NOBODY), OTHER, "resource/a", 0.0),
        (replace(FREE, handoff_to="third"), OTHER, "resource/a", 10.2),
        (None, OTHER, "resource/a", 10.2),
        (HELD, OTHER, "session/other", 10.2),
        (HELD, replace(OTHER, ttl=20.0), "session/other", 20.4),
        (HELD, None, "session/other", 10.2),
        (HELD, replace(OTHER, serial=6), "session/other", 10.2),  # older than the resource's: the read was no snapshot, or it was restored
        (HELD, replace(OTHER, serial=8, alive=False), "resource/a", 0.0),
        (HELD, replace(OTHER, serial=9), "resource/a", 0.0),
        (replace(OWN, serial=3), OTHER, "resource/a", 0.0),
    ],
)
def test_when_a_resource_may_be_acquired(record: Resource | None, session: Session | None, key: str, after: float) -> None:
    state = alive("a", a=record, other=session)
    at = 100.0
    while at + 1.5 < 100 + after:
        at += 1.5
        state = read(state, at, **mine_again(state))[0]
        state, actions = run(state, Tick(at))
        for action in actions:
            if isinstance(action, Write):
                assert action.puts[0].key == "session/me", "too early"
                state = run(state, WriteEnded(at, ((Outcome.WRITTEN, action.puts[0].record.nonce),)))[0]
    _state, actions = run(due(state, 100 + after - 0.01), Tick(100 + after - 0.001))
    assert not after or not any(isinstance(action, Write) for action in actions), "too early"
    _state, write = written(due(state, 100 + after), 100 + after + 0.001)
    assert [put.key for put in write.puts] == [key]
    assert write.puts[0].waited == (after > 0)
    if key == "session/other":
        assert write.puts[0].record.rank > 7, "above the serial that the resource names"


def test_a_session_is_ended_before_what_it_held_is_acquired_and_that_needs_no_other_read() -> None:
    state = replace(alive("a", "b", a=HELD, b=replace(HELD, nonce="m"), other=OTHER), read_at=109.0)
    state, write = written(due(state, 110.0), 110.3)
    assert [(put.key, put.record.rank) for put in write.puts] == [("session/other", 8)]
    assert not getattr(write.puts[0].record, "alive", True)
    state, write = written(run(state, WriteEnded(110.4, ((Outcome.WRITTEN, "e"),)))[0], 110.4)
    assert [(put.key, put.record.rank) for put in write.puts] == [("resource/a", 4), ("resource/b", 4)]
    assert all(isinstance(put.record, Resource) and put.record.unfenced == ("other",) for put in write.puts)


def test_each_write_of_a_list_has_its_own_result_and_a_list_is_bounded() -> None:
    tags = [f"r{number}" for number in range(MOST_PUTS + 1)]
    state, write = written(alive(*tags, **{tag: replace(FREE, nonce=tag) for tag in tags}), 100.0)
    assert len(write.puts) == MOST_PUTS <= 100, "what DynamoDB carries out in one transaction"
    results = [(Outcome.WRITTEN, "t"), (Outcome.CONFLICT, None), *[(Outcome.UNKNOWN, None)] * (MOST_PUTS - 2)]
    state, actions = run(state, WriteEnded(100.1, tuple(results)))
    assert actions == (Serve(pytest.approx(107.8), (("r0", 4),)),)
    assert run(state, Tick(100.1))[1] == (Read(),)


def test_a_record_that_names_the_live_session_is_served() -> None:
    state = alive("a", a=HELD, other=OTHER)
    handed = Resource("me", "boot", 5, 4, "far.s.9")
    _state, actions = read(state, 101.0, **mine_again(state, a=handed))
    assert actions == (Serve(pytest.approx(107.8), (("a", 4),)),)
    _state, actions = read(state, 101.0, **mine_again(state, a=replace(handed, serial=3)))
    assert actions == ()


def test_a_process_that_starts_writes_again_what_it_finds_in_its_name() -> None:
    """An earlier process may have handed it over, in a write that is still under way."""
    state, write = written(alive("a", me=MINE, a=OWN), 100.0)
    assert (write.puts[0].expected, write.puts[0].record) == ("n", replace(OWN, nonce="boot.p.1"))
    assert run(state, WriteEnded(100.1, ((Outcome.WRITTEN, "t"),)))[1] == (Serve(pytest.approx(107.8), (("a", 3),)),)


@pytest.mark.parametrize(
    ("to", "third", "record"),
    [
        ("", None, Resource("", "", 0, 5, "boot.p.2")),
        (NOBODY, None, Resource("", "", 0, 5, "boot.p.2", handoff_to=NOBODY)),
        ("third", None, Resource("", "", 0, 5, "boot.p.2", handoff_to="third")),
        ("third", Session("third", "o", 9, "x"), Resource("third", "o", 9, 5, "boot.p.2")),
        ("third", Session("third", "o", 9, "x", alive=False), Resource("", "", 0, 5, "boot.p.2", handoff_to="third")),
    ],
)
def test_a_release_is_one_write(to: str, third: Session | None, record: Resource) -> None:
    state = read(holding(), 101.0, **mine_again(holding(), third=third))[0]
    state, write = written(run(state, IntentChanged(101.0, "a", Intent.RELEASE, to))[0], 101.0)
    assert write.puts[0].record == record
    state, actions = run(state, WriteEnded(101.1, ((Outcome.WRITTEN, "t"),)))
    assert actions == (Released("a"),)


def test_after_a_hand_over_without_a_reply_the_record_is_written_again_before_it_is_served() -> None:
    state = holding()
    records = mine_again(state)
    state = run(state, IntentChanged(101.0, "a", Intent.RELEASE, "third"), Tick(101.0), WriteEnded(101.1, ((Outcome.UNKNOWN, None),)))[0]
    state = run(state, IntentChanged(101.2, "a", Intent.CLAIM), Tick(101.2))[0]
    shown = {**reading(**records), "resource/a": (records["a"], "ta")}
    state, actions = run(state, ReadEnded(101.3, shown))
    assert not any(isinstance(action, Serve) and action.epochs for action in actions)
    state, write = written(state, 101.3)
    assert (write.puts[0].key, write.puts[0].expected) == ("resource/a", "ta")
    assert run(state, WriteEnded(101.4, ((Outcome.WRITTEN, "t"),)))[1] == (Serve(pytest.approx(107.8), (("a", 4),)),)


def test_a_session_that_another_node_ended_is_lost_with_all_that_it_held() -> None:
    state = holding()
    state, actions = read(state, 101.0, **mine_again(state, me=Session("me", "boot", 6, "x", alive=False)))
    assert actions == (Stop(("a",), "the session was ended by another node"),)
    assert written(state, 101.0)[1].puts[0].record == Session("me", "boot", 7, "boot.p.2")


@pytest.mark.parametrize("missing", ["me", "a"])
def test_a_holder_writes_a_deleted_record_again(missing: str) -> None:
    state = holding()
    state, actions = read(state, 101.0, **mine_again(state, **{missing: None}))
    assert isinstance(actions[0], Notice)
    put = written(state, 101.0)[1].puts[0]
    assert (put.expected, put.record.rank) == (None, {"me": 5, "a": 1000}[missing])
    late = run(replace(due(state, 105.0), next_at=1000.0), Tick(107.8))[1]
    assert bool(late) == (missing == "a"), "what was shown before it was deleted is good until the deadline of then"


def test_an_older_record_is_waited_for_whatever_it_says() -> None:
    state = replace(alive("a", a=FREE), highest={"session/me": 5, "resource/a": 9})
    state, _actions = read(replace(state, seen={}), 100.5, me=state.seen["session/me"].record, a=FREE)
    assert not any(isinstance(action, Write) for action in run(state, Tick(100.5))[1])
    assert state.free_at("resource/a") == pytest.approx(110.7)


def test_the_wait_begins_again_after_a_gap_and_after_a_refusal() -> None:
    state = alive("a", a=HELD, other=OTHER)
    assert state.free_at("session/other") == pytest.approx(110.2)
    assert read(state, 105.0, **mine_again(state))[0].free_at("session/other") == pytest.approx(110.2)
    assert read(state, 110.5, **mine_again(state))[0].free_at("session/other") == pytest.approx(120.7)
    later = read(state, 109.0, **mine_again(state))[0]
    later, write = written(due(later, 110.0), 110.3)
    later = run(later, WriteEnded(110.4, ((Outcome.CONFLICT, None),)))[0]
    assert write.puts[0].key == "session/other"
    assert read(later, 110.5, **mine_again(state))[0].free_at("session/other") == pytest.approx(120.7)


ASKED = PromiseAsked(101.0, "other", 7, 10.0, NODES)


@pytest.mark.parametrize(
    ("event", "promised"),
    [
        (ASKED, True),
        (replace(ASKED, serial=8), True),  # this node has not read it yet
        (replace(ASKED, serial=6), False),
        (replace(ASKED, holder="me", serial=9), False),
        (replace(ASKED, nodes=frozenset(("me", "other"))), False),
    ],
)
def test_which_promise_is_given(event: PromiseAsked, promised: bool) -> None:
    state, actions = run(alive("a", a=HELD, other=OTHER), event)
    assert actions == ((Promise("other", event.serial, pytest.approx(111.2)),) if promised else ())
    assert state.free_at("session/other") == pytest.approx(111.2 if promised else 110.2)


def test_no_promise_while_the_end_of_that_session_is_under_way() -> None:
    state = written(due(replace(alive("a", a=HELD, other=OTHER), read_at=109.0), 110.0), 110.3)[0]
    assert run(state, replace(ASKED, now=110.4))[1] == ()
    state = run(state, WriteEnded(110.5, ((Outcome.UNKNOWN, None),)))[0]
    assert run(state, replace(ASKED, now=110.6))[1] == ()
    shown = mine_again(state, other=replace(OTHER, nonce="far.s.2"))
    assert run(read(state, 110.7, **shown)[0], replace(ASKED, now=110.8))[1] != ()


@pytest.mark.parametrize(
    ("event", "deadline"),
    [
        (Acknowledged(103.0, 5, 102.5, NODES), 110.3),
        (Acknowledged(103.0, 5, 99.0, NODES), None),
        (Acknowledged(103.0, 4, 102.5, NODES), None),
        (Acknowledged(103.0, 5, 102.5, frozenset(("other",))), None),
        (Acknowledged(107.9, 5, 107.0, NODES), None),
    ],
)
def test_promises_of_all_other_nodes_prolong_a_deadline_that_has_not_passed(event: Acknowledged, deadline: float | None) -> None:
    state = holding()
    assert state.asking is None
    assert run(state, event)[1] == () or event.now > 107, "the store answers"
    state = run(replace(state, look=True, next_at=0.0), Tick(101.0), ReadEnded(102.0, None))[0]
    assert state.asking == 5
    served = [action for action in run(state, event)[1] if isinstance(action, Serve)]
    assert served == ([] if deadline is None else [Serve(pytest.approx(deadline), (("a", 4),))])


def test_the_record_says_until_the_fence_that_a_node_has_to_be_fenced() -> None:
    state = alive("a", a=HELD, other=replace(OTHER, serial=8, alive=False))
    state = run(written(state, 100.0)[0], WriteEnded(100.1, ((Outcome.WRITTEN, "ta"),)))[0]
    assert state.tenures["a"].unfenced == ("other",)
    _state, write = written(run(state, Fenced(100.2, "a"))[0], 100.2)
    assert write.puts[0].record == Resource("me", "boot", 5, 4, "boot.p.2")


def test_a_nudge_brings_another_read_also_if_one_is_under_way() -> None:
    state = run(replace(alive("a", a=HELD, other=OTHER), next_at=1000.0), RecordChanged(100.5))[0]
    state, actions = run(state, Tick(100.5))
    assert actions == (Read(),)
    state = run(state, RecordChanged(100.6), ReadEnded(100.7, reading(**mine_again(state))))[0]
    assert run(state, Tick(100.7))[1] == (Read(),)


def test_a_renewal_without_a_reply_counts_from_its_sending_once_a_read_shows_it() -> None:
    state, write = written(holding(), 102.0)
    state = run(state, WriteEnded(103.0, ((Outcome.UNKNOWN, None),)))[0]
    _state, actions = read(state, 103.1, **mine_again(state, me=write.puts[0].record))
    assert actions == (Serve(pytest.approx(109.8), (("a", 4),)),)


def test_the_deadline_counts_from_the_begin_of_the_last_good_read_if_that_is_before_the_renewal() -> None:
    state = holding()
    state = run(replace(state, look=True, next_at=0.0), Tick(101.0), ReadEnded(101.8, reading(**mine_again(state))))[0]
    _state, actions = run(written(state, 102.0)[0], WriteEnded(102.1, ((Outcome.WRITTEN, "t"),)))
    assert actions == (Serve(pytest.approx(108.8), (("a", 4),)),)


def test_a_renewal_counts_from_before_it_was_sent() -> None:
    state = run(written(holding(), 102.0)[0], WriteEnded(103.0, ((Outcome.WRITTEN, "t"),)))[0]
    _state, actions = read(state, 103.1, **mine_again(state))
    assert actions == (Serve(pytest.approx(109.8), (("a", 4),)),)


def test_a_record_that_is_missing_again_after_a_refused_write_is_waited_for_again() -> None:
    state = read(alive("a", other=OTHER), 108.0, other=OTHER)[0]
    state, write = written(due(replace(state, seen={**state.seen, "session/me": alive("a").seen["session/me"]}), 110.0), 110.3)
    assert (write.puts[0].key, write.puts[0].expected) == ("resource/a", None)
    state = run(state, WriteEnded(110.4, ((Outcome.CONFLICT, None),)))[0]
    assert read(state, 110.5, other=OTHER)[0].free_at("resource/a") == pytest.approx(120.7)


def test_a_missing_record_is_waited_for_by_the_longest_profile() -> None:
    state = new("a")
    state = read(replace(state, setup=replace(state.setup, timing=PROFILES["fast"])), 100.0, me=ENDED)[0]
    assert state.free_at("resource/a") == pytest.approx(110.2)


def test_a_promise_excludes_the_replacement_of_a_missing_resource_record_and_is_never_shortened() -> None:
    state = run(alive("a", other=OTHER), replace(ASKED, ttl=20.0), ASKED)[0]
    assert state.free_at("resource/a") == state.free_at("session/other") == pytest.approx(121.4)


def test_a_node_without_a_session_reads_before_it_writes_after_a_failed_read() -> None:
    state = run(read(new("a"), 100.0, me=ENDED, a=FREE)[0], RecordChanged(100.1), Tick(100.1), ReadEnded(100.2, None))[0]
    state = run(replace(state, look=False), IntentChanged(100.3, "a", Intent.CLAIM))[0]
    assert run(state, Tick(100.3))[1] == (Read(),)


def test_a_wait_counts_only_as_long_as_the_node_reads() -> None:
    _state, actions = run(due(alive("a", other=OTHER), 110.0), Tick(110.3))
    assert actions == (Read(),)


def test_promises_do_not_revive_a_resource_whose_release_is_under_way() -> None:
    """Its caller wants it back meanwhile. Whether it was released is known only once the write has ended."""
    state = replace(due(holding(), 101.0), lost=True)
    state, actions = run(state, IntentChanged(101.1, "a", Intent.RELEASE, NOBODY), Tick(101.1))
    assert isinstance(actions[-1], Write)
    state, actions = run(state, IntentChanged(101.2, "a", Intent.CLAIM), Acknowledged(101.3, 5, 101.25, NODES))
    assert actions == ()
    assert state.held == ()
    assert run(state, WriteEnded(101.4, ((Outcome.WRITTEN, "tb"),)))[0].held == ()
    assert run(state, WriteEnded(101.4, ((Outcome.NOT_SENT, None),)))[0].held == ("a",)
