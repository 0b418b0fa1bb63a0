# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module lease_store does: make a store ready for leases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import text_table
from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import open_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

_UNPROTECTED = (
    "the table {table} was created without deletion protection, which this host's botocore does not know (1.29.90 and newer do); "
    "enable it in the AWS console, or run aws dynamodb update-table --table-name {table} --deletion-protection-enabled"
)


@dataclass(frozen=True)
class StoreReady:
    """Whether a store can take leases."""

    ready: bool


@dataclass(frozen=True)
class CreateTable:
    """The one thing that a store may lack."""

    table: str

    def __str__(self) -> str:
        return f"create the table {self.table}"


class StoreTask:
    """Make a store ready, as a `Reconciler`: DynamoDB's table; of etcd only that it answers and lets us; for ``none`` nothing."""

    def __init__(self, params: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._settings = parse_store(params["store"])
        self._store = None if self._settings.type == "none" else open_store(self._settings, Timing())

    def observe(self) -> StoreReady:
        """Ask the store."""
        if isinstance(self._store, DynamoDbStore):
            return StoreReady(self._store.exists())
        if isinstance(self._store, EtcdStore):
            self._store.check()
        return StoreReady(True)

    def plan(self, state: StoreReady) -> tuple[CreateTable, ...]:
        """One action or none."""
        return () if state.ready else (CreateTable(self._settings.values["table"]),)

    def simulate(self, state: StoreReady, actions: tuple[CreateTable, ...]) -> StoreReady:
        """Ready."""
        return replace(state, ready=state.ready or bool(actions))

    def apply(self, actions: tuple[CreateTable, ...]) -> tuple[Attempt[CreateTable], ...]:
        """Create."""
        try:
            if isinstance(self._store, DynamoDbStore) and not self._store.create():
                self._warn(_UNPROTECTED.format(table=self._settings.values["table"]))
        except HoldfastError as error:
            return (Attempt(actions[0], error),)
        return (Attempt(actions[0]),)

    def table(self, state: StoreReady) -> str:
        """One row."""
        return text_table(
            ("store", "table", "ready"), [(self._settings.type, self._settings.values.get("table", "-"), "yes" if state.ready else "no")]
        )

    def result(self, run: Run[StoreReady, CreateTable]) -> dict[str, object]:
        """``type``, ``ready`` and ``table_arn``."""
        arn = self._store.arn() if isinstance(self._store, DynamoDbStore) else None
        return {"type": self._settings.type, "ready": run.after.ready, "table_arn": arn}
