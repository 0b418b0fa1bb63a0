# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON over HTTP(S) with the standard library: bounded as a whole, no redirects, no proxies, a token that never shows."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Endpoint

_LARGEST, _LONGEST_TOKEN = 1 << 20, 4096
_OTHERS = 0o077


class CallFailed(HoldfastError):
    """There is no reply: unreachable, too slow, cut off, or the two ends do not agree about TLS. ``ambiguous`` where the request may have arrived."""

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous


@dataclass(frozen=True)
class Reply:
    """``content`` is what was parsed, ``None`` where it is no JSON. ``retry_after`` in seconds, where the server says it."""

    status: int
    content: Any = field(repr=False)
    retry_after: float | None = None
    location: str = ""


def read_token(path: str) -> str:
    """The first line of a private file. Raises `Refused`, in words without the content."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a symbolic link" if Path(path).is_symlink() else error.strerror
        raise Refused(f"cannot read the token in {path}: {why}; write it there, with mode 0600") from None
    with open(handle, "rb") as file:
        about, text = os.fstat(handle), file.read(_LONGEST_TOKEN + 1)
    if not stat.S_ISREG(about.st_mode) or about.st_mode & _OTHERS or about.st_uid not in (0, os.geteuid()):
        raise Refused(f"{path} has to be a file that belongs to root and that nobody else may read; see its owner, and set its mode to 0600")
    token = text.split(b"\n", 1)[0].strip()
    if not token or len(text) > _LONGEST_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
        raise Refused(f"{path} has to contain one token in its first line, printable and without blanks")
    return token.decode("ascii")


def call(
    endpoint: Endpoint,
    method: str,
    path: str = "",
    body: Mapping[str, Any] | None = None,
    *,
    seconds: float,
    cancel: threading.Event | None = None,
) -> Reply:
    """One request below the endpoint's URL, ``path`` beginning with a slash.

    :param seconds: For all of it: looking up the name, connecting, TLS, sending and the whole reply.
    Raises `CallFailed`, and `Refused` where the token or certificate file cannot be used.
    """
    given = _Call(endpoint, method, path, body)
    thread = threading.Thread(target=given.run, name="http", daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while not given.done.wait(min(0.05 if cancel else seconds, max(0.0, end - time.monotonic()))):
        if time.monotonic() >= end or (cancel is not None and cancel.is_set()):
            given.give_up()
            why = "called off" if cancel is not None and cancel.is_set() else f"no reply within {seconds:g} s"
            raise CallFailed(f"{endpoint.url}: {why}", ambiguous=given.sent)
    if given.error is not None:
        raise given.error
    if given.reply is None:
        raise CallFailed(f"{endpoint.url}: the call ended without a reply")
    return given.reply


class _Call:
    """One request in a thread of its own, so that even a name server that hangs cannot hold up the caller."""

    def __init__(self, endpoint: Endpoint, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        self._endpoint, self._method, self._body = endpoint, method, body
        self._url = urlsplit(endpoint.url)
        self._path = (self._url.path.rstrip("/") + path) or "/"
        self._headers = {"Accept": "application/json", "User-Agent": "holdfast.ha", "Connection": "close"}
        if body is not None:
            self._headers["Content-Type"] = "application/json"
        if endpoint.token_file:
            self._headers["Authorization"] = f"Bearer {read_token(endpoint.token_file)}"
        self._tls = _tls(endpoint) if self._url.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self.done = threading.Event()
        self.sent = False
        self.reply: Reply | None = None
        self.error: HoldfastError | None = None

    def run(self) -> None:
        try:
            self.reply = self._exchange()
        except ssl.SSLCertVerificationError as error:
            self.error = CallFailed(f"{self._endpoint.url}: its certificate is not trusted ({error.verify_message}); see ca_cert")
        except ssl.SSLError as error:
            self.error = CallFailed(f"{self._endpoint.url}: TLS failed ({error.reason or 'cut off'})")
        except TimeoutError:
            self.error = CallFailed(f"{self._endpoint.url}: no connection within {self._endpoint.connect_timeout:g} s")
        except http.client.HTTPException as error:
            why = f"what answers there does not speak HTTP, or was cut off ({type(error).__name__})"
            self.error = CallFailed(f"{self._endpoint.url}: {why}", ambiguous=self.sent)
        except OSError as error:
            self.error = CallFailed(f"{self._endpoint.url}: {error.strerror or error}", ambiguous=self.sent)
        except ValueError as error:  # such as a host's name that is none
            self.error = CallFailed(
                f"{self._endpoint.url}: it cannot be used as it is written ({type(error).__name__}); see url", ambiguous=self.sent
            )
        finally:
            self._headers.clear()
            self.done.set()

    def give_up(self) -> None:
        """Let the thread end."""
        line = self._connection.sock if self._connection is not None else None
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already

    def _exchange(self) -> Reply:
        host, port, limit = self._url.hostname or "", self._url.port, self._endpoint.connect_timeout
        if self._tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=limit, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=limit)
        self._connection = connection
        text = None if self._body is None else json.dumps(self._body, default=str)
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(None)  # from here on `give_up` is the limit
            self.sent = True
            connection.request(self._method, self._path, text, self._headers)
            response = connection.getresponse()
            raw = response.read(_LARGEST + 1)
        finally:
            connection.close()
        try:
            content = json.loads(raw) if len(raw) <= _LARGEST else None
        except (ValueError, RecursionError):
            content = None
        pause = response.getheader("Retry-After", "")
        after = min(float(pause), 3600.0) if pause.isascii() and pause.isdecimal() else None
        return Reply(response.status, content, after, _place(response.getheader("Location", "")))


def _place(url: str) -> str:
    """Without what may be a secret in it; empty where it is no URL."""
    try:
        where = urlsplit(url)
        return f"{where.scheme}://{where.hostname or ''}{where.path}"
    except ValueError:
        return ""


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_cert)
    except (OSError, ssl.SSLError):
        raise Refused(f"ca_cert: {endpoint.ca_cert} cannot be read, or is no PEM file") from None
    if not endpoint.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
