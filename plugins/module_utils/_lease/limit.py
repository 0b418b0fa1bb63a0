# SPDX-License-Identifier: GPL-3.0-or-later
"""A time limit for calls of a library that does not limit all of them: name resolution, credentials, a reply in drops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """The call did not end in time. ``begun``: it goes on and may take effect; otherwise it was not made."""

    def __init__(self, begun: bool) -> None:
        super().__init__(begun)
        self.begun = begun


class TimeLimit:
    """Runs each call in a thread of its own. A call that is late is left to itself. Any thread may use it.

    While such a call goes on, no other call of the same name is made: calls to a store that hangs do not pile up.

    :param seconds: The longest time for one call.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late: dict[str, Future[Any]] = {}

    def call(self, name: str, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Raises `Late`."""
        end = time.monotonic() + self._seconds
        earlier = self._late.get(name)
        if earlier is not None:
            if not wait([earlier], self._seconds).done:
                raise Late(False)
            self._late.pop(name, None)
        future: Future[T] = Future()
        threading.Thread(target=_work_for, args=(future, work), name="store call", daemon=True).start()
        if not wait([future], end - time.monotonic()).done:
            self._late[name] = future
            raise Late(True)
        return future.result()


def _work_for(future: Future[T], work: Callable[[], T]) -> None:
    with _Outcome(future):
        future.set_result(work())


class _Outcome(Generic[T]):
    """Gives what is raised within it to the future, whatever it is."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return True
