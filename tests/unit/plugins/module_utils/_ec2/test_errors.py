# SPDX-License-Identifier: GPL-3.0-or-later
"""What botocore raises, as one line and four facts."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.parsers import ResponseParserError

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.errors import is_throttled, translate

URL = "https://ec2.example"


def answer(code: str, message: str = "", status: int = 400, operation: str = "ReplaceRoute") -> aws.ClientError:
    reply: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(reply, operation)


def translated(error: Exception, write: bool = True) -> ServiceError:
    found = translate(error, "ec2", "ReplaceRoute", URL, write=write)
    assert "\n" not in found.message
    assert len(found.message) < 500
    return found


@pytest.mark.parametrize(
    ("error", "retryable", "ambiguous", "transient", "denied", "words"),
    [
        (answer("RequestLimitExceeded", status=503), True, False, True, False, "throttling"),
        (answer("ThrottlingException"), True, False, True, False, "throttling"),
        (answer("InternalError", status=500), True, True, True, False, "InternalError"),
        (answer("500", "Internal Server Error", status=500), True, True, True, False, "500"),
        (answer("Unavailable", status=503), True, True, True, False, "Unavailable"),
        (ResponseParserError("<!doctype html>\n<p>"), True, True, True, False, "no AWS reply"),
        (aws.ReadTimeoutError(endpoint_url=URL), True, True, True, False, f"no reply from {URL}"),
        (aws.ConnectionClosedError(endpoint_url=URL), True, True, True, False, f"no reply from {URL}"),
        (aws.ConnectTimeoutError(endpoint_url=URL), True, False, True, False, f"cannot reach {URL}"),
        (aws.EndpointConnectionError(endpoint_url=URL), True, False, True, False, f"cannot reach {URL}"),
        (aws.SSLError(endpoint_url=URL, error="self-signed"), False, False, False, False, "aws_ca_bundle"),
        (aws.NoCredentialsError(), False, False, True, False, "no usable AWS credentials"),
        (answer("UnauthorizedOperation"), False, False, False, True, "add ec2:ReplaceRoute to its IAM policy"),
        (answer("AuthFailure"), False, False, False, True, "check the keys"),
        (answer("RequestExpired"), False, False, False, True, "expired"),
        (answer("ExpiredToken"), False, False, False, True, "expired"),
        (answer("InvalidParameterValue", "There is no route defined for '10.1.0.10/32'"), False, False, False, False, "There is no route defined"),
    ],
)
def test_translation(error: Exception, retryable: bool, ambiguous: bool, transient: bool, denied: bool, words: str) -> None:
    found = translated(error)
    assert (found.retryable, found.ambiguous) == (retryable, ambiguous)
    assert found.as_dict() == {
        "kind": "service_error",
        "transient": transient,
        "denied": denied,
        "service": "ec2",
        "operation": "ReplaceRoute",
        "code": found.details["code"],
    }
    assert words in found.message
    assert translated(error, write=False).ambiguous is False


def test_a_denial_names_who_and_what_and_leaves_out_the_encoded_message() -> None:
    message = "You are not authorized. User: arn:aws:sts::123456789012:assumed-role/r/i-1 is not... Encoded authorization failure message: SECRETBLOB"
    found = translated(answer("UnauthorizedOperation", message, 403))
    assert found.message == (
        "ReplaceRoute: arn:aws:sts::123456789012:assumed-role/r/i-1 may not do this; add ec2:ReplaceRoute to its IAM policy (UnauthorizedOperation)"
    )


def test_other_messages_lose_the_encoded_part_and_are_kept_short() -> None:
    found = translated(answer("Odd", "first line\nsecond " + "x" * 1000))
    assert "first line second" in found.message
    assert len(found.message) < 400
    assert "BLOB" not in translated(answer("Odd", "no. Encoded authorization failure message: BLOB")).message


def test_a_role_that_cannot_be_assumed_was_never_a_write() -> None:
    found = translated(answer("InternalFailure", status=500, operation="AssumeRole"))
    assert found.ambiguous is False
    assert "sts:AssumeRole" in translated(answer("AccessDenied", status=403, operation="AssumeRole")).message


def test_only_throttling_is_throttling() -> None:
    assert is_throttled(translated(answer("RequestLimitExceeded")))
    assert not is_throttled(translated(answer("InternalError", status=500)))
    assert not is_throttled(None)
