# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd in the lab's network, with users, that the nodes reach by whichever link they still have."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import Answer
from ansible_collections.holdfast.ha.tests.integration.lease.servers import Server, until
from lab.netns import Namespace
from lab.router import API_ADDRESS

PORT = 2379
USER, PASSWORD = "holdfast", "s3cret-word"


class _Direct:
    """In place of a `Gateway`, for the tests' own looks at the leases."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], dict[str, Any]]) -> None:
        self._call = call

    def call(self, path: str, body: Mapping[str, Any], understand: Callable[[dict[str, Any]], Any], *, write: bool = False) -> Answer[Any]:
        return Answer(understand(self._call(path, body)), unanswered_before=False)

    def sibling(self) -> _Direct:
        """It keeps no connection."""
        return self


class LabEtcd:
    """One member in the namespace that joins the nodes, at an address of it, over TLS: it asks for a password.

    ``settings``: the ``holdfast_store`` of a node that may read and write the leases.
    """

    def __init__(self, inside: Namespace, folder: Path, address: str = API_ADDRESS) -> None:
        self._inside, self._address, self._token = inside, address, ""
        url, peer = f"https://{address}:{PORT}", "http://127.0.0.1:2380"
        key, cert = folder / "server.key", folder / "server.pem"
        usage = ("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign")
        names = ("-subj", "/CN=etcd", "-addext", f"subjectAltName=IP:{address}", *usage)
        fresh = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert))
        subprocess.run([*fresh, *names], check=True, capture_output=True)
        self._tls = ssl.create_default_context(cafile=str(cert))
        self.settings: dict[str, Any] = {"type": "etcd", "endpoints": [url], "ca_cert": str(cert), "username": USER, "password": PASSWORD}
        argv = ["etcd", "--name", "m0", "--data-dir", str(folder / "m0"), "--log-level", "warn", "--logger", "zap"]
        argv += ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        argv += ["--initial-cluster", f"m0={peer}", "--heartbeat-interval", "50", "--election-timeout", "500"]
        argv += ["--cert-file", str(cert), "--key-file", str(key)]
        self._server = Server(self._inside.command(argv), folder / "etcd.log")
        until("etcd", self._leads)
        self._add_users()
        self.store = EtcdStore(_Direct(self.call))

    def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A call of the gateway, past the code under test, with all rights."""
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        return dict(json.loads(self._ask("POST", path, json.dumps(body), headers)))

    def calls(self) -> int:
        """How many calls it has had since its start, by its own count."""
        lines = self._ask("GET", "/metrics", None, {}).decode().splitlines()
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("grpc_server_started_total{")))

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> bytes:
        connection = http.client.HTTPConnection(self._address, PORT, timeout=5)
        line = self._inside.socket()
        try:
            line.settimeout(5)
            line.connect((self._address, PORT))
            connection.sock = self._tls.wrap_socket(line, server_hostname=self._address)
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            told = answer.read()
            assert answer.status == 200, told
            return told
        finally:
            connection.close()
            line.close()

    def _leads(self) -> bool:
        try:
            return self.call("/v3/maintenance/status", {}).get("leader") not in (None, "0")
        except OSError:
            return False

    def _add_users(self) -> None:
        leases = {"key": base64.b64encode(b"/holdfast/").decode(), "range_end": base64.b64encode(b"/holdfast0").decode()}
        for path, body in (
            ("user/add", {"name": "root", "password": "r00t"}),
            ("user/add", {"name": USER, "password": PASSWORD}),
            ("role/add", {"name": "root"}),
            ("role/add", {"name": "leases"}),
            ("role/grant", {"name": "leases", "perm": {"permType": "READWRITE", **leases}}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/grant", {"user": USER, "role": "leases"}),
            ("enable", {}),
        ):
            self.call(f"/v3/auth/{path}", body)
        self._token = str(self.call("/v3/auth/authenticate", {"name": "root", "password": "r00t"})["token"])

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> LabEtcd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
