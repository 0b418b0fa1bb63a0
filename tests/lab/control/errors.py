# SPDX-License-Identifier: GPL-3.0-or-later
"""An error as a client of each service sees it."""

from __future__ import annotations

import json
import uuid
from xml.sax.saxutils import escape

from lab.control.http import HttpReply


class ApiError(Exception):
    """A call is refused. ``code`` and ``message`` are what the service says; ``status`` is HTTP's."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def error_reply(service: str, error: ApiError) -> HttpReply:
    """The error in the service's own format."""
    request_id = str(uuid.uuid4())
    if service == "dynamodb":
        kind = "com.amazon.coral.service" if error.code in ("AccessDeniedException", "ExpiredTokenException") else "com.amazonaws.dynamodb.v20120810"
        body = json.dumps({"__type": f"{kind}#{error.code}", "message": error.message})
        return HttpReply(error.status, body.encode(), "application/x-amz-json-1.0", {"x-amzn-RequestId": request_id})
    code, message = escape(error.code), escape(error.message)
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{request_id}</RequestID>"
        text = f"<Response>{inner}</Response>"
    else:
        inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId>"
        text = f"<ErrorResponse>{inner}</ErrorResponse>"
    return HttpReply(error.status, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())
