# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and playbooks only carry out: no Jinja expression decides by more than one condition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes

ROOT = Path(__file__).resolve().parents[2]
#: Keys whose values are expressions without braces.
BARE = {"when", "that", "until", "failed_when", "changed_when"}
DRIVERS = sorted(path for pattern in ("roles/*/*/*.yml", "playbooks/**/*.yml") for path in ROOT.glob(pattern) if path.name != "argument_specs.yml")


class _Any(dict[str, Any]):
    """Every filter and test that Ansible brings: here a text is parsed, and never rendered."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        return lambda *given, **options: ""

    def __getitem__(self, name: str) -> Any:
        return self.get(name)


def _parser() -> jinja2.Environment:
    made = jinja2.Environment(autoescape=True)
    made.filters = made.tests = _Any()
    return made


PARSER = _parser()


def texts(value: Any, key: str = "") -> Iterator[str]:
    """The texts with expressions that are anywhere in this value."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from texts(part, str(name))
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, key)
    elif isinstance(value, str) and (key in BARE or "{{" in value or "{%" in value):
        yield f"{{{{ {value} }}}}" if key in BARE else value


def conditions(expression: nodes.Node) -> int:
    """How often it decides: ``and``, ``or``, ``if``."""
    return isinstance(expression, (nodes.And, nodes.Or, nodes.CondExpr)) + sum(map(conditions, expression.iter_child_nodes()))


def decisions(text: str) -> list[int]:
    """The conditions of each expression of a text; a statement counts as too many, as it decides or repeats."""
    tree = PARSER.parse(text)
    if any(not isinstance(part, nodes.Output) for part in tree.body):
        return [99]
    return [conditions(part) for output in tree.body for part in output.iter_child_nodes() if not isinstance(part, nodes.TemplateData)]


@pytest.mark.parametrize("path", DRIVERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_expression_has_one_condition_at_most(path: Path) -> None:
    found = [text for text in texts(yaml.safe_load(path.read_text(encoding="utf-8"))) if any(count > 1 for count in decisions(text))]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a }}", [0]),
        ("{{ a if b else c }} of {{ d or e }}", [1, 1]),
        ("{{ a if b and c else d }}", [2]),
        ("{{ (a | default(b or c)) if d else e }}", [2]),
        ("{% if a %}b{% endif %}", [99]),
        ("no expression", []),
    ],
)
def test_conditions_are_counted(text: str, expected: list[int]) -> None:
    assert decisions(text) == expected
