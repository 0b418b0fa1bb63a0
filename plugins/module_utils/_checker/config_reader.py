# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the mappings of checker.json: what is unknown, missing or of the wrong kind is told in one line that names where. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import is_loopback, is_url, shown

_LONGEST_TEXT, _MOST_ITEMS = 4096, 100


class Fields:
    """One mapping. What is ``None`` counts as not given.

    :param path: How to name it in messages, such as ``/etc/holdfast/checker.json: triggers[0]``.
    :param known: Every name that it may have. Raises `BadInput` for another one.
    """

    def __init__(self, raw: object, path: str, known: Sequence[str]) -> None:
        self.path = path
        if not isinstance(raw, Mapping):
            raise BadInput(f"{path}: this has to be a mapping with {', '.join(known)}", path=path)
        for name in raw:
            if name not in known:
                raise BadInput(f"{path}: {shown(name)} is not known here; known are {', '.join(known)}", path=path)
        self._raw = {name: value for name, value in raw.items() if value is not None}

    def wrong(self, name: str, what: str) -> BadInput:
        """The error for that field."""
        where = f"{self.path}.{name}"
        return BadInput(f"{where}: {what}", path=where)

    def has(self, name: str) -> bool:
        """Whether it is given."""
        return name in self._raw

    def raw(self, name: str) -> object:
        """As it came, ``None`` where it is not given."""
        return self._raw.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """One line of text. Without a default it has to be given."""
        value = self._raw.get(name, default)
        if value is None:
            raise self.wrong(name, "it is missing")
        if not is_line(value):
            raise self.wrong(name, f"this has to be a text of one line and at most {_LONGEST_TEXT} characters")
        return str(value)

    def file(self, name: str, default: str | None = None) -> str | None:
        """An absolute path, or ``None``."""
        if name not in self._raw and default is None:
            return None
        value = self.text(name, default)
        if not value.startswith("/"):
            raise self.wrong(name, f"{shown(value)} is no absolute path; begin it with /")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._raw.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "this has to be true or false")
        return value

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number within bounds, both included."""
        value = self._raw.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self.wrong(name, f"this has to be a number from {least:g} to {most:g}")
        return float(value)

    def items(self, name: str) -> Sequence[object]:
        """A list; empty where it is not given."""
        value = self._raw.get(name, [])
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            raise self.wrong(name, f"this has to be a list of at most {_MOST_ITEMS} entries")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is not given."""
        value = self.items(name)
        if not all(is_line(item) for item in value):
            raise self.wrong(name, "this has to be a list of texts of one line")
        return tuple(str(item) for item in value)

    def url(self, name: str, *, secret: bool) -> str:
        """An http(s) URL without user, password, query or fragment, since it is shown; https where a secret is sent to another host."""
        value = self.text(name)
        if any(mark in value for mark in "@?#"):
            raise self.wrong(name, "a user, password, query or fragment has no place in this URL; secrets belong in token_file")
        if not is_url(value):
            raise self.wrong(name, "this has to be a URL such as https://awx.example.org")
        if secret and value.startswith("http:") and not is_loopback(value):
            raise self.wrong(name, "the token would go over the network in the clear; use https")
        return value.rstrip("/")


def is_line(value: object) -> bool:
    """Whether this is text of one line."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()
