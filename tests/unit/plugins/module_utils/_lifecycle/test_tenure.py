# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenure of a resource on a node: tables of single steps. `test_tenure_time` has the schedules in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotConverged, Refused, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Held
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER, LogEvent
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure import (
    HANDS_OFF,
    HANDS_OFF_FENCING,
    HANDS_OFF_UP,
    fence_first,
    hands_off,
    left_longer,
    refusal,
    step,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure_values import (
    PATIENCE,
    Action,
    AddressObserved,
    Do,
    Done,
    Event,
    Finish,
    LeaseView,
    Lost,
    Observed,
    Phase,
    Prolonged,
    Released,
    Removal,
    Renewed,
    Requested,
    RequestKind,
    ResourceView,
    Stage,
    Start,
    State,
    StopDependents,
)

#: A lease is held for 7.8 s, and dependents have 1 s to stop. A record binds for 10.2 s.
TIMING = Timing(stop_budget=1.0)
NOW = 100.0

MINE, THEIRS = Record("node-a", 8, "boot1.1"), Record("node-b", 9, "other.1")
FREE, GIVEN = Record("", 7, "other.2"), Record("", 7, "other.2", "node-a")
HELD = Held(8, 107.8)
HOLDS = LeaseView(held=HELD, seen=True, record=MINE, owned=True, highest=8)
OWNED = replace(HOLDS, held=None)
ELSEWHERE = LeaseView(seen=True, record=THEIRS, highest=9)
OPEN = LeaseView(seen=True, record=FREE, highest=7)
MISSING = LeaseView(seen=True, highest=7)
UNREAD = LeaseView(highest=9)
UP, DOWN, UNFENCED = ResourceView(True, True), ResourceView(False, True), ResourceView(False, False)

STANDBY = State("web", "node-a", TIMING, start=Start.SETTLED, lease=OPEN, reported=OPEN)
SERVING = replace(
    STANDBY, phase=Phase.HOLDING, lease=HOLDS, reported=HOLDS, serving=True, link="eth0", alive_until=105.0, since=90.0, taken=True, handed=True
)
BEGUN = replace(STANDBY, start=Start.UNREAD, lease=UNREAD, reported=UNREAD)

ACQUIRE = Requested(NOW, 1, RequestKind.ACQUIRE, DOWN, wait=20.0)
RELEASE = Requested(NOW, 2, RequestKind.RELEASE, DOWN, handoff_to="node-b")
WITHDRAW = Requested(NOW, 3, RequestKind.WITHDRAW, DOWN)
EXPIRE = Requested(NOW, 4, RequestKind.EXPIRE, DOWN)
STILL_UP, SILENT = NotConverged("it is still there"), ServiceError("the store is silent", retryable=True, ambiguous=True)
DENIED, RUNS = ServiceError("the store denies it"), Refused("db.service is active")

REMOVING = replace(SERVING, serving=False, removal=Removal(Stage.ADDRESS, request=WITHDRAW))
LOSING = replace(STANDBY, serving=True, link="eth0", lease=OWNED, reported=OWNED, removal=Removal(Stage.DEPENDENTS, 101.0, lost="late"))
LEAVING = replace(LOSING, serving=False, removal=Removal(Stage.ADDRESS, 101.0, lost="late"))
ASKING = replace(STANDBY, phase=Phase.ACQUIRING, waiting=ACQUIRE, since=99.0, expired=True)
RELEASING = replace(STANDBY, phase=Phase.RELEASING, waiting=RELEASE, lease=OWNED, reported=OWNED, released_at=99.0, hands_off_until=130.0)
RESUMING = replace(STANDBY, phase=Phase.RESUMING, lease=OWNED, reported=OWNED)
CLAIMING = replace(STANDBY, phase=Phase.CLAIMING, since=99.0, expired=True)


def text(action: Action) -> str:
    """An action in short."""
    if isinstance(action, Do):
        return action.name
    if isinstance(action, LogEvent):
        return " ".join(["log", action.event, *map(str, action.facts.values())])
    if isinstance(action, Finish):
        error = f": {action.error.kind}" if action.error is not None else ""
        return f"finish {action.number}{error}" + (f", and {action.handoff_to or 'all'} hear of it" if action.handoff_to is not None else "")
    return str(action)


def observed(lease: LeaseView, claim_at: float = NEVER, resource: ResourceView | None = UP, now: float = NOW) -> Observed:
    return Observed(now, lease, resource, claim_at)


def came(since: float = NOW, *, handed: bool = False, expired: bool = False) -> dict[str, Any]:
    """What an acquisition changes."""
    return {"since": since, "taken": True, "handed": handed, "expired": expired}


Row = tuple[str, State, Event, dict[str, Any], list[str]]

BEGINNING: list[Row] = [
    ("before the first reading nothing is done", BEGUN, observed(UNREAD, LONG_AGO), {}, []),
    (
        "a lease of its own: the address is observed",
        BEGUN,
        observed(OWNED, LONG_AGO),
        {"start": Start.OBSERVING},
        ["ObserveAddress(epoch=8)", "REPORT_CHANGE"],
    ),
    ("another node's: the address is observed", BEGUN, observed(ELSEWHERE), {"start": Start.OBSERVING}, ["ObserveAddress(epoch=9)", "REPORT_CHANGE"]),
    ("a free lease leaves nothing to settle", BEGUN, observed(OPEN), {"start": Start.SETTLED}, ["REPORT_CHANGE"]),
    ("no record leaves nothing to settle", BEGUN, observed(MISSING), {"start": Start.SETTLED}, []),
    (
        "a process that ends waits for no reading",
        replace(BEGUN, ending=True),
        observed(UNREAD),
        {"start": Start.SETTLED},
        [],
    ),
    (
        "while the address is observed nothing is claimed",
        replace(RESUMING, start=Start.OBSERVING, phase=Phase.STANDBY),
        observed(OWNED, LONG_AGO),
        {},
        [],
    ),
]

_OWN = replace(BEGUN, start=Start.OBSERVING, lease=OWNED, reported=OWNED)
_RESUMED = {"start": Start.SETTLED, "phase": Phase.RESUMING, "since": NOW}
_OTHERS = replace(_OWN, lease=ELSEWHERE, reported=ELSEWHERE)
SETTLING: list[Row] = [
    (
        "it goes on with its own lease and the address",
        _OWN,
        AddressObserved(NOW, "eth0", orderly=True),
        {**_RESUMED, "serving": True, "link": "eth0"},
        ["CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "it goes on without an address, which is not prolonged",
        _OWN,
        AddressObserved(NOW, None, orderly=True),
        _RESUMED,
        ["CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "how it came is not known, so a fence may be due",
        _OWN,
        AddressObserved(NOW, None),
        {**_RESUMED, "expired": True},
        ["CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "a former holder is to be fenced still",
        replace(_OWN, lease=replace(OWNED, record=replace(MINE, unfenced=("node-b",)))),
        AddressObserved(NOW, None, orderly=True),
        {**_RESUMED, "expired": True},
        ["CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "without another node there is nobody to fence",
        replace(_OWN, alone=True),
        AddressObserved(NOW, None),
        _RESUMED,
        ["CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "the address cannot be observed: it goes on, and says so",
        _OWN,
        AddressObserved(NOW, None, trouble="no netlink"),
        {**_RESUMED, "expired": True, "trouble": "no netlink"},
        ["log trouble no netlink", "CLAIM_LEASE", "log resumed 8"],
    ),
    (
        "somebody asked for it meanwhile",
        replace(_OWN, phase=Phase.ACQUIRING, waiting=ACQUIRE),
        AddressObserved(NOW, "eth0"),
        {"start": Start.SETTLED},
        [],
    ),
    ("a process that ends does not go on", replace(_OWN, ending=True), AddressObserved(NOW, "eth0"), {"start": Start.SETTLED}, []),
    (
        "another node holds it: the address goes",
        _OTHERS,
        AddressObserved(NOW, "eth0"),
        {"start": Start.SETTLED, "removal": Removal(Stage.ADDRESS)},
        ["log removed node-b holds the lease, and the address was still here", "TAKE_DOWN"],
    ),
    (
        "another node holds it, and no address is here",
        _OTHERS,
        AddressObserved(NOW, None),
        {"start": Start.SETTLED},
        ["RECORD_OUT_OF_SERVICE"],
    ),
    (
        "what was left from before is gone",
        replace(_OTHERS, start=Start.SETTLED, removal=Removal(Stage.ADDRESS)),
        Done(NOW, Do.TAKE_DOWN),
        {"removal": None},
        ["RECORD_OUT_OF_SERVICE", "REPORT_CHANGE"],
    ),
    (
        "a request removes the address already",
        replace(_OTHERS, removal=Removal(Stage.ADDRESS, request=WITHDRAW)),
        AddressObserved(NOW, "eth0"),
        {"start": Start.SETTLED},
        [],
    ),
]

CLAIMS: list[Row] = [
    ("its own lease is renewed again", RESUMING, observed(HOLDS), {"phase": Phase.HOLDING}, ["MoveDeadline(deadline=107.8)", "REPORT_CHANGE"]),
    ("its own lease is not renewed yet", RESUMING, observed(OWNED), {}, []),
    (
        "another node came first, and this is not the next",
        RESUMING,
        observed(ELSEWHERE),
        {"phase": Phase.STANDBY},
        ["WATCH_LEASE", "REPORT_CHANGE", "Remember(epoch=9, orderly=False)"],
    ),
    (
        "another node came first, and this is the next",
        RESUMING,
        observed(ELSEWHERE, 90.0),
        {"phase": Phase.CLAIMING},
        ["REPORT_CHANGE", "Remember(epoch=9, orderly=False)"],
    ),
    ("its turn", STANDBY, observed(OPEN, NOW), {"phase": Phase.CLAIMING, "since": NOW, "expired": True}, ["CLAIM_LEASE"]),
    (
        "its turn, and the record is its own",
        replace(RESUMING, phase=Phase.STANDBY),
        observed(OWNED, LONG_AGO),
        {"phase": Phase.CLAIMING},
        ["CLAIM_LEASE"],
    ),
    ("not its turn yet", STANDBY, observed(OPEN, 100.1), {}, []),
    ("not its turn", STANDBY, observed(OPEN), {}, []),
    ("it has just released it: others may take it first", replace(STANDBY, released_at=90.0), observed(OPEN, 95.0), {}, []),
    (
        "it released it a while ago",
        replace(STANDBY, released_at=89.8),
        observed(OPEN, 95.0),
        {"phase": Phase.CLAIMING, "since": NOW, "expired": True},
        ["CLAIM_LEASE"],
    ),
    (
        "it has just released it, and gets it back",
        replace(STANDBY, released_at=99.0),
        observed(OPEN, LONG_AGO),
        {"phase": Phase.CLAIMING, "since": NOW, "expired": True},
        ["CLAIM_LEASE"],
    ),
    ("a process that ends claims nothing", replace(STANDBY, ending=True), observed(OPEN, LONG_AGO), {}, []),
    ("nothing is claimed during a removal", replace(STANDBY, removal=Removal(Stage.ADDRESS)), observed(OPEN, LONG_AGO), {}, []),
    ("a release that is not confirmed is not undone", replace(RELEASING, waiting=None), observed(OWNED, LONG_AGO), {}, []),
    (
        "a claim succeeds",
        CLAIMING,
        observed(HOLDS, LONG_AGO),
        {"phase": Phase.HOLDING, **came()},
        ["log acquired 8", "MoveDeadline(deadline=107.8)", "REPORT_CHANGE", "Remember(epoch=8, orderly=True)"],
    ),
    ("a claim is no longer wanted", CLAIMING, observed(OPEN), {"phase": Phase.STANDBY}, ["WATCH_LEASE"]),
    ("a claim goes on", CLAIMING, observed(OPEN, 99.0), {}, []),
    ("a process that ends leaves its claim to the release that follows", replace(CLAIMING, ending=True), observed(OPEN), {}, []),
]

_LOST = {"phase": Phase.STANDBY, "hands_off_until": LONG_AGO}
ADDRESS: list[Row] = [
    ("a renewal prolongs the address", SERVING, Renewed(NOW, HOLDS), {}, ["Prolong(restore_on=None)"]),
    ("a renewal restores an address whose lifetime ended", SERVING, Renewed(105.0, HOLDS), {}, ["Prolong(restore_on='eth0')"]),
    ("nothing is in service, so nothing is prolonged", replace(SERVING, serving=False), Renewed(NOW, HOLDS), {}, []),
    ("an address that is to go is not prolonged", replace(REMOVING, serving=True), Renewed(NOW, HOLDS), {}, []),
    ("it was prolonged on another link", SERVING, Prolonged(NOW, "eth1"), {"link": "eth1"}, []),
    (
        "somebody removed it",
        SERVING,
        Prolonged(NOW, None),
        {"link": None, "trouble": "the address is on no interface of this host; run holdfast.ha.recover"},
        ["log trouble the address is on no interface of this host; run holdfast.ha.recover"],
    ),
    ("it could not be prolonged", SERVING, Prolonged(NOW, trouble="no netlink"), {"trouble": "no netlink"}, ["log trouble no netlink"]),
    ("a trouble is logged once", replace(SERVING, trouble="no netlink"), Prolonged(NOW, trouble="no netlink"), {}, []),
    ("a trouble is over", replace(SERVING, trouble="no netlink"), Prolonged(NOW, "eth0"), {"trouble": ""}, ["log well"]),
    (
        "it was prolonged too late: the lease is given up",
        SERVING,
        Prolonged(NOW, trouble="too late", over=True),
        {**_LOST, "lease": OWNED, "removal": Removal(Stage.DEPENDENTS, 101.0, lost="too late")},
        ["WATCH_LEASE", "log lost too late", "StopDependents(limit=1.0)"],
    ),
    (
        "it was prolonged too late, and the lease was lost already",
        replace(LOSING, removal=None),
        Prolonged(NOW, trouble="too late", over=True),
        {},
        [],
    ),
    ("it was prolonged, and is to go now", replace(REMOVING, serving=True), Prolonged(NOW, None), {}, []),
    ("it was prolonged, and was withdrawn meanwhile", replace(SERVING, serving=False), Prolonged(NOW, "eth1"), {}, []),
]

LOSSES: list[Row] = [
    (
        "no renewal in time: the dependents stop first",
        replace(SERVING, hands_off_until=300.0),
        Lost(NOW, OWNED, "late"),
        {**_LOST, "removal": Removal(Stage.DEPENDENTS, 101.0, lost="late")},
        ["log lost late", "StopDependents(limit=1.0)"],
    ),
    (
        "they have no longer than the address",
        replace(SERVING, alive_until=100.5),
        Lost(NOW, OWNED, "late"),
        {**_LOST, "removal": Removal(Stage.DEPENDENTS, 100.5, lost="late")},
        ["log lost late", "StopDependents(limit=0.5)"],
    ),
    (
        "the address has gone already",
        replace(SERVING, alive_until=95.0),
        Lost(NOW, OWNED, "late"),
        {**_LOST, "removal": Removal(Stage.DEPENDENTS, NOW, lost="late")},
        ["log lost late", "StopDependents(limit=0.0)"],
    ),
    (
        "another node has the lease: the address goes first",
        SERVING,
        Lost(NOW, ELSEWHERE, "node-b"),
        {**_LOST, "serving": False, "removal": Removal(Stage.ADDRESS, lost="node-b")},
        ["log lost node-b", "TAKE_DOWN", "StopDependents(limit=0.0)"],
    ),
    (
        "somebody released it",
        SERVING,
        Lost(NOW, OPEN, "released"),
        {**_LOST, "removal": Removal(Stage.DEPENDENTS, 101.0, lost="released")},
        ["log lost released", "StopDependents(limit=1.0)"],
    ),
    (
        "it is lost while the address is being removed: the dependents stop now",
        REMOVING,
        Lost(NOW, OWNED, "late"),
        {**_LOST, "removal": Removal(Stage.ADDRESS, request=WITHDRAW, lost="late")},
        ["log lost late", "StopDependents(limit=1.0)"],
    ),
    ("they have stopped: the address goes", LOSING, Done(100.2, StopDependents(1.0)), {"serving": False, "removal": LEAVING.removal}, ["TAKE_DOWN"]),
    ("their time is over: the address goes", LOSING, observed(OWNED, now=101.0), {"serving": False, "removal": LEAVING.removal}, ["TAKE_DOWN"]),
    ("their time is not over", LOSING, observed(OWNED, LONG_AGO, now=100.9), {}, []),
    ("they have stopped after their time", LEAVING, Done(102.0, StopDependents(1.0)), {}, []),
    ("a removal from before ends late", LOSING, Done(NOW, Do.TAKE_DOWN), {}, []),
    ("a removal ends twice", SERVING, Done(NOW, Do.TAKE_DOWN), {}, []),
    ("the end of another action ends no removal", LEAVING, Done(NOW, Do.REPORT_CHANGE), {}, []),
    ("the address is gone", LEAVING, Done(NOW, Do.TAKE_DOWN), {"removal": None}, ["RECORD_OUT_OF_SERVICE", "REPORT_CHANGE"]),
    (
        "the address is gone, and somebody waits for the lease",
        replace(LEAVING, waiting=ACQUIRE),
        Done(NOW, Do.TAKE_DOWN),
        {"removal": None, "waiting": None},
        ["RECORD_OUT_OF_SERVICE", "finish 1: not_converged", "REPORT_CHANGE"],
    ),
    (
        "the address cannot be removed: the kernel does that",
        LEAVING,
        Done(NOW, Do.TAKE_DOWN, STILL_UP),
        {"removal": None, "trouble": "it is still there"},
        ["log trouble it is still there", "RECORD_OUT_OF_SERVICE", "REPORT_CHANGE"],
    ),
    (
        "it cannot be recorded",
        STANDBY,
        Done(NOW, Do.RECORD_OUT_OF_SERVICE, STILL_UP),
        {"trouble": "it is still there"},
        ["log trouble it is still there"],
    ),
]

_ASKED = {"hands_off_until": NOW + HANDS_OFF}
_BLOCKED = replace(RELEASE, blocked=RUNS)


def goes(request: Requested, begin: State) -> dict[str, Any]:
    """What a request changes for which the address goes."""
    return {
        **_ASKED,
        "serving": False,
        "link": None,
        "handed": False,
        "withdrawals": begin.withdrawals + 1,
        "removal": Removal(Stage.ADDRESS, request=request),
    }


REQUESTS: list[Row] = [
    (
        "acquire",
        STANDBY,
        ACQUIRE,
        {**_ASKED, "phase": Phase.ACQUIRING, "waiting": ACQUIRE, "since": NOW, "expired": True},
        ["CLAIM_LEASE"],
    ),
    (
        "acquire, and the address is up: it is renewed",
        SERVING,
        ACQUIRE,
        {"hands_off_until": 400.0, "phase": Phase.ACQUIRING, "waiting": ACQUIRE},
        ["CLAIM_LEASE"],
    ),
    ("acquire, and the record is its own", replace(RESUMING), ACQUIRE, {**_ASKED, "phase": Phase.ACQUIRING, "waiting": ACQUIRE}, ["CLAIM_LEASE"]),
    ("acquire twice", ASKING, replace(ACQUIRE, number=9), {"hands_off_until": 430.0}, ["finish 9: refused"]),
    ("acquire during a release", RELEASING, ACQUIRE, _ASKED, ["finish 1: refused"]),
    (
        "acquire after a release that is not confirmed",
        replace(RELEASING, waiting=None, lease=OPEN),
        ACQUIRE,
        {**_ASKED, "phase": Phase.ACQUIRING, "waiting": ACQUIRE, "since": NOW, "expired": True},
        ["CLAIM_LEASE"],
    ),
    ("acquire from a process that ends", replace(STANDBY, ending=True), ACQUIRE, _ASKED, ["finish 1: refused"]),
    ("release: the address goes first", SERVING, RELEASE, goes(RELEASE, SERVING), ["TAKE_DOWN"]),
    ("release what is not held", STANDBY, RELEASE, goes(RELEASE, STANDBY), ["TAKE_DOWN"]),
    ("release before the first reading", BEGUN, RELEASE, goes(RELEASE, BEGUN), ["TAKE_DOWN"]),
    ("release while a dependent runs", SERVING, _BLOCKED, {}, ["finish 2: refused"]),
    (
        "release while a dependent runs, and the lease was lost but is nobody else's",
        replace(LEAVING, removal=None),
        _BLOCKED,
        {},
        ["finish 2: refused"],
    ),
    ("release while a dependent runs, and nothing is known", BEGUN, _BLOCKED, {}, ["finish 2: refused"]),
    (
        "release while a dependent runs, and there is nothing to release",
        replace(STANDBY, lease=ELSEWHERE),
        _BLOCKED,
        goes(_BLOCKED, STANDBY),
        ["TAKE_DOWN"],
    ),
    ("release at the end of the process, which has stopped them", replace(SERVING, ending=True), _BLOCKED, goes(_BLOCKED, SERVING), ["TAKE_DOWN"]),
    ("release where no other node is", replace(SERVING, alone=True), RELEASE, _ASKED, ["finish 2: refused"]),
    (
        "release while somebody waits for it",
        ASKING,
        RELEASE,
        {**goes(RELEASE, ASKING), "hands_off_until": 430.0, "waiting": None, "phase": Phase.STANDBY},
        ["finish 1: refused", "WATCH_LEASE", "TAKE_DOWN"],
    ),
    (
        "release twice",
        RELEASING,
        replace(RELEASE, number=9),
        {**goes(replace(RELEASE, number=9), RELEASING), "waiting": None},
        ["finish 2: refused", "TAKE_DOWN"],
    ),
    ("withdraw", SERVING, WITHDRAW, goes(WITHDRAW, SERVING), ["TAKE_DOWN"]),
    (
        "release while it is claimed unasked",
        CLAIMING,
        RELEASE,
        {**goes(RELEASE, CLAIMING), "hands_off_until": 430.0, "phase": Phase.STANDBY},
        ["WATCH_LEASE", "TAKE_DOWN"],
    ),
    (
        "release while its own lease is not renewed yet",
        RESUMING,
        RELEASE,
        {**goes(RELEASE, RESUMING), "phase": Phase.STANDBY},
        ["WATCH_LEASE", "TAKE_DOWN"],
    ),
    (
        "release what was just acquired",
        replace(ASKING, lease=HOLDS, expired=False),
        RELEASE,
        {**goes(RELEASE, ASKING), "waiting": None, "phase": Phase.HOLDING},
        ["finish 1: refused", "TAKE_DOWN"],
    ),
    ("withdraw while somebody waits for the lease", ASKING, WITHDRAW, {**goes(WITHDRAW, ASKING), "hands_off_until": 430.0}, ["TAKE_DOWN"]),
    ("expire", SERVING, EXPIRE, goes(EXPIRE, SERVING), ["TAKE_DOWN"]),
    (
        "expire while somebody waits for the lease",
        ASKING,
        EXPIRE,
        {**goes(EXPIRE, ASKING), "hands_off_until": 430.0, "waiting": None, "phase": Phase.STANDBY},
        ["finish 1: refused", "WATCH_LEASE", "TAKE_DOWN"],
    ),
    ("a request during a removal waits", REMOVING, RELEASE, {"queue": (RELEASE,)}, []),
]

#: Without hands off: a request set that before.
_GONE = {"removal": None}
ENDS: list[Row] = [
    ("withdrawn", REMOVING, Done(NOW, Do.TAKE_DOWN), _GONE, ["log withdraw", "finish 3", "REPORT_CHANGE"]),
    ("withdrawn in vain", REMOVING, Done(NOW, Do.TAKE_DOWN, STILL_UP), _GONE, ["finish 3: not_converged", "REPORT_CHANGE"]),
    (
        "expired",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=EXPIRE)),
        Done(NOW, Do.TAKE_DOWN),
        {**_GONE, "phase": Phase.STANDBY, "lease": OWNED},
        ["WATCH_LEASE", "RECORD_OUT_OF_SERVICE", "log expire", "finish 4", "REPORT_CHANGE"],
    ),
    (
        "expired, though the address cannot be removed",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=EXPIRE)),
        Done(NOW, Do.TAKE_DOWN, STILL_UP),
        {**_GONE, "phase": Phase.STANDBY, "lease": OWNED},
        ["WATCH_LEASE", "RECORD_OUT_OF_SERVICE", "finish 4: not_converged", "REPORT_CHANGE"],
    ),
    (
        "the address is gone: the lease is released",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=RELEASE)),
        Done(101.0, Do.TAKE_DOWN),
        {**_GONE, "phase": Phase.RELEASING, "waiting": RELEASE, "released_at": 101.0, "lease": OWNED},
        ["RECORD_OUT_OF_SERVICE", "ReleaseLease(handoff_to='node-b')"],
    ),
    (
        "the address is gone, and the lease was not held",
        replace(STANDBY, removal=Removal(Stage.ADDRESS, request=RELEASE)),
        Done(NOW, Do.TAKE_DOWN),
        {**_GONE, "phase": Phase.RELEASING, "waiting": RELEASE},
        ["RECORD_OUT_OF_SERVICE", "ReleaseLease(handoff_to='node-b')"],
    ),
    (
        "the address is gone, and whoever asked was told that it takes long",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=replace(RELEASE, number=0))),
        Done(NOW, Do.TAKE_DOWN),
        {**_GONE, "phase": Phase.RELEASING, "released_at": NOW, "lease": OWNED},
        ["RECORD_OUT_OF_SERVICE", "ReleaseLease(handoff_to='node-b')"],
    ),
    (
        "the address cannot be removed: the lease stays",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=RELEASE)),
        Done(NOW, Do.TAKE_DOWN, STILL_UP),
        _GONE,
        ["finish 2: not_converged", "REPORT_CHANGE"],
    ),
    (
        "withdrawn, and the lease was lost meanwhile",
        replace(REMOVING, phase=Phase.STANDBY, lease=OWNED, removal=Removal(Stage.ADDRESS, request=WITHDRAW, lost="late")),
        Done(NOW, Do.TAKE_DOWN),
        _GONE,
        ["RECORD_OUT_OF_SERVICE", "REPORT_CHANGE", "log withdraw", "finish 3", "REPORT_CHANGE"],
    ),
    (
        "the next request begins",
        replace(REMOVING, queue=(EXPIRE, RELEASE)),
        Done(NOW, Do.TAKE_DOWN),
        {"removal": Removal(Stage.ADDRESS, request=EXPIRE), "queue": (RELEASE,), "withdrawals": 1, "link": None, "handed": False, **_ASKED},
        ["log withdraw", "finish 3", "REPORT_CHANGE", "TAKE_DOWN"],
    ),
    (
        "what was asked for during a removal follows, and the lease is known to be given up",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=EXPIRE), queue=(ACQUIRE,), handed=False),
        Done(NOW, Do.TAKE_DOWN),
        {**_ASKED, **_GONE, "queue": (), "phase": Phase.ACQUIRING, "waiting": ACQUIRE, "lease": OWNED},
        ["WATCH_LEASE", "RECORD_OUT_OF_SERVICE", "log expire", "finish 4", "REPORT_CHANGE", "CLAIM_LEASE"],
    ),
    (
        "released",
        RELEASING,
        Released(NOW, OPEN),
        {"phase": Phase.STANDBY, "waiting": None, "hands_off_until": LONG_AGO},
        ["log released", "finish 2, and node-b hear of it"],
    ),
    ("released, and nobody waits", replace(RELEASING, waiting=None), Released(NOW, OPEN), {"phase": Phase.STANDBY}, ["log released"]),
    (
        "acquired",
        ASKING,
        observed(HOLDS, resource=UNFENCED),
        {"phase": Phase.HOLDING, "waiting": None, "hands_off_until": 130.0, **came()},
        ["log acquired 8", "finish 1", "MoveDeadline(deadline=107.8)", "REPORT_CHANGE", "Remember(epoch=8, orderly=True)"],
    ),
    (
        "acquired what was up",
        replace(SERVING, phase=Phase.ACQUIRING, waiting=ACQUIRE),
        observed(HOLDS),
        {"phase": Phase.HOLDING, "waiting": None, "hands_off_until": 400.0},
        ["log acquired 8", "finish 1"],
    ),
    (
        "acquired while the address is being removed: the answer follows the removal",
        replace(ASKING, removal=REMOVING.removal),
        observed(HOLDS),
        came(),
        ["MoveDeadline(deadline=107.8)", "REPORT_CHANGE", "Remember(epoch=8, orderly=True)"],
    ),
    ("it is waited for", ASKING, observed(OPEN, now=119.9), {}, []),
    (
        "not acquired in time",
        ASKING,
        observed(OPEN, now=120.0),
        {"phase": Phase.STANDBY, "waiting": None},
        [
            "WATCH_LEASE",
            "log gave up acquire the lease of web was not free within 20 s: it is reserved, or its record is missing",
            "finish 1: not_converged",
        ],
    ),
    (
        "the store denies it",
        ASKING,
        observed(replace(OPEN, error=DENIED)),
        {"phase": Phase.STANDBY, "waiting": None},
        ["WATCH_LEASE", "log gave up acquire the store denies it", "finish 1: service_error"],
    ),
    ("the store is silent", ASKING, observed(replace(OPEN, error=SILENT), now=119.9), {}, []),
    (
        "the store was silent all the time",
        ASKING,
        observed(replace(OPEN, error=SILENT), now=120.0),
        {"phase": Phase.STANDBY, "waiting": None},
        ["WATCH_LEASE", "log gave up acquire the store is silent", "finish 1: service_error"],
    ),
    ("a release is waited for", RELEASING, observed(replace(OWNED, error=SILENT), now=109.9), {}, []),
    (
        "a withdrawal takes too long",
        REMOVING,
        observed(HOLDS, now=110.0),
        {"removal": Removal(Stage.ADDRESS, request=replace(WITHDRAW, number=0))},
        ["finish 3: not_converged"],
    ),
    (
        "a withdrawal that took too long ends",
        replace(REMOVING, removal=Removal(Stage.ADDRESS, request=replace(WITHDRAW, number=0))),
        Done(NOW, Do.TAKE_DOWN),
        _GONE,
        ["log withdraw", "REPORT_CHANGE"],
    ),
    (
        "a request waits too long for another",
        replace(LEAVING, queue=(WITHDRAW, ACQUIRE)),
        observed(OWNED, now=110.0),
        {"queue": (ACQUIRE,)},
        ["finish 3: not_converged"],
    ),
]

