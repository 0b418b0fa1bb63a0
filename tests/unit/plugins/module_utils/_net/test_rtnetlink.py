# SPDX-License-Identifier: GPL-3.0-or-later
"""A listing during which something changed is not believed."""

from __future__ import annotations

import errno
import socket
import struct
from typing import cast

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import GET_ADDRESS, NEW_ADDRESS, _dump

_HEADER = struct.Struct("=IHHII")
_DONE, _INTERRUPTED = 3, 0x10


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, GET_ADDRESS, 0) + body


class Kernel:
    """Answers each question with the next listing."""

    def __init__(self, *listings: bytes) -> None:
        self.listings, self.asked = list(listings), 0

    def send(self, question: bytes) -> None:
        self.asked += 1

    def recv(self, size: int) -> bytes:
        return self.listings.pop(0) if len(self.listings) > 1 else self.listings[0]


def test_an_interrupted_listing_is_asked_for_again() -> None:
    whole = message(NEW_ADDRESS, b"one.") + message(NEW_ADDRESS, b"two.") + message(_DONE, b"\0\0\0\0")
    for part in (
        message(NEW_ADDRESS, b"one.", _INTERRUPTED) + message(_DONE, b"\0\0\0\0"),
        message(NEW_ADDRESS, b"one.") + message(_DONE, b"\0\0\0\0", _INTERRUPTED),
    ):
        kernel = Kernel(part, whole)
        assert _dump(cast(socket.socket, kernel), GET_ADDRESS) == [b"one.", b"two."]
        assert kernel.asked == 2


def test_it_is_not_asked_for_ever() -> None:
    with pytest.raises(OSError, match="changed each time") as caught:
        _dump(cast(socket.socket, Kernel(message(_DONE, b"\0\0\0\0", _INTERRUPTED))), GET_ADDRESS)
    assert caught.value.errno == errno.EINTR
