# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane: what a test or the lab's command starts."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import botocore.session
from boto3.session import Session
from botocore.config import Config

from lab.control import snapshot
from lab.control.admin import PREFIX, Admin
from lab.control.calls import Call, CallLog
from lab.control.emulator import Emulator
from lab.control.faults import Faults
from lab.control.http import HttpReply, HttpRequest, HttpServer
from lab.control.iam.identities import Credentials, Identities
from lab.control.pipeline import Pipeline
from lab.control.rules import routes
from lab.view import VpcView

_LOADING = threading.Lock()  # botocore's loader is slow and not safe under threads


class ControlPlane:
    """EC2, STS and DynamoDB of one account in one region, on sockets that it is given. Use as a context manager, or `stop` it.

    Several may live in one process; each has an account of its own.
    """

    def __init__(self, region: str = "eu-central-1") -> None:
        self.region = region
        self.calls = CallLog()
        self.faults = Faults()
        self._emulator = Emulator(region)
        self.account = self._emulator.account
        self._identities = Identities(self.account)
        self._pipeline = Pipeline(self._emulator, self._identities, self.faults, self.calls, self._notify)
        self._admin = Admin(self.calls, self.faults, self.snapshot)
        self._server = HttpServer(self._handle)
        self._subscribers: list[Callable[[Call], object]] = []
        self._notifying = threading.Lock()
        self._endpoint_url: str | None = None

    def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Serve on bound, listening sockets, wherever they live; they are closed by `stop`."""
        for listener in listeners:
            self._server.listen(listener)

    def listen_loopback(self) -> str:
        """Serve on a free port of 127.0.0.1 too; returns the URL, which is `endpoint_url` from then on."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._endpoint_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.serve([listener])
        return self._endpoint_url

    @property
    def endpoint_url(self) -> str:
        """The URL of the loopback listener, opened at first use."""
        return self._endpoint_url or self.listen_loopback()

    @property
    def admin_credentials(self) -> Credentials:
        """The administrator's key: everything is allowed to it. It has no token and does not run out."""
        return self._identities.admin

    def client(self, service: str, *, credentials: Credentials | None = None, **kwargs: Any) -> Any:
        """A boto3 client of this control plane, and of nothing else; ``credentials`` default to the administrator's.

        ``kwargs`` as for boto3 (``config`` is merged). It makes one attempt per call unless told otherwise.
        """
        who = credentials or self.admin_credentials
        # Without proxies and with an explicit endpoint there is no way to the real AWS, whatever the environment says.
        config = Config(retries={"total_max_attempts": 1}, proxies={}).merge(kwargs.pop("config", Config()))
        keys = {"aws_access_key_id": who.access_key, "aws_secret_access_key": who.secret_key, "aws_session_token": who.token or None}
        given = {"region_name": self.region, "endpoint_url": self.endpoint_url, "verify": False, **keys, **kwargs}
        with _LOADING:
            session: Any = Session(botocore_session=_private_session())
            return session.client(service, config=config, **given)

    def snapshot(self, vpc_id: str) -> VpcView:
        """The VPC at this instant, true whatever staleness is injected. KeyError for an unknown id."""
        with self._pipeline.lock:
            return snapshot.take(self._emulator.ec2, self.region, vpc_id)

    def advertise(self, table_id: str, destination: str, eni_id: str, *, seen: str = "active") -> None:
        """An entry that VPC Route Server installs, which moto has not; ``seen``: its state, ``active`` or ``filtered``."""
        with self._pipeline.lock:
            routes.advertise(self._emulator.ec2, table_id, destination, eni_id, seen)

    def subscribe(self, callback: Callable[[Call], object]) -> None:
        """``callback(call)`` runs after each EC2 write that took effect and before its reply leaves, one at a time.

        It may take a `snapshot`; it must not write to this control plane. What it raises goes to the client as a defect.
        """
        self._subscribers.append(callback)

    def issue(self, role_name: str, seconds: float) -> Credentials:
        """Credentials of a new session of a role: (access_key, secret_key, token, expiration)."""
        return self._identities.issue(role_name, seconds)

    def set_policy(self, role_name: str, document: Mapping[str, Any]) -> None:
        """Let the role do what an IAM policy document allows, and nothing else. ValueError for a document that IAM refuses."""
        self._identities.set_policy(role_name, document)

    def set_trust(self, role_name: str, *, principals: Sequence[str] = ("*",), external_id: str | None = None) -> None:
        """Who may assume the role: caller ARNs with wildcards, and the external id that they must give."""
        self._identities.set_trust(role_name, principals=principals, external_id=external_id)

    def role_arn(self, role_name: str) -> str:
        """The role's ARN, for AssumeRole."""
        return self._identities.role_arn(role_name)

    def stop(self) -> None:
        """Close every socket and forget the state. Safe to repeat."""
        self.faults.clear()
        self._server.stop()
        with self._pipeline.lock:
            self._emulator.forget()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _handle(self, http: HttpRequest) -> HttpReply:
        return self._admin.handle(http) if http.path.startswith(PREFIX) else self._pipeline.handle(http)

    def _notify(self, call: Call) -> None:
        with self._notifying:
            for callback in self._subscribers:
                callback(call)


@functools.cache  # it holds the service models, which take long to read
def _private_session() -> botocore.session.Session:
    """A session that reads none of the user's AWS configuration."""
    nothing = (None, None, None, None)
    files = dict.fromkeys(("config_file", "credentials_file"), (None, None, "/dev/null", None))
    return botocore.session.Session(session_vars={"profile": nothing, "ca_bundle": nothing, **files})
