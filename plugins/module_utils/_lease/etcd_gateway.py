# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to etcd's JSON gateway: endpoints tried in order within one time-out, TLS, user and password."""

from __future__ import annotations

import copy
import http.client
import json
import math
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import shown
from ansible_collections.holdfast.ha.plugins.module_utils._lease.connection import BoundedConnection, Resolver
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreRefused, StoreUnreachable

_LARGEST_ANSWER, _OK = 1 << 20, 200
#: gRPC's codes, https://grpc.io/docs/guides/status-codes/
_PERMISSION_DENIED, _UNAUTHENTICATED = 7, 16
#: Codes after which a write is known not to have taken effect: invalid argument, not found, already exists, denied,
#: resource exhausted, failed precondition, out of range, unimplemented, unauthenticated.
_DEFINITE = frozenset({3, 5, 6, 7, 8, 9, 11, 12, 16})


#: What a person does about an etcd that is full, or nearly so.
FULL_REMEDY = "compact and defragment it, disarm its alarm and have it compact by itself: 'When etcd is full' in the guide to etcd"

_LONGEST_TOKEN, _LONGEST_NUMBER = 4096, 20
_T = TypeVar("_T")


class NotEtcd(ValueError):
    """A reply does not have the form that etcd's API documents. The text names the field and does not repeat its content."""


class ClusterPin:
    """The one etcd cluster that the leases of this node are in, known by the id in the header of each reply. Threads may share it.

    Endpoints of two clusters are two stores: a node that asks one and a node that asks the other would both hold a lease.

    :param known: The id that was kept; empty where none is known, so that the first reply decides.
    :param keep: Given the id when it is learned. It must not raise.
    :param tell: Given one line for a person, once for each endpoint that answers for another cluster.
    :param remedy: How a person accepts another cluster.
    """

    def __init__(
        self,
        known: str = "",
        keep: Callable[[str], None] = lambda known: None,
        tell: Callable[[str], None] = lambda line: None,
        remedy: str = "name the members of one cluster in store.endpoints",
    ) -> None:
        self.known, self._keep, self._tell, self.remedy = known, keep, tell, remedy
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def accepts(self, endpoint: str, cluster: str) -> str:
        """Why an answer of that cluster does not count; empty where it does. The first answer of all decides which cluster it is."""
        with self._lock:
            if not self.known:
                self.known = cluster
                self._keep(cluster)
            if cluster == self.known:
                self._told.discard(endpoint)
                return ""
            line = f"{endpoint} answers for the etcd cluster {cluster}, and the leases are in the cluster {self.known}. {self.remedy}"
            if endpoint not in self._told:
                self._told.add(endpoint)
                self._tell(line)
            return line


@dataclass(frozen=True)
class Answer(Generic[_T]):
    """What a reply was understood as, and whether an earlier endpoint was asked the same and gave none."""

    reply: _T
    unanswered_before: bool


class _TokenRefused(StoreRefused):
    """The authentication token has run out, or etcd has restarted: a new one has to be asked for."""


class _TlsFailed(StoreRefused):
    """There is no TLS connection to one endpoint. Nothing was sent, and the others may do better."""


class _HungUp(StoreUnreachable):
    """A connection broke off before the reply had come to its end."""


class Login:
    """The authentication token of a user. All gateways of a process share it, since etcd takes some 50 ms of processor time to check a password."""

    def __init__(self, name: str | None, password: str | None) -> None:
        self.name, self._password, self._token = name, password, ""
        self._lock = threading.Lock()
        self._refusal: tuple[float, str] = (-math.inf, "")

    def token(self, ask: Callable[[dict[str, Any]], str], seconds: float) -> str:
        """The token, which is asked for where none is known; empty where etcd has no users. Raises `ServiceError`.

        :param ask: Sends the user and password, given as the body of the call, and returns the token.
        :param seconds: The longest wait for another thread that asks just now. Who has waited shares a refusal.
        """
        if not self.name or self._token:
            return self._token
        begun = time.monotonic()
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            raise StoreUnreachable("etcd cannot be reached: no answer in time to the user and password", retryable=True, service="etcd")
        try:
            if self._refusal[0] > begun:
                raise StoreRefused(self._refusal[1], service="etcd")
            self._token = self._token or ask({"name": self.name, "password": self._password})
            return self._token
        except StoreRefused as error:
            self._refusal = (time.monotonic(), error.message)
            raise
        finally:
            self._lock.release()

    def forget(self, token: str) -> None:
        """It is not accepted any more."""
        with self._lock:
            self._token = "" if self._token == token else self._token


