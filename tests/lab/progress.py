# SPDX-License-Identifier: GPL-3.0-or-later
"""A line for a step that takes longer than a person waits without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0


def silent(_line: str) -> None:
    """Say nothing."""


class Progress:
    """``with progress("making tea"):`` tells ``making tea ...`` if it takes more than `PATIENCE` seconds, again after each as many."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        done = threading.Event()
        teller = threading.Thread(target=self._remind, args=(step, done), daemon=True)
        teller.start()
        try:
            yield
        finally:
            done.set()

    def _remind(self, step: str, done: threading.Event) -> None:
        waited = 0.0
        while not done.wait(PATIENCE):
            waited += PATIENCE
            self._tell(f"{step} ... ({waited:.0f} s)")
