# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test says of an API call that has to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    """The call within must be refused with exactly this error code, and ``text`` in its message."""
    try:
        yield
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"expected {code}, got {found}"
        assert text in found["Message"], f"expected {text!r} in {found['Message']!r}"
    else:
        raise AssertionError(f"the call was accepted; expected {code}")