class Gateway:
    """A client of a cluster, for one thread. It keeps one connection to each endpoint that answers.

    Each call has ``timeout`` seconds, whatever the number of endpoints: half of what is left for an endpoint while there are others to try, so that
    one that hangs does not use it all. The endpoint that answered last comes first.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        timeout: float,
        ca_cert: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        username: str | None = None,
        password: str | None = None,
        cluster: ClusterPin | None = None,
    ) -> None:
        self._endpoints = list(endpoints)
        self._timeout = timeout
        self._tls = _tls(ca_cert, cert, key) if any(url.startswith("https:") for url in endpoints) else None
        self._login = Login(username, password)
        self._token = ""
        self._kept: dict[str, BoundedConnection] = {}
        self._cluster = cluster or ClusterPin()
        self._foreign: set[str] = set()
        self._resolver = Resolver()

    def sibling(self) -> Gateway:
        """One for another thread. It has connections of its own, and the same login and TLS settings."""
        made = copy.copy(self)
        made._endpoints, made._foreign, made._kept = list(self._endpoints), set(), {}
        return made

    def call(self, path: str, body: dict[str, Any], understand: Callable[[dict[str, Any]], _T], *, write: bool = False) -> Answer[_T]:
        """One call.

        :param understand: Takes a reply with a sound header and returns what is wanted of it. It raises `NotEtcd` for a malformed one; the endpoint
            then counts as unreachable and the next one is asked.
        :raises StoreRefused: When etcd answered with an error that the other endpoints would give too.
        :raises StoreUnreachable: When no endpoint gave a proper reply; ``ambiguous`` where a write may have arrived.
        """
        deadline = time.monotonic() + self._timeout
        if not self._cluster.known:
            self._agree(deadline)
        try:
            return self._authenticated(path, body, understand, write, deadline)
        except _TokenRefused as error:  # the endpoint that refused has written nothing: it checks the token first
            self._login.forget(self._token)
            doubt = error.ambiguous
        try:
            answer = self._authenticated(path, body, understand, write, deadline)
        except ServiceError as error:
            error.ambiguous = error.ambiguous or doubt
            raise
        return Answer(answer.reply, answer.unanswered_before or doubt)

    def members(self) -> list[tuple[dict[str, Any], str]]:
        """What each member that answers tells of itself: its status, and the text of its metrics where it shows them. ``timeout`` for each call."""
        found = []
        for endpoint in tuple(self._endpoints):
            try:
                status = self._ask(endpoint, "/v3/maintenance/status", {}, self._timeout)
                with closing(self._connection(endpoint, self._timeout)) as connection:
                    code, metrics = self._exchange(connection, endpoint, "GET", "/metrics", None, False)
            except ServiceError:
                continue  # who renews leases there says so
            found.append((status, metrics.decode(errors="replace") if code == _OK else ""))
        return found

    def _agree(self, deadline: float) -> None:
        """Before the first answer decides which cluster it is: refuse endpoints that answer for several. Who does not answer says nothing."""
        found: dict[str, str] = {}
        end = time.monotonic() + (deadline - time.monotonic()) / 2
        for left, endpoint in zip(range(len(self._endpoints), 0, -1), self._endpoints if len(self._endpoints) > 1 else ()):
            budget = (end - time.monotonic()) / left
            if budget > 0:
                try:
                    found.setdefault(_cluster_of(self._ask(endpoint, "/v3/maintenance/status", {}, budget)), endpoint)
                except (ServiceError, NotEtcd):
                    continue  # the call itself meets it and says so
        if len(found) > 1:
            each = ", ".join(f"{endpoint} for {cluster}" for cluster, endpoint in found.items())
            raise StoreUnreachable(
                f"etcd: the endpoints answer for different clusters ({each}); name the members of one cluster in store.endpoints", retryable=True
            )

    def _authenticated(self, path: str, body: dict[str, Any], understand: Callable[[dict[str, Any]], _T], write: bool, deadline: float) -> Answer[_T]:
        self._token = ""

        def ask(given: dict[str, Any]) -> str:
            return self._anywhere("/v3/auth/authenticate", given, _token, False, deadline).reply

        self._token = self._login.token(ask, deadline - time.monotonic())
        return self._anywhere(path, body, understand, write, deadline)

    def _anywhere(self, path: str, body: dict[str, Any], understand: Callable[[dict[str, Any]], _T], write: bool, deadline: float) -> Answer[_T]:
        """Ask the endpoints in turn until one answers. What is sent twice must be safe to send twice.

        An endpoint that refuses says nothing about a write that an earlier one may have taken: the doubt stays with the error.
        """
        failures: list[ServiceError] = []
        todo = deque(self._endpoints)
        while todo:
            endpoint, budget = todo.popleft(), deadline - time.monotonic()
            if budget <= 0:
                break
            if write and endpoint in self._foreign:  # only a read finds out whether it has come back
                failures.append(StoreUnreachable(f"{endpoint} answers for another etcd cluster", retryable=True))
                continue
            connection = self._connection(endpoint, budget / 2 if todo else budget)
            try:
                reply = self._understood(endpoint, self._asked(connection, endpoint, path, body, write), understand, write)
            except (StoreUnreachable, _TlsFailed) as error:
                connection.end()  # it may lead to somebody else
                failures.append(error)
                if isinstance(error, _HungUp) and connection.is_kept:  # etcd may have restarted since
                    todo.appendleft(endpoint)
                    continue
                connection.judge(False)
                self._endpoints.remove(endpoint)
                self._endpoints.append(endpoint)
                continue
            except StoreRefused as error:
                connection.end()
                connection.judge(False)  # also another etcd refuses, such as one without our user
                error.ambiguous = error.ambiguous or any(failure.ambiguous for failure in failures)
                raise
            connection.judge(True)
            self._kept[endpoint] = connection
            return Answer(reply, any(error.ambiguous for error in failures))
        raise self._none_answered(failures, path)

    def _none_answered(self, failures: Sequence[ServiceError], path: str) -> ServiceError:
        """One error for all endpoints. That of TLS alone does not pass by itself."""
        if failures and len(failures) == len(self._endpoints) and all(isinstance(error, _TlsFailed) for error in failures):
            return failures[0]
        causes = "; ".join(error.message for error in failures) or "no time was left to ask"
        return StoreUnreachable(
            f"etcd cannot be reached: {causes}; check store.endpoints, the network, and that a majority of the members runs",
            retryable=True,
            ambiguous=any(error.ambiguous for error in failures),
            service="etcd",
            operation=path,
        )

    def _ask(self, endpoint: str, path: str, body: dict[str, Any], budget: float) -> dict[str, Any]:
        """A question beside those of the leases."""
        with closing(self._connection(endpoint, budget)) as connection:
            return self._asked(connection, endpoint, path, body, False)

    def _asked(self, connection: BoundedConnection, endpoint: str, path: str, body: dict[str, Any], write: bool) -> dict[str, Any]:
        status, raw = self._exchange(connection, endpoint, "POST", path, json.dumps(body), write)
        return _parsed(endpoint, status, raw, write)

    def _connection(self, endpoint: str, budget: float) -> BoundedConnection:
        """The one that was kept, or a new one."""
        kept = self._kept.pop(endpoint, None)
        if kept is not None and kept.reuse(budget):
            return kept
        if kept is not None:
            kept.end()
        url = urlsplit(endpoint)
        return BoundedConnection(url.hostname or "", url.port or 2379, budget, self._resolver, self._tls if url.scheme == "https" else None)

    def _exchange(self, connection: BoundedConnection, endpoint: str, method: str, path: str, body: str | None, write: bool) -> tuple[int, bytes]:
        whole = False
        try:
            if not connection.is_kept:
                self._connect(connection, endpoint)
            headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
            try:
                connection.request(method, urlsplit(endpoint).path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                raw = response.read(_LARGEST_ANSWER + 1)
                if connection.is_late():
                    raise TimeoutError("timed out")  # it was cut, so the reply may end too early
                whole = response.isclosed() and not response.will_close
            except ssl.SSLError as error:  # with TLS 1.3 a refused client certificate shows here, before anything is read
                if "alert" in str(error).lower():
                    raise _TlsFailed(
                        f"etcd: {endpoint} refused the TLS connection ({_tls_cause(error)}); check store.cert and key", service="etcd"
                    ) from error
                raise _broken(endpoint, error, connection, write) from error
            except (OSError, http.client.HTTPException) as error:
                raise _broken(endpoint, error, connection, write) from error
        finally:
            if whole:
                connection.keep()
            else:
                connection.end()
        return response.status, raw

    def _connect(self, connection: BoundedConnection, endpoint: str) -> None:
        try:
            connection.connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:  # hung up on: it may be starting, or ending
            raise StoreUnreachable(f"{endpoint}: {_cause(error, connection)}", retryable=True) from error
        except ssl.SSLError as error:
            raise _TlsFailed(f"etcd: TLS with {endpoint} failed ({_tls_cause(error)}); check store.ca_cert, cert and key", service="etcd") from error
        except OSError as error:
            raise StoreUnreachable(f"{endpoint}: {_cause(error, connection)}", retryable=True) from error

    def _understood(self, endpoint: str, reply: dict[str, Any], understand: Callable[[dict[str, Any]], _T], write: bool) -> _T:
        """What ``understand`` makes of a reply to a call that succeeded. Raises `StoreUnreachable` where it is malformed, or another cluster's."""
        try:
            refusal = self._cluster.accepts(endpoint, _cluster_of(reply))
            if refusal:
                self._foreign.add(endpoint)
                raise StoreUnreachable(refusal, retryable=True, ambiguous=write)
            self._foreign.discard(endpoint)
            return understand(reply)
        except NotEtcd as error:
            raise StoreUnreachable(f"{endpoint}: answered with something that is not etcd's ({error})", retryable=True, ambiguous=write) from None


