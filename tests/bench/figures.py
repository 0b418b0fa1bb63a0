# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share: a table of medians, worsts and ratios that a person can read, printed line by line as the figures come."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence

#: Widths of a row's first two columns.
_EVENT, _BY = 34, 40


def shown(seconds: float) -> str:
    """A time, in the unit that a person would choose."""
    if seconds >= 10:
        return f"{seconds:.1f} s"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.02 else f"{seconds * 1000:.1f} ms"


def load() -> str:
    """What else the machine does: figures of a busy one are worth little."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


class Table:
    """Made, it prints its head. ``missed``: a line for each median above its goal."""

    def __init__(self, title: str) -> None:
        self.missed: list[str] = []
        self._medians: dict[tuple[str, str], float] = {}
        print(f"\n{title} ({load()})", flush=True)
        print(f"{'event':{_EVENT}}  {'by':{_BY}}  {'n':>3}  {'median':>8}  {'worst':>8}  {'best':>8}  {'goal':>7}  ratio", flush=True)

    def row(self, event: str, by: str, seconds: Sequence[float], *, goal: float | None = None, against: str = "") -> None:
        """One line, with the best too for machines that are busy. ``against``: whose median of the same event, printed before, is 1."""
        median, worst = statistics.median(seconds), max(seconds)
        self._medians[event, by] = median
        reference = self._medians.get((event, against))
        ratio = f"{median / reference:.3g} x" if reference else ""
        aim = "" if goal is None else shown(goal)
        line = f"{event:{_EVENT}}  {by:{_BY}}  {len(seconds):3}  {shown(median):>8}  {shown(worst):>8}  {shown(min(seconds)):>8}  {aim:>7}  {ratio}"
        print(line.rstrip(), flush=True)
        if goal is not None and median > goal:
            self.missed.append(f"{event}, {by}: {shown(median)} where {shown(goal)} is the goal")

    def left_out(self, event: str, by: str, why: str) -> None:
        """A row without figures."""
        print(f"{event:{_EVENT}}  {by:{_BY}}  {why}", flush=True)

    def close(self) -> None:
        """Say which goals were missed, and how busy the machine was."""
        for line in self.missed:
            print(f"MISSED  {line}")
        print(f"({load()} at the end)", flush=True)
