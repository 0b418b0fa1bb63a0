# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition operators of IAM policies that EC2, STS and DynamoDB policies use. Source: IAM user guide, "Condition operators"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Context = Mapping[str, str | Sequence[str]]


def like(pattern: str, text: str) -> bool:
    """IAM's wildcards: ``*`` for any characters, ``?`` for one."""
    return re.fullmatch("".join(".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern), text, re.DOTALL) is not None


def arn_like(pattern: str, text: str) -> bool:
    """As `like`, part by part: a ``*`` does not reach over a colon of the first five parts."""
    wanted, given = pattern.split(":", 5), text.split(":", 5)
    return pattern == "*" or (len(wanted) == len(given) == 6 and all(like(one, two) for one, two in zip(wanted, given)))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_SETS = ("ForAllValues:", "ForAnyValue:")


def known(operator: str) -> bool:
    """Whether `hold` can evaluate the operator, so that a policy that it cannot judge is refused when it is set."""
    base = _base(operator)
    return base == "Null" or base in _OPERATORS or base in _NEGATED


def hold(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """Whether every operator and key of a statement's Condition holds."""
    return all(_holds(operator, key, _listed(wanted), context) for operator, keys in conditions.items() for key, wanted in keys.items())


def _base(operator: str) -> str:
    for prefix in _SETS:
        operator = operator.removeprefix(prefix)
    return operator.removesuffix("IfExists")


def _listed(value: Any) -> list[str]:
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in (value if isinstance(value, list) else [value])]


def _lookup(key: str, context: Context) -> list[str] | None:
    found = next((value for name, value in context.items() if name.lower() == key.lower()), None)
    return None if found is None else [found] if isinstance(found, str) else list(found)


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    given, base = _lookup(key, context), _base(operator)
    if base == "Null":
        return (given is None) == (wanted == ["true"])
    if given is None:  # a negated operator holds for a key that is not there, and so does ForAllValues
        return operator.endswith("IfExists") or base in _NEGATED or operator.startswith("ForAllValues:")
    negated = base in _NEGATED
    compare = _OPERATORS[_NEGATED.get(base, base)]
    fits = [any(compare(one, value) for one in wanted) != negated for value in given]
    return any(fits) if operator.startswith("ForAnyValue:") else all(fits)
