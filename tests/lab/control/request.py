# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWS API request read out of HTTP, and EC2's and STS's results written back by their service models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from lab.control.errors import ApiError
from lab.control.http import HttpReply, HttpRequest

_SIGNED = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request\b")
#: Services whose requests are a form, by the protocol that botocore's models call them.
_FORMS = {"ec2": "ec2", "sts": "query", "iam": "query"}


@dataclass
class ApiRequest:
    """One call. ``form`` is its flat query form (EC2, STS, IAM), ``params`` its parameters by their model names."""

    http: HttpRequest
    service: str
    action: str
    region: str
    access_key: str
    token: str | None
    params: dict[str, Any]
    form: dict[str, str] = field(default_factory=dict)

    @property
    def dry_run(self) -> bool:
        """EC2's DryRun flag."""
        return self.service == "ec2" and self.form.get("DryRun", "").lower() == "true"

    @property
    def body(self) -> bytes:
        """The body, with what rules have rewritten in ``form``."""
        return urlencode(self.form).encode() if self.form else self.http.body

    def require(self, *names: str) -> None:
        """EC2's answer when a required parameter is not there."""
        for name in names:
            if self.params.get(name) in (None, "", []):
                raise ApiError("MissingParameter", f"The request must contain the parameter {name}")


def parse_request(http: HttpRequest) -> ApiRequest:
    """Raises `ApiError` for a request that is not signed, or names no action that its service has."""
    signed = _SIGNED.match(http.headers.get("authorization", ""))
    if signed is None:
        raise ApiError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    access_key, _day, region, service = signed.groups()
    token = http.headers.get("x-amz-security-token")
    if service in _FORMS:
        form = dict(parse_qsl(http.body.decode("utf-8", "replace") or http.query, keep_blank_values=True))
        action = form.get("Action", "")
        return ApiRequest(http, service, action, region, access_key, token, _parse_form(service, action, form), form)
    action = http.headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        params = json.loads(http.body or b"{}")
    except ValueError:
        raise ApiError("SerializationException", "The body is not JSON") from None
    return ApiRequest(http, service, action, region, access_key, token, params if isinstance(params, dict) else {})


def _parse_form(service: str, action: str, form: Mapping[str, str]) -> dict[str, Any]:
    model = get_service_model(service)
    if action not in model.operation_names:
        raise ApiError("InvalidAction", f"The action {action} is not valid for this web service.")
    operation = model.operation_model(action)
    parser = PROTOCOL_PARSERS[_FORMS[service]](operation)
    asked: Any = {"method": "POST", "values": form, "headers": {}, "body": "", "url_path": "/", "url_params": {}}
    try:
        parsed = parser.parse(asked)
    except (ValueError, TypeError) as error:
        raise ApiError("InvalidParameterValue", f"A parameter has a value of the wrong kind: {error}") from None
    return dict(parsed or {})


def result_reply(service: str, action: str, result: Mapping[str, Any]) -> HttpReply:
    """``result``, with the model's member names, in the service's own XML."""
    serializer = get_serializer_class(service, _FORMS[service])(operation_model=get_service_model(service).operation_model(action))
    done = serializer.serialize(dict(result))
    body = done["body"]
    return HttpReply(200, body.encode() if isinstance(body, str) else body)
