# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2's Filters: every filter must hold, any of its values does, ``*`` and ``?`` are wildcards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab.control.errors import ApiError
from lab.control.iam.conditions import like

Item = Mapping[str, Any]


def path(text: str) -> Callable[[Item], list[str]]:
    """What a filter looks at, as a path into EC2's own answer: ``Routes[].State``."""
    parts = text.split(".")

    def look(item: Item) -> list[str]:
        found: list[Any] = [item]
        for part in parts:
            name = part.removesuffix("[]")
            found = [one[name] for one in found if one.get(name) is not None]
            if part != name:
                found = [one for many in found for one in many]
        return [_text(one) for one in found]

    return look


def apply(items: Iterable[Item], filters: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> list[Item]:
    """The items that pass. ``known``: the filters of this action, with paths; ``tag:KEY`` and ``tag-key`` are common to all."""
    looks = [(_look(one.get("Name"), known), [str(value) for value in one.get("Values") or []]) for one in filters]
    return [item for item in items if all(any(like(value, given) for given in look(item) for value in values) for look, values in looks)]


def _look(name: Any, known: Mapping[str, str]) -> Callable[[Item], list[str]]:
    if isinstance(name, str) and name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [one["Value"] for one in _tags(item) if one["Key"] == key]
    if name == "tag-key":
        return lambda item: [one["Key"] for one in _tags(item)]
    if not isinstance(name, str) or name not in known:
        raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return path(known[name])


def _tags(item: Item) -> list[dict[str, str]]:
    return list(item.get("Tags") or item.get("TagSet") or [])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
