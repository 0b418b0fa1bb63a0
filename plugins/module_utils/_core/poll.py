# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for sockets and pipes with poll(2), which takes any descriptor: `select.select` fails for those from 1024 on."""

from __future__ import annotations

import math
import select
from collections.abc import Sequence
from typing import Protocol, TypeVar


class _File(Protocol):
    def fileno(self) -> int:
        """Its descriptor."""


F = TypeVar("F", bound=_File)


def readable(files: Sequence[F], seconds: float) -> list[F]:
    """Those of ``files`` that can be read without waiting, as soon as there is one; an empty list after ``seconds``, rounded up to a millisecond.

    The end of a stream and an error count as readable: the read then reports it.
    """
    poll = select.poll()
    for file in files:
        poll.register(file.fileno(), select.POLLIN)
    ready = {number for number, _event in poll.poll(math.ceil(max(0.0, seconds) * 1000))}
    return [file for file in files if file.fileno() in ready]
