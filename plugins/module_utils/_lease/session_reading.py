# SPDX-License-Identifier: GPL-3.0-or-later
"""What a read of all keys tells a node: which records are sound, and since when they have not changed. Pure. Why: see `session`, steps 8 and 9."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Notice
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_values import (
    NEVER,
    UNSEEN,
    Put,
    Reading,
    Resource,
    Seen,
    Session,
    State,
    Step,
    resource_key,
    session_key,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import LONGEST_TTL


def note(state: State, reading: Reading, now: float) -> Step:
    """Remember what was read, and since when it has not changed. Notices for what was deleted or restored."""
    highest, notices = dict(state.highest), []
    keys = dict.fromkeys((state.key, *map(resource_key, state.tenures), *state.seen, *state.open, *reading))
    for key, (record, _token) in reading.items():
        if record is not None:
            highest[key] = max(highest.get(key, 0), record.rank)
        if isinstance(record, Resource) and record.holder:
            holder = session_key(record.holder)
            keys[holder] = None
            highest[holder] = max(highest.get(holder, 0), record.serial)
    seen, longest = {}, max(LONGEST_TTL, state.setup.timing.ttl)
    for key in keys:
        (record, token), old = reading.get(key, (None, None)), state.seen.get(key, UNSEEN)
        sound = record is not None and record.rank >= highest[key]
        if old is not UNSEEN and not state.gap(now) and (old.token, old.sound, old.record) == (token, sound, record):
            seen[key] = old
            continue
        ttl = record.ttl if isinstance(record, Session) else 0.0
        seen[key] = Seen(record, token, now, ttl if sound else max(ttl, longest, old.promised), sound)
        if record is not None and record.rank < state.highest.get(key, 0) and old.token != token:
            fell = f"fell from {highest[key]} to {record.rank}: it was changed by hand or restored from a backup"
            notices.append(Notice(f"the record {key} {fell}, so it is waited for in full"))
        elif record is None and old.record is not None:
            notices.append(Notice(f"the record {key} was deleted, so it is waited for in full"))
    still_open = {key: put for key, put in state.open.items() if seen[key].token == put.expected}
    if state.read_at == -NEVER:
        ours = [(key, one) for key, one in seen.items() if one.resource is not None and one.resource.holder == state.setup.name]
        still_open.update((key, Put(key, one.token, one.resource)) for key, one in ours if one.resource is not None)
    return replace(state, seen=seen, highest=highest, open=still_open), tuple(notices)


def mine(state: State, tag: str) -> Resource | None:
    """The record of the resource, if it is sound and names this node's live session."""
    seen, own = state.seen.get(resource_key(tag), UNSEEN), state.own
    record = seen.resource if seen.sound and own is not None else None
    return record if record is not None and own is not None and record.named == (state.setup.name, state.setup.origin, own.serial) else None


def named(state: State, tag: str) -> Resource | None:
    """The record of the resource, if it names this machine since its boot, by whatever session."""
    record = state.seen.get(resource_key(tag), UNSEEN).resource
    return record if record is not None and record.named[:2] == (state.setup.name, state.setup.origin) else None
