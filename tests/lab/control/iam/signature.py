# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a request was signed with the secret that belongs to its access key (Signature Version 4), judged by botocore's own signer."""

from __future__ import annotations

import hmac
import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lab.control.request import ApiRequest

_PARTS = re.compile(r"SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})")


def is_genuine(request: ApiRequest, secret_key: str) -> bool:
    """Sign what arrived once more and compare."""
    http = request.http
    found = _PARTS.search(http.headers["authorization"])
    if found is None:
        return False
    url = f"http://{http.headers.get('host', '')}{http.path}" + (f"?{http.query}" if http.query else "")
    signed = {name: http.headers.get(name, "") for name in found[1].split(";") if name != "host"}
    again = AWSRequest(method=http.method, url=url, headers=signed, data=http.body)
    again.context["timestamp"] = http.headers.get("x-amz-date", "")
    signer = SigV4Auth(Credentials(request.access_key, secret_key, request.token), request.service, request.region)
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return hmac.compare_digest(str(expected), found[2])
