# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of docs/scenarios.md has an integration test that names it, so that `make test` shows each of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "docs/scenarios.md"
TESTS = ROOT / "tests/integration"


def rows(text: str) -> set[str]:
    """The numbered items below each heading ``## X. …``, as ``X1``."""
    found, letter = set(), ""
    for line in text.splitlines():
        if heading := re.match(r"## ([A-Z])\. ", line):
            letter = heading[1]
        elif item := re.match(r"(\d+)\. ", line):
            found.add(f"{letter}{item[1]}")
    return found


def markers(source: str) -> Iterator[str]:
    """The rows that a file of tests names with ``pytest.mark.scenario("…", …)``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.scenario":
            yield from (word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str))


@pytest.mark.skipif(not SCENARIOS.exists(), reason="the artifact has no design documents")
def test_every_row_has_an_integration_test():
    wanted = rows(SCENARIOS.read_text(encoding="utf-8"))
    named = {row for path in TESTS.rglob("test_*.py") for row in markers(path.read_text(encoding="utf-8"))}
    assert len(wanted) > 40
    assert sorted(wanted - named) == [], "these rows have no test with @pytest.mark.scenario"
    assert sorted(named - wanted) == [], "these markers name no row of docs/scenarios.md"


def test_rows_and_markers():
    assert rows("## A. One\n1. x\n2. y\n   3. no\n## B. Two\n1. z\n") == {"A1", "A2", "B1"}
    source = """
@pytest.mark.scenario("A1", "B1")
def test_x(): ...

@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.scenario("A2"))])
def test_y(n): ...
"""
    assert set(markers(source)) == {"A1", "B1", "A2"}
