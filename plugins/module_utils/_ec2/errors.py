# SPDX-License-Identifier: GPL-3.0-or-later
"""What botocore raises, as one line that a person can act on and two facts that `converge` acts on.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html. The encoded authorization message and
everything else that may hold a secret is left out.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

try:
    from botocore import exceptions as aws
    from botocore import xform_name
    from botocore.parsers import ResponseParserError
except ImportError:  # reported by the modules with missing_required_lib
    pass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, ServiceError

_THROTTLED = frozenset(
    "RequestLimitExceeded Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException "
    "EC2ThrottledException TooManyRequestsException SlowDown BandwidthLimitExceeded PriorRequestNotComplete".split()
)
_BROKEN = frozenset("InternalError InternalFailure InternalServerError Unavailable ServiceUnavailable RequestTimeout RequestTimeoutException".split())
_DENIED = frozenset("UnauthorizedOperation AccessDenied AccessDeniedException".split())
_EXPIRED = frozenset("RequestExpired ExpiredToken ExpiredTokenException".split())
_UNKNOWN_KEY = frozenset(
    "AuthFailure InvalidClientTokenId UnrecognizedClientException SignatureDoesNotMatch IncompleteSignature InvalidSignatureException".split()
)
_CALLER = re.compile(r"User: (arn:[\w:/+=,.@-]{1,200})")
_LONGEST_CAUSE = 300


def is_throttled(error: HoldfastError | None) -> bool:
    """Whether the service asked for fewer calls per second."""
    return isinstance(error, ServiceError) and error.details.get("code") in _THROTTLED


def is_denied(error: HoldfastError | None) -> bool:
    """Whether the credentials in use may not make the call."""
    return isinstance(error, ServiceError) and error.details.get("code") in _DENIED


def has_code(error: HoldfastError | None, *codes: str) -> bool:
    """Whether the service answered with one of these error codes."""
    return isinstance(error, ServiceError) and error.details.get("code") in codes


def call(client: Any, operation: str, *, write: bool = False, **parameters: Any) -> dict[str, Any]:
    """One API call.

    :param operation: In the API's own spelling, such as ``DescribeRouteTables``.
    :param write: Whether it changes something: a lost reply then leaves open whether it did.
    :returns: The parsed answer.
    :raises ServiceError: In place of whatever botocore raises.
    """
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
    except (aws.BotoCoreError, aws.ClientError, ResponseParserError) as error:
        raise translate(error, client.meta.service_model.service_name, operation, client.meta.endpoint_url, write=write) from error
    return answer


def translate(error: Exception, service: str, operation: str, endpoint: str, *, write: bool) -> ServiceError:
    """The `ServiceError` for what botocore raised during ``operation``; its details are ``service``, ``operation``, ``code``."""
    code = type(error).__name__
    if isinstance(error, aws.ClientError):
        if error.operation_name != operation:  # getting credentials for the call failed, so the call was never sent
            service, operation, write = "sts", error.operation_name, False
        return _refused(error, service, operation, write=write)
    facts: dict[str, Any] = {"service": service, "operation": operation, "code": code}
    endpoint = _called(error, endpoint)
    if isinstance(error, ResponseParserError):
        message = f"{operation}: {endpoint} answered with something that is no AWS reply; try again"
        return ServiceError(message, retryable=True, ambiguous=write, **facts)
    if isinstance(error, aws.SSLError):
        return ServiceError(f"{operation}: the certificate of {endpoint} is not trusted; set aws_ca_bundle to its CA: {_line(error)}", **facts)
    if isinstance(error, (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)):
        return ServiceError(f"{operation}: cannot reach {endpoint}; check region, endpoint_url and the network", retryable=True, **facts)
    if isinstance(error, aws.HTTPClientError):  # read time-out, closed connection: the request may have arrived
        return ServiceError(f"{operation}: no reply from {endpoint} ({code}); try again", retryable=True, ambiguous=write, **facts)
    if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.UnauthorizedSSOTokenError)):
        hint = "give the instance a role, or set profile, or access_key and secret_key"
        return ServiceError(f"{operation}: no usable AWS credentials ({code}); {hint}", transient=True, **facts)
    return ServiceError(f"{operation}: {_line(error)}", **facts)


def _called(error: Exception, endpoint: str) -> str:
    """The endpoint that was called: for credentials of a role it is that of STS."""
    asked = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or endpoint))
    return endpoint if asked.netloc in ("", urlsplit(endpoint).netloc) else f"{asked.scheme}://{asked.netloc}"


def _refused(error: Any, service: str, operation: str, *, write: bool) -> ServiceError:
    """For an answer that is an error. The HTTP status counts too: proxies and load balancers send no code of their own."""
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    facts: dict[str, Any] = {"service": service, "operation": operation, "code": code}
    action = f"{service}:{operation}"
    if code in _THROTTLED or status == 429:
        return ServiceError(f"{operation}: AWS is throttling this account ({code}); try again, or ask for a higher limit", retryable=True, **facts)
    if code in _BROKEN or status >= 500:
        return ServiceError(f"{operation}: AWS failed with {code or status}; try again", retryable=True, ambiguous=write, **facts)
    if code in _DENIED:
        caller = _CALLER.search(message)
        who = caller.group(1) if caller else "the credentials in use"
        return ServiceError(f"{operation}: {who} may not do this; add {action} to its IAM policy ({code})", denied=True, **facts)
    if code in _EXPIRED:
        return ServiceError(
            f"{operation}: the credentials or the request have expired ({code}); renew them and check this host's clock", denied=True, **facts
        )
    if code in _UNKNOWN_KEY:
        hint = "check the keys, the session token and this host's clock"
        return ServiceError(f"{operation}: AWS does not accept these credentials ({code}); {hint}", denied=True, **facts)
    return ServiceError(f"{operation}: {code}: {_line(message)}", **facts)


def _line(text: object) -> str:
    line = " ".join(str(text).partition("Encoded authorization failure message")[0].split())
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 1] + "…"
