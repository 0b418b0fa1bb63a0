# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule at work on a store: does the rule's reads and writes and hands on what it wants done outside."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, MissingLibrary, place_of
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import ClusterPin
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule import step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import (
    Acknowledged,
    Action,
    Event,
    Fenced,
    Identity,
    Intent,
    IntentChanged,
    Outcome,
    Promise,
    PromiseAsked,
    Read,
    ReadEnded,
    RecordChanged,
    Serve,
    State,
    Tick,
    Write,
    WriteEnded,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store, StoreSettings, StoreUnreachable
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def open_store(settings: StoreSettings, timing: Timing, cluster: ClusterPin | None = None) -> Store:
    """The store that the settings name; a call takes `Timing.call` at most. Raises `BadInput`, `ServiceError`.

    :param cluster: Of a store of type etcd: what is known of its cluster.
    """
    if settings.type == "etcd":
        from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore

        return EtcdStore.connect(settings, timing.call, cluster)
    if settings.type == "dynamodb":  # boto3 takes 30 MB, so it is loaded only where it is used
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
        from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore

        if BOTO3_IMPORT_ERROR is not None:
            raise MissingLibrary("store: type dynamodb needs the Python library boto3 on this host; install it, or use etcd", path="store.type")
        return DynamoDbStore.connect(settings, timing.call)
    raise BadInput("store: type none keeps no leases, so nothing can be held or handed over; set a store of type dynamodb or etcd", path="store.type")


def identity(name: str, *, trusting: bool = False) -> Identity:
    """This machine, since it booted, under the name of a node of the cluster."""
    return Identity(name, hashlib.sha256(_BOOT_ID.read_bytes()).hexdigest()[:16], trusting)


def new_state(me: Identity, timing: Timing, *, highest: int = 0) -> State:
    """A process that begins. ``highest`` is the highest epoch that this node remembers. Raises `BadInput` for a timing that breaks the rule."""
    return State(me, secrets.token_hex(6), timing.validate(), first_epoch=max(1, int(time.time())), highest=highest)


class Keeper:
    """One lease, as one process sees it. `tell` and `turn` are for one thread; the rest for any, also while that one waits for the store.

    :param state: Where the rule stands; read it as `state`. `State.due` says when the next `turn` is wanted.
    :param clock: CLOCK_BOOTTIME, in seconds.
    """

    def __init__(self, store: Store, key: str, state: State, clock: Callable[[], float] = boottime) -> None:
        self._store, self._key, self._clock = store, key, clock
        self.state = state
        #: Why the last call to the store failed; ``None`` when it did not.
        self.error: HoldfastError | None = None
        #: Called once for each place in the code of a store that raised what no store may raise; given the type of the exception, and file and line.
        self.on_defect: Callable[[str, str], None] = lambda cause, where: None
        self._defects: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._outward: list[Action] = []

    def tell(self, intent: Intent, handoff_to: str = "") -> None:
        """Claim the lease, only watch it, or release it; before a release everything that needs the lease has to have stopped."""
        self._emit(lambda now: IntentChanged(now, intent, handoff_to))

    def turn(self) -> tuple[Action, ...]:
        """Do what is due now. Returns what the caller has to do, in order: `Serve`, `Demote`; and what it may tell: `Released`, `Notice`."""
        todo = deque(self._emit(Tick))
        while todo:
            action = todo.popleft()
            if isinstance(action, Read):
                todo.extend(self._read())
            elif isinstance(action, Write):
                todo.extend(self._write(action))
        with self._lock:
            outward, self._outward = tuple(self._outward), []
        return outward

    def look(self) -> None:
        """Have the next `turn` read the record, since somebody says that it has changed. Nothing for a holder."""
        self._emit(RecordChanged)

    def fenced(self) -> None:
        """What is held is in service: no former holder has to be fenced any more. The next `turn` has the record say so."""
        self._emit(Fenced)

    @property
    def asking(self) -> int | None:
        """The epoch for which all other nodes are to be asked now; ``None`` while the store answers, or nothing is held."""
        return self.state.asking

    def acknowledge(self, holder: str, epoch: int, ttl: float) -> bool:
        """Whether another node's hold is acknowledged. If so, this node has promised not to claim the lease for as long as a write would bind it."""
        return any(isinstance(action, Promise) for action in self._emit(lambda now: PromiseAsked(now, holder, epoch, ttl)))

    def acknowledged(self, epoch: int, sent_at: float) -> bool:
        """All other nodes have acknowledged, each a request sent at ``sent_at`` or later. Whether that prolongs the hold: then have a `turn`."""
        return bool(self._emit(lambda now: Acknowledged(now, epoch, sent_at)))

    def _emit(self, make: Callable[[float], Event]) -> tuple[Action, ...]:
        """One step at a time, each with the clock read within. What concerns the caller of `turn` is put by for it."""
        with self._lock:
            self.state, actions = step(self.state, make(self._clock()))
            outward = [action for action in actions if not isinstance(action, (Read, Write, Promise))]
            if self.state.held is None:  # what was let go or lost is not to be served by an order from before
                self._outward = [action for action in self._outward if not isinstance(action, Serve)]
            self._outward += outward
            return actions

    def _read(self) -> tuple[Action, ...]:
        reading = None
        try:
            with _StoreCall(self._note_defect, write=False):
                reading = self._store.read(self._key)
            self.error = None
        except HoldfastError as error:
            self.error = error
        return self._emit(lambda now: ReadEnded(now, reading))

    def _write(self, action: Write) -> tuple[Action, ...]:
        outcome, token = Outcome.UNKNOWN, None
        try:
            with _StoreCall(self._note_defect, write=True):
                token = self._store.write(self._key, action.expected, action.record)
            outcome = Outcome.CONFLICT if token is None else Outcome.WRITTEN
            self.error = None
        except HoldfastError as error:
            outcome = Outcome.UNKNOWN if error.ambiguous else Outcome.NOT_SENT
            self.error = error
        return self._emit(lambda now: WriteEnded(now, outcome, token))

    def _note_defect(self, error: Exception) -> str:
        """Report it once. The text of the exception is left out: it may repeat what the store sent, such as a token."""
        cause, where = type(error).__name__, place_of(error)
        if (cause, where) not in self._defects:
            self._defects.add((cause, where))
            self.on_defect(cause, where)
        return f"{cause} in {where}"


class _StoreCall:
    """One call of a store. What it may not raise becomes a `StoreUnreachable`, so that it costs this call and not the process.

    :param note: Takes the exception and returns a word about it that holds no secret.
    """

    def __init__(self, note: Callable[[Exception], str], *, write: bool) -> None:
        self._note, self._write = note, write

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, HoldfastError):
            message = f"the store's answer could not be used: {self._note(error)}. This is a defect in holdfast.ha, please report it"
            raise StoreUnreachable(message, retryable=True, ambiguous=self._write) from error