def whole(value: object) -> int:
    """A number of etcd's, which its gateway writes as text. Raises `NotEtcd` for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_LONGEST_NUMBER:
        return value
    raise NotEtcd("a number is missing or malformed")


def _token(reply: dict[str, Any]) -> str:
    """The authentication token in a reply, which can be sent in a header."""
    token = reply.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise NotEtcd("the authentication token is missing or malformed")
    return token


def _cluster_of(reply: dict[str, Any]) -> str:
    """The id of the cluster that a reply comes from. A web server that answers with some other JSON has none. Raises `NotEtcd`."""
    header = reply.get("header")
    cluster = whole(header.get("cluster_id")) if isinstance(header, dict) else 0
    if not cluster:
        raise NotEtcd("the header is missing or malformed")
    return str(cluster)


def _parsed(endpoint: str, status: int, raw: bytes, write: bool) -> dict[str, Any]:
    """The reply to a call that succeeded, or the error for what went wrong."""
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise StoreUnreachable(f"{endpoint}: answered with something that is not etcd's (HTTP {status})", retryable=True, ambiguous=write)
    if status == _OK:
        return reply
    code = reply.get("code") if isinstance(reply.get("code"), int) else None
    text = str(reply.get("message") or reply.get("error") or f"HTTP {status}")
    facts: dict[str, Any] = {"service": "etcd", "code": code}
    if code == _UNAUTHENTICATED or "auth store is old" in text:
        raise _TokenRefused("etcd does not accept its own authentication token; check the clocks of its members", retryable=True, **facts)
    if "authentication failed" in text or "authentication is not enabled" in text:
        raise StoreRefused(f"etcd does not accept the user and password ({shown(text)}); check store.username and store.password", **facts)
    if code == _PERMISSION_DENIED or "user name is empty" in text:
        raise StoreRefused(
            "etcd denies access to the keys under /holdfast/; give store.username and password of a user whose role may read and write them", **facts
        )
    if "database space exceeded" in text:
        raise StoreRefused(f"etcd is full and refuses all writes; {FULL_REMEDY}", retryable=True, **facts)
    if code in _DEFINITE:
        raise StoreRefused(f"etcd refused the call: {shown(text, 200)}", retryable=code == 8, **facts)
    raise StoreUnreachable(f"{endpoint}: {shown(text)}", retryable=True, ambiguous=write, **facts)


def _tls(ca_cert: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    for name, path in (("ca_cert", ca_cert), ("cert", cert), ("key", key)):
        if path and not os.access(path, os.R_OK):
            raise BadInput(f"store.{name}: there is no readable file {shown(path)} on this host", path=f"store.{name}")
    try:
        context = ssl.create_default_context(cafile=ca_cert)
        if cert:
            context.load_cert_chain(cert, key, password=_no_prompt)
    except (ssl.SSLError, ValueError) as error:
        raise BadInput(
            f"store: the TLS files cannot be used ({_tls_cause(error)}); ca_cert, cert and key have to be PEM, the key without a pass phrase"
        ) from error
    return context


def _no_prompt() -> str:
    return ""  # an encrypted key would otherwise be asked for on the terminal


def _tls_cause(error: Exception) -> str:
    verify = getattr(error, "verify_message", None)
    return str(verify or getattr(error, "reason", None) or type(error).__name__)


def _broken(endpoint: str, error: Exception, connection: BoundedConnection, write: bool) -> StoreUnreachable:
    hung_up = isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)) and not connection.is_late()
    return (_HungUp if hung_up else StoreUnreachable)(f"{endpoint}: {_cause(error, connection)}", retryable=True, ambiguous=write)


def _cause(error: Exception, connection: BoundedConnection) -> str:
    if isinstance(error, TimeoutError) or (connection.is_late() and not isinstance(error, socket.gaierror)):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
