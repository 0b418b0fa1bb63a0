# SPDX-License-Identifier: GPL-3.0-or-later
"""MaxResults and NextToken. A token is good only for the same question, and only once it has been handed out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lab.control.errors import ApiError
from lab.control.rules.registry import Ec2Call

T = TypeVar("T")


def page(call: Ec2Call, items: Sequence[T], member: str, ids: str, *, least: int, most: int, default: int | None) -> dict[str, Any]:
    """One page of ``items`` as EC2's answer.

    :param member: The answer's member, ``RouteTables``.
    :param ids: The parameter that names things; with it nothing is paged, and EC2 takes no MaxResults beside it.
    :param default: The page size without MaxResults. Stricter than EC2 promises, so that nobody forgets NextToken.
    """
    size, token = call.params.get("MaxResults"), call.params.get("NextToken")
    if call.params.get(ids):
        if size is not None:
            raise ApiError("InvalidParameterCombination", f"The parameter {ids} cannot be used with the parameter MaxResults")
        return {member: list(items)}
    if size is not None and not least <= size <= most:
        bound = f"greater than or equal to {least}" if size < least else f"less than or equal to {most}"
        raise ApiError("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value {bound}.")
    start = _start(call.params, token) if token else 0
    end = start + (size or default or len(items))
    more = {"NextToken": _token(call.params, end)} if end < len(items) else {}
    return {member: list(items[start:end]), **more}


def _question(params: Mapping[str, Any]) -> str:
    asked = {name: value for name, value in params.items() if name not in ("NextToken", "MaxResults")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _token(params: Mapping[str, Any], start: int) -> str:
    return base64.urlsafe_b64encode(f"{start}:{_question(params)}".encode()).decode()


def _start(params: Mapping[str, Any], token: str) -> int:
    try:
        start, _colon, question = base64.urlsafe_b64decode(token).decode().partition(":")
        if question == _question(params):
            return int(start)
    except (ValueError, binascii.Error):
        pass
    raise ApiError("InvalidNextToken", "The specified NextToken is not valid for this request.")
