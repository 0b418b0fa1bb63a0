# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 as it was a moment ago, for reads that come too soon after a write: EC2 is eventually consistent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEPT = ("route_tables", "enis", "reservations", "internet_gateways", "nat_gateways", "vpcs")


class History:
    """The states before recent writes. What is kept: route tables, interfaces, Elastic IPs, instances, gateways, VPCs.

    A state is the attributes of every such object, its own dictionaries and lists copied one level deep: cheap enough
    to take before each write, and exact for what moto changes in place. The caller holds the lock throughout.
    """

    def __init__(self) -> None:
        self._before: list[tuple[float, _Memento]] = []

    def record(self, backend: Any, now: float, keep: float) -> None:
        """Call before a write; ``keep`` is for how many seconds its prior state may be asked for (0: not at all)."""
        self._before = [one for one in self._before if one[0] > now - keep]
        if keep:
            self._before.append((now, _Memento(backend)))

    @contextmanager
    def rewound(self, backend: Any, since: float) -> Iterator[None]:
        """Within, ``backend`` is as it was before every write made after ``since`` (monotonic seconds)."""
        old = next((memento for time, memento in self._before if time > since), None)
        if old is None:
            yield
            return
        present = _Memento(backend)
        old.restore(backend)
        try:
            yield
        finally:
            present.restore(backend)


class _Memento:
    def __init__(self, backend: Any) -> None:
        self._collections = {name: dict(getattr(backend, name)) for name in _KEPT}
        self._addresses = list(backend.addresses)
        self._attributes = [(thing, _copied(vars(thing))) for thing in self._things()]

    def _things(self) -> Iterator[Any]:
        for collection in self._collections.values():
            yield from collection.values()
        yield from self._addresses
        for reservation in self._collections["reservations"].values():
            for instance in reservation.instances:
                yield instance
                yield instance._state
        for table in self._collections["route_tables"].values():
            yield from table._routes.values()

    def restore(self, backend: Any) -> None:
        for name, saved in self._collections.items():
            collection = getattr(backend, name)
            collection.clear()
            collection.update(saved)
        backend.addresses[:] = self._addresses
        for thing, attributes in self._attributes:
            vars(thing).clear()
            vars(thing).update(_copied(attributes))


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, (dict, list, set)) else value for name, value in attributes.items()}
