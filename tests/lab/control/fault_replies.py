# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client is sent in place of an answer while a fault is in force, with a word for the call log."""

from __future__ import annotations

from collections.abc import Callable

from lab.control.errors import ApiError, error_reply
from lab.control.http import CUT, HttpReply
from lab.control.request import ApiRequest

_HTML = b"<html><head><title>500 Internal Server Error</title></head><body><center><h1>500 Internal Server Error</h1></center></body></html>\n"
Struck = tuple[HttpReply, str]


def expired(request: ApiRequest) -> ApiError:
    """What each service says to a session that has run out."""
    if request.service == "ec2":
        return ApiError("RequestExpired", "Request has expired.")
    if request.service == "sts":
        return ApiError("ExpiredToken", "The security token included in the request is expired", 403)
    return ApiError("ExpiredTokenException", "The security token included in the request is expired")


def _throttled(request: ApiRequest) -> ApiError:
    if request.service == "ec2":
        return ApiError("RequestLimitExceeded", "Request limit exceeded.", 503)
    return ApiError("ThrottlingException", "Rate exceeded")


def _denied(request: ApiRequest) -> ApiError:
    if request.service == "ec2":
        return ApiError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
    text = f"You are not authorized to perform: {request.service}:{request.action}"
    return ApiError("AccessDenied", text, 403) if request.service == "sts" else ApiError("AccessDeniedException", text)


def _refusing(error_of: Callable[[ApiRequest], ApiError]) -> Callable[[ApiRequest], Struck]:
    def reply(request: ApiRequest) -> Struck:
        error = error_of(request)
        return error_reply(request.service, error), error.code

    return reply


REPLIES: dict[str, Callable[[ApiRequest], Struck]] = {
    "throttle": _refusing(_throttled),
    "deny": _refusing(_denied),
    "expired": _refusing(expired),
    "http500": lambda request: (HttpReply(500, _HTML, "text/html"), "http500"),
    "lost_request": lambda request: (CUT, "lost_request"),
}
