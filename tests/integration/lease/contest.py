# SPDX-License-Identifier: GPL-3.0-or-later
"""Several nodes start at the same moment and want the same lease."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Identity, Intent, Released, Serve, State
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.tests.integration.lease.register import History, Recorded, check

#: Held for as long as a contest may last; and one whose wait is no longer than a lease without a record requires.
LONG = Timing(ttl=60, renew=20, call=1.5, margin=2, poll=0.02)
SHORT = Timing(ttl=9, renew=1, call=1.5, margin=1, poll=0.02)
_PATIENCE = 30.0


@dataclass
class Outcome:
    """Of all rounds."""

    rounds: int = 0
    changes: int = 0
    unsure: int = 0


class Arena:
    """Contests over one store.

    :param connect: Makes a store client; each node has its own.
    """

    def __init__(self, connect: Callable[[], Store], nodes: int = 3) -> None:
        self.histories: dict[str, History] = defaultdict(History)
        self._stores = [Recorded(connect(), self.histories) for _number in range(nodes)]
        self._serial = 0

    def fight(self, key: str, timing: Timing) -> list[int]:
        """The nodes that held ``key`` after all had started at once; the winner has let go of it again."""
        self._serial += 1
        gate, won = threading.Barrier(len(self._stores)), []  # type: threading.Barrier, list[int]
        keepers = [self._keeper(node, key, timing) for node in range(len(self._stores))]
        threads = [threading.Thread(target=self._start, args=(keeper, node, gate, won)) for node, keeper in enumerate(keepers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=_PATIENCE + 10)
        if len(won) == 1:
            self._let_go(keepers[won[0]])
        return won

    def _seed(self, key: str) -> None:
        """Let the lease begin as released, whatever replies are lost."""
        store, give_up = self._stores[0], time.monotonic() + _PATIENCE
        while True:
            try:
                reading = store.read(key)
                if reading.record is not None:
                    return
                store.write(key, reading.token, Record("", 1, "seed.1"))
            except ServiceError:
                if time.monotonic() > give_up:
                    raise

    def _keeper(self, node: int, key: str, timing: Timing) -> Keeper:
        state = State(Identity(f"n{node}", f"boot{node}"), f"s{self._serial}", timing)
        return Keeper(self._stores[node], key, state, time.monotonic)

    @staticmethod
    def _start(keeper: Keeper, node: int, gate: threading.Barrier, won: list[int]) -> None:
        """Until it holds, or sees that another does."""
        me, give_up = keeper.state.me.name, time.monotonic() + _PATIENCE
        keeper.tell(Intent.CLAIM)
        gate.wait()
        while time.monotonic() < give_up:
            if any(isinstance(action, Serve) for action in keeper.turn()):
                won.append(node)
                return
            record = keeper.state.seen.record if keeper.state.seen and not keeper.state.open else None
            if record is not None and record.holder not in ("", me) and not keeper.state.look:
                return
            time.sleep(max(0.0, min(0.02, keeper.state.due - time.monotonic())))

    @staticmethod
    def _let_go(keeper: Keeper) -> None:
        give_up = time.monotonic() + _PATIENCE
        keeper.tell(Intent.RELEASE)
        while not any(isinstance(action, Released) for action in keeper.turn()):
            assert time.monotonic() < give_up, f"not released: {keeper.error}"
            time.sleep(max(0.0, min(0.02, keeper.state.due - time.monotonic())))

    def contests(self, rounds: int, keys: int = 20, *, missing: bool = True) -> Outcome:
        """``rounds`` starts over ``keys`` keys. Asserts one winner each, and the histories.

        :param missing: The first start is on a lease without a record, which costs the wait of the longest timing profile. All others begin released.
        """
        outcome = Outcome()
        for number in range(rounds):
            key = f"arena/k{number % keys}"
            fresh = missing and number == 0
            if number < keys and not fresh:
                self._seed(key)
            won = self.fight(key, SHORT if fresh else LONG)
            assert len(won) == 1, f"round {number}: winners {won}"
            outcome.rounds += 1
        for history in self.histories.values():
            outcome.changes += len(check(history))
            outcome.unsure += sum(op.kind == "unknown" for op in history.ops)
        return outcome
