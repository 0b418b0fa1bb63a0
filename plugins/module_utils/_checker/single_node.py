# SPDX-License-Identifier: GPL-3.0-or-later
"""``store: {type: none}``: one node, which shares with nobody (DESIGN.md section 4).

The rule of the lease works all the same, on a record that this process keeps to itself: nobody else can change it, so it is held from the first
moment and for good. So the address needs no lifetime, and stays when the checker ends.
"""

from __future__ import annotations

from collections.abc import Hashable

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Identity, Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

#: Nothing can be lost, so it is rarely looked at.
TIMING = Timing(ttl=1e6, renew=3600.0, call=1.0, margin=2.0, poll=60.0)
#: As the kernel writes a lifetime without an end.
FOREVER = 2**32 - 1


class InMemoryStore:
    """`Store` for one record, which this node holds."""

    def __init__(self, me: Identity, epoch: int) -> None:
        self._record = Record(me.name, max(1, epoch), f"{me.origin}.alone.0")

    def read(self, key: str) -> Reading:
        """See `Store`."""
        return Reading(self._record, self._record)

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        """See `Store`."""
        if expected != self._record:
            return None
        self._record = record
        return record
