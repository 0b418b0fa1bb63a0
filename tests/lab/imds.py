# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service, version 2 only: no answer without a session token that has not run out."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from lab import metadata
from lab.control.http import CUT, HttpReply, HttpRequest, HttpServer
from lab.netns import Namespace
from lab.view import VpcView

if TYPE_CHECKING:
    from lab.control import Credentials

ADDRESS = "169.254.169.254"
MAX_TTL = 21600
#: What `Imds.fail` takes: no token is given out; nothing is answered at all; the credentials that it gives out have run out.
FAULTS = ("token-refused", "silent", "credentials-expired")
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"


Issue = Callable[[str, float], "Credentials"]


@dataclass(frozen=True)
class Identity:
    """Whose metadata it is. ``lifetime``: seconds that credentials hold, new ones being given out some time before the end."""

    instance_id: str
    role: str
    account: str = "123456789012"
    lifetime: int = 6 * 3600


class Imds:
    """One instance's metadata service; start it with `listen`.

    :param view: Gives the control plane's present picture.
    :param issue: Makes credentials for a role that hold for a number of seconds.
    """

    def __init__(self, identity: Identity, view: Callable[[], VpcView], issue: Issue, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity, self._view, self._issue, self._clock = identity, view, issue, clock
        self._tokens: dict[str, float] = {}
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()
        self._fault: str | None = None
        self._talking = threading.Event()
        self._talking.set()
        self._server = HttpServer(self.answer)

    @property
    def fault(self) -> str | None:
        """The fault in force, one of `FAULTS`."""
        return self._fault

    def fail(self, fault: str | None) -> None:
        """Misbehave in this way from now on; None: behave again, and answer those who still wait."""
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"no such metadata fault: {fault}; there are {', '.join(FAULTS)}")
        self._fault = fault
        if fault == "silent":
            self._talking.clear()
        else:
            self._talking.set()

    def listen(self, namespace: Namespace) -> None:
        """Serve inside this namespace, at the well-known address."""
        namespace.ip(f"addr replace {ADDRESS}/32 dev lo scope host")
        listener = namespace.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, 80))
        listener.listen(64)
        self._server.listen(listener)

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._talking.set()
        self._server.stop()

    def answer(self, request: HttpRequest) -> HttpReply:
        """The reply to one request."""
        if self._fault == "silent":
            self._talking.wait()
            return CUT
        if request.path == "/latest/api/token":
            return self._give_token(request)
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "Method Not Allowed")
        if not self._knows(request.headers.get("x-aws-ec2-metadata-token", "")):
            return _refusal(401, "Unauthorized")
        found = self._text(request.path)
        return _refusal(404, "Not Found") if found is None else _plain(found)

    def _give_token(self, request: HttpRequest) -> HttpReply:
        if request.method != "PUT":
            return _refusal(405, "Method Not Allowed")
        if "x-forwarded-for" in request.headers or self._fault == "token-refused":
            return _refusal(403, "Forbidden")
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isascii() or not ttl.isdigit() or len(ttl) > 5 or not 1 <= int(ttl) <= MAX_TTL:
            return _refusal(400, "Bad Request")
        token, now = secrets.token_urlsafe(40), self._clock()
        with self._lock:
            self._tokens = {one: end for one, end in self._tokens.items() if end > now}
            self._tokens[token] = now + int(ttl)
        return _plain(token, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl})

    def _knows(self, token: str) -> bool:
        with self._lock:
            return self._tokens.get(token, 0.0) > self._clock()

    def _text(self, path: str) -> str | None:
        section = path.strip("/")
        if section == "latest":
            return "dynamic\nmeta-data"
        if not section.startswith("latest/"):
            return None
        role = self._identity.role
        paths = metadata.leaves(self._view(), self._identity.instance_id, self._identity.account)
        credentials = f"meta-data/iam/security-credentials/{role}"
        if section == f"latest/{credentials}":
            return self._credentials_document()
        return metadata.look_up({**paths, credentials: ""}, section[len("latest/") :])

    def _credentials_document(self) -> str:
        now = datetime.now(timezone.utc)
        lifetime = self._identity.lifetime
        with self._lock:
            held = self._credentials
            if self._fault == "credentials-expired":
                held = self._issue(self._identity.role, -60)
            elif held is None or held.expiration - now < timedelta(seconds=min(300.0, lifetime / 2)):
                held = self._credentials = self._issue(self._identity.role, lifetime)
        document: Mapping[str, str] = {
            "Code": "Success",
            "LastUpdated": now.strftime(_STAMP),
            "Type": "AWS-HMAC",
            "AccessKeyId": held.access_key,
            "SecretAccessKey": held.secret_key,
            "Token": held.token,
            "Expiration": held.expiration.strftime(_STAMP),
        }
        return json.dumps(document, indent=2)


def _plain(text: str, headers: Mapping[str, str] | None = None) -> HttpReply:
    return HttpReply(200, text.encode(), "text/plain", headers or {})


def _refusal(status: int, words: str) -> HttpReply:
    return HttpReply(status, _PAGE.format(f"{status} - {words}").encode(), "text/html")
