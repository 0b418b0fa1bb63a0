# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab per file of tests, put right before each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from lab import faults
from lab.prober import Report
from lab.vpc import Lab

Ask = Callable[..., list[set[str]]]


@pytest.fixture(scope="module")
def one_lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"t{os.getpid()}-", with_ssh=True) as lab:
        yield lab


@pytest.fixture
def lab(one_lab: Lab) -> Lab:
    faults.restore(one_lab)
    return one_lab


@pytest.fixture
def who_answers(lab: Lab) -> Ask:
    """``who_answers((machine, address), ...)``: for each, the nodes that answered within a while, asked all at the same time."""

    def ask(*questions: tuple[str, str], seconds: float = 0.3) -> list[set[str]]:
        with ExitStack() as stack:
            probers = [stack.enter_context(lab.prober(where, address, seconds=seconds)) for where, address in questions]
            for prober in probers:
                prober.wait_until_over(seconds + 5)
            reports: list[Report] = [prober.stop() for prober in probers]
        assert all(report.asked > 10 for report in reports)
        return [{node for node, _epoch in report.answered_by} for report in reports]

    return ask