_FENCING = replace(HOLDS, held=replace(HELD, unfenced=("node-b",)))
REPORTS: list[Row] = [
    ("it is in service: the fence is over", replace(SERVING, expired=True), observed(_FENCING), {}, ["END_FENCE"]),
    ("it is not in service yet", replace(SERVING, expired=True), observed(_FENCING, resource=DOWN), {}, []),
    ("whether it is in service is not known", replace(SERVING, expired=True), observed(_FENCING, resource=None), {}, []),
    ("its address is not up", replace(SERVING, serving=False), observed(_FENCING), {}, []),
    ("the deadline moves", SERVING, observed(replace(HOLDS, held=Held(8, 109.8))), {}, ["MoveDeadline(deadline=109.8)"]),
    ("the record changes", SERVING, observed(replace(HOLDS, record=replace(MINE, nonce="boot1.2"))), {}, ["REPORT_CHANGE"]),
    ("it is no longer held", replace(LOSING, reported=HOLDS), observed(OWNED), {}, ["MoveDeadline(deadline=None)", "REPORT_CHANGE"]),
    (
        "a higher epoch, which this node took in good order",
        SERVING,
        observed(replace(HOLDS, held=Held(9, 107.8), highest=9)),
        {},
        ["Remember(epoch=9, orderly=True)"],
    ),
    (
        "a higher epoch, which this node took from a holder that did not release it",
        replace(SERVING, expired=True),
        observed(replace(HOLDS, held=Held(9, 107.8), highest=9)),
        {},
        ["Remember(epoch=9, orderly=False)"],
    ),
    ("a higher epoch, which is not this node's", SERVING, observed(replace(HOLDS, highest=9)), {}, ["Remember(epoch=9, orderly=False)"]),
]

