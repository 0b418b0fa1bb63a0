# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the checker's parts share: a log that keeps, and files with secrets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .small import SmallNode


class Kept:
    """A log. ``names``: of the events, in order. ``posts``: what a webhook got, where a test keeps it here."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.posts: list[tuple[str, str, Any]] = []

    def __call__(self, event: str, **facts: object) -> None:
        self.events.append(json.loads(json.dumps({"event": event, **facts})))

    @property
    def names(self) -> list[str]:
        return [one["event"] for one in self.events]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], str]:
    """Writes a private file, and returns its path."""

    def write(content: str) -> str:
        path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
        path.touch(mode=0o600)
        path.write_text(content)
        return str(path)

    return write


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallNode]:
    """One for all tests; each begins with its `reset`."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    node = SmallNode(tmp_path_factory.mktemp("small"))
    yield node
    node.stop()
