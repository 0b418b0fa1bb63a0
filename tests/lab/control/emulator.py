# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's server application, called in this process. Its calls must be serialised by the caller: it is not safe under threads."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterable
from typing import Any

# Read by moto when it first makes a backend: 1,285 machine images that nothing here describes cost a second.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ.pop("MOTO_ACCOUNT_ID", None)  # the account is ours
os.environ.pop("AWS_PROFILE", None)  # moto reads the profile when it is imported
os.environ.pop("AWS_DEFAULT_PROFILE", None)

from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from lab.control.http import HttpReply
from lab.control.request import ApiRequest

_ACCOUNTS = itertools.count(100000000001)
_SERVICES: tuple[Any, ...] = ("ec2", "dynamodb", "sts", "iam")


class Emulator:
    """One AWS account of moto's, separate from that of every other emulator in this process."""

    def __init__(self, region: str) -> None:
        self.account = str(next(_ACCOUNTS))
        self.region = region
        self._app = DomainDispatcherApplication(create_backend_app)

    @property
    def ec2(self) -> Any:
        """moto's EC2 backend: the state itself."""
        return get_backend("ec2")[self.account][self.region]

    def call(self, request: ApiRequest) -> HttpReply:
        """What moto answers. Anything that it raises is a defect of the lab and goes through."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started.append((status, headers))

        chunks: Iterable[bytes] = self._app(self._environ(request), start_response)
        body = b"".join(chunks)
        status, headers = started[-1]
        kept = {name: value for name, value in headers if name.lower().startswith("x-amz")}
        kind = next((value for name, value in headers if name.lower() == "content-type"), "text/xml;charset=UTF-8")
        return HttpReply(int(status.split()[0]), body, kind, kept)

    def forget(self) -> None:
        """Drop the account's state."""
        for service in _SERVICES:
            get_backend(service).pop(self.account, None)

    def _environ(self, request: ApiRequest) -> dict[str, Any]:
        body = request.body
        names = {name: value for name, value in request.http.headers.items() if name not in ("user-agent", "content-length", "content-type")}
        return {
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in names.items()},
            "HTTP_X_MOTO_ACCOUNT_ID": self.account,
            "REQUEST_METHOD": request.http.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.http.path,
            "QUERY_STRING": request.http.query,
            "CONTENT_TYPE": request.http.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
