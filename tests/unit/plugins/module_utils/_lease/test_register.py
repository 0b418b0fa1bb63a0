# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker of histories finds what it has to find."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.tests.integration.lease.register import FOREVER, NOTHING, History, Op, check

A, B, C = Record("n1", 1, "a"), Record("n2", 2, "b"), Record("n3", 3, "c")
WRITE_A, WRITE_B = Op("write", 0, 1, NOTHING, A), Op("write", 2, 3, "a", B)


@pytest.mark.parametrize(
    "ops",
    [
        [WRITE_A, WRITE_B],
        [WRITE_A, Op("read", 0.5, 0.6, NOTHING), WRITE_B, Op("read", 2.5, 2.6, "a"), Op("read", 2.7, 2.8, "b")],
        [WRITE_A, WRITE_B, Op("refused", 2, 3, "a", C)],
        [WRITE_A, Op("unknown", 2, FOREVER, "a", B), Op("read", 4, 5, "a"), Op("read", 6, 7, "b")],
        [WRITE_A, Op("unknown", 2, FOREVER, "a", B), Op("read", 4, 5, "a")],
    ],
)
def test_sound(ops: list[Op]) -> None:
    assert check(History(list(ops)))[0] == A


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([WRITE_A, WRITE_B, Op("write", 2, 3, "a", C)], "two writes replaced a"),
        ([WRITE_A, WRITE_B, Op("read", 4, 5, "a")], "stands before a call that had ended"),
        ([WRITE_A, WRITE_B, Op("read", 1.2, 1.5, "b")], "saw a write that had not begun"),
        ([WRITE_A, Op("refused", 2, 3, "a", C)], "although nobody had changed"),
        ([WRITE_A, WRITE_B, Op("refused", 1.2, 1.5, "a", C)], "had not begun"),
        ([WRITE_A, WRITE_B, Op("read", 2.1, 2.2, "b"), Op("read", 2.3, 2.4, "a")], "stands before"),
        ([WRITE_A, Op("read", 2, 3, "zzz")], "nobody wrote"),
        ([WRITE_A, Op("write", 2, 3, "zzz", B)], "never there"),
        ([Op("write", 0, 1, NOTHING, B), Op("write", 2, 3, "b", A)], "the epoch fell"),
        ([WRITE_A, Op("write", 2, 3, "a", Record("n2", 1, "b"))], "did not rise"),
    ],
)
def test_unsound(ops: list[Op], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(History(list(ops)))
