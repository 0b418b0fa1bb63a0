# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects: exceptions that the code does not expect, of our own or from a library.

A defect in a thread that a lease depends on ends the process (`main`). A defect in a check or a report is contained here: the resource shows as
unknown, and the leases are renewed as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, place_of

T = TypeVar("T")


class Containment:
    """Runs work that must not end the process.

    :param work_name: What the event `defect` names as ``thread``.
    :param log: Takes the name of an event and its facts. A defect that repeats is logged once, until the work has succeeded again.
    """

    def __init__(self, work_name: str, log: Callable[..., None]) -> None:
        self._work_name, self._log = work_name, log
        self._logged = ""

    def run(self, work: Callable[[], T], instead: Callable[[str], T]) -> T:
        """The result of ``work``; after a defect that of ``instead``, which gets one line about the defect. `HoldfastError` goes through."""
        try:
            result = work()
        except HoldfastError:
            raise
        except Exception as error:
            cause, place = cause_of(error), place_of(error)
            if self._logged != cause:
                self._logged = cause
                self._log("defect", thread=self._work_name, cause=cause, where=place)
            return instead(f"a defect of the checker at {place}: {cause}")
        self._logged = ""
        return result


def cause_of(error: BaseException | None) -> str:
    """Its type and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