ROWS = [*BEGINNING, *SETTLING, *CLAIMS, *ADDRESS, *LOSSES, *REQUESTS, *ENDS, *REPORTS]


@pytest.mark.parametrize(("begin", "event", "changes", "actions"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_step(begin: State, event: Event, changes: dict[str, Any], actions: list[str]) -> None:
    wanted = begin
    if isinstance(event, (Observed, Renewed, Lost, Released)):
        wanted = replace(wanted, lease=event.lease)
    if isinstance(event, Observed):
        wanted = replace(wanted, reported=event.lease, claim_at=event.claim_at)
    end, done = step(begin, event)
    assert [text(action) for action in done] == actions
    assert end == replace(wanted, **changes)


@pytest.mark.parametrize(
    ("before", "alone", "handed", "expired"),
    [
        (OPEN, False, False, False),
        (replace(OPEN, record=GIVEN), False, True, False),
        (replace(OPEN, record=replace(GIVEN, handoff_to="node-c")), False, False, False),
        (ELSEWHERE, False, False, True),
        (replace(OPEN, record=GIVEN, fell=True), False, False, True),
        (replace(OPEN, record=replace(FREE, unfenced=("node-b",))), False, False, True),
        (replace(OPEN, record=replace(GIVEN, unfenced=("node-b",))), False, True, True),
        (replace(OPEN, record=replace(FREE, unfenced=("node-a",))), False, False, False),
        (replace(MISSING, highest=0), False, False, False),
        (MISSING, False, False, True),
        (MISSING, True, False, False),
    ],
    ids=[
        "it was free",
        "it was handed to this node",
        "it was handed to another node, which did not come",
        "its holder did not release it",
        "a record that was restored says that it was handed to this node",
        "it was released, and a former holder is to be fenced still",
        "it was handed over before the fence",
        "this node itself was to be fenced",
        "there never was a record",
        "somebody deleted the record",
        "no other node can have held it",
    ],
)
def test_what_an_acquisition_replaced(before: LeaseView, alone: bool, handed: bool, expired: bool) -> None:
    begin = replace(STANDBY, lease=before, alone=alone, since=50.0, expired=True, handed=not handed)
    end, _actions = step(begin, Renewed(NOW, HOLDS))
    assert (end.since, end.taken, end.handed, end.expired) == (NOW, True, handed, expired)


def test_its_own_lease_tells_nothing_new() -> None:
    begin = replace(RESUMING, since=50.0, expired=True)
    end, _actions = step(begin, Renewed(NOW, HOLDS))
    assert end == replace(begin, lease=HOLDS)


def message(begin: State, event: Event) -> str:
    """Of the one error that the step answers with."""
    (error,) = [action.error for action in step(begin, event)[1] if isinstance(action, Finish) and action.error is not None]
    return error.message


@pytest.mark.parametrize(
    ("begin", "event", "told"),
    [
        (replace(ASKING, lease=ELSEWHERE), observed(ELSEWHERE, now=120.0), "the lease of web was not free within 20 s: node-b holds it"),
        (ASKING, RELEASE, "the lease of web was to be released meanwhile"),
        (ASKING, ACQUIRE, "the checker is at work on the lease of web already; ask again"),
        (replace(STANDBY, ending=True), ACQUIRE, "the checker of this node is about to end; ask again when it runs"),
        (replace(LEAVING, waiting=ACQUIRE), Done(NOW, Do.TAKE_DOWN), "the lease of web could not be held: late; see which node holds it"),
        (replace(SERVING, alone=True), RELEASE, "web cannot be released: it has no lease (store: type none), so it stays on this node; "),
        (REMOVING, observed(HOLDS, now=110.0), "the checker is busy with web; see its log, and ask again"),
        (
            RELEASING,
            observed(replace(OWNED, error=SILENT), now=110.0),
            "the address of web is down here and stays down, and its release is not confirmed: the store did not confirm it within 10 s, and the "
            "lease ends by itself in 10 s at the latest; do not start here what needs it (the store is silent)",
        ),
    ],
)
def test_an_answer_tells_what_to_do(begin: State, event: Event, told: str) -> None:
    assert message(begin, event).startswith(told)


def test_a_release_that_is_not_confirmed_goes_on() -> None:
    end, actions = step(RELEASING, observed(OWNED, now=110.0))
    assert [text(action) for action in actions][1:] == ["finish 2: not_converged"]
    assert (end.phase, end.waiting) == (Phase.RELEASING, None)


@pytest.mark.parametrize(
    ("state", "permit", "why"),
    [
        (SERVING, None, ""),
        (SERVING, 0, ""),
        (replace(SERVING, withdrawals=1), 0, "it was taken out of service meanwhile"),
        (replace(SERVING, withdrawals=1), 1, ""),
        (REMOVING, None, "this node does not hold the lease, or is about to give it up"),
        (LOSING, None, "this node does not hold the lease, or is about to give it up"),
        (RELEASING, None, "this node does not hold the lease, or is about to give it up"),
    ],
    ids=["in service", "at work", "at work since before a withdrawal", "at work since", "to be removed", "to be removed later", "to be released"],
)
def test_an_address_that_is_to_go_gets_no_lifetime(state: State, permit: int | None, why: str) -> None:
    assert refusal(state, permit) == why


@pytest.mark.parametrize(
    ("expired", "resource", "first"),
    [(True, DOWN, True), (True, UP, False), (True, UNFENCED, False), (False, DOWN, False), (False, None, True)],
    ids=["not released, not in service", "in service", "no fence is set", "released", "nothing can be read"],
)
def test_a_fence_comes_first(expired: bool, resource: ResourceView | None, first: bool) -> None:
    state = replace(STANDBY, expired=expired)
    assert fence_first(state, resource) is first
    assert hands_off(state, resource, up=False) == (HANDS_OFF_FENCING if first else HANDS_OFF)
    assert hands_off(state, resource, up=True) == HANDS_OFF_UP


@pytest.mark.parametrize(
    ("left", "now", "until", "after"), [(110.0, NOW, 130.0, 130.0), (150.0, NOW, 130.0, 150.0), (99.0, NOW, 130.0, 99.0), (NOW, NOW, 130.0, NOW)]
)
def test_who_is_at_work_is_left_alone_longer_and_nobody_else(left: float, now: float, until: float, after: float) -> None:
    assert left_longer(replace(STANDBY, hands_off_until=left), now, until).hands_off_until == after


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (SERVING, NEVER),
        (replace(STANDBY, claim_at=140.0), 140.0),
        (replace(STANDBY, claim_at=101.0, released_at=NOW), 110.2),
        (replace(STANDBY, claim_at=LONG_AGO, released_at=NOW), LONG_AGO),
        (replace(STANDBY, claim_at=140.0, ending=True), NEVER),
        (replace(BEGUN, claim_at=140.0), NEVER),
        (replace(SERVING, claim_at=140.0), NEVER),
        (ASKING, 120.0),
        (REMOVING, 110.0),
        (replace(REMOVING, removal=Removal(Stage.ADDRESS, request=replace(WITHDRAW, number=0))), NEVER),
        (replace(LOSING, queue=(WITHDRAW,)), 101.0),
        (replace(LEAVING, queue=(ACQUIRE, WITHDRAW)), 110.0),
    ],
)
def test_when_it_has_to_be_asked_again(state: State, due: float) -> None:
    assert state.due == due


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({}, True),
        ({"ending": False}, False),
        ({"start": Start.OBSERVING}, False),
        ({"waiting": RELEASE}, False),
        ({"removal": Removal(Stage.ADDRESS)}, False),
        ({"queue": (WITHDRAW,)}, False),
        ({"lease": HOLDS}, False),
    ],
)
def test_the_end(changes: dict[str, Any], over: bool) -> None:
    assert replace(STANDBY, **{"ending": True, **changes}).is_over is over


def test_a_request_has_its_patience_or_its_wait() -> None:
    assert (ACQUIRE.give_up, WITHDRAW.give_up, PATIENCE) == (120.0, 110.0, 10.0)
