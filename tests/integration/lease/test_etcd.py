# SPDX-License-Identifier: GPL-3.0-or-later
"""The etcd store against a real etcd: TLS, users, members that hang or are gone, what it makes of foreign data."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import Gateway
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import CorruptRecord, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Identity, Intent, State
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreRefused, StoreUnreachable
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.lease.servers import Etcd, LossyWire, free_port, until

FIRST, SECOND = Record("n1", 1, "boot.a.0"), Record("n2", 2, "boot.b.0")


def store(*endpoints: str, timeout: float = 2.0, **more: str) -> EtcdStore:
    return EtcdStore(Gateway(endpoints, timeout=timeout, **more))


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


def put(etcd: Etcd, key: str, value: str) -> None:
    name, content = f"/holdfast/{key}".encode(), value.encode()
    etcd.call("/v3/kv/put", {"key": base64.b64encode(name).decode(), "value": base64.b64encode(content).decode()})


def test_compare_and_swap(etcd: Etcd) -> None:
    one = store(*etcd.endpoints)
    assert one.read("cas/t").record is None
    token = one.write("cas/t", 0, FIRST)
    assert token
    assert one.write("cas/t", 0, SECOND) is None
    assert one.read("cas/t").record == FIRST
    assert one.read("cas/t").token == token
    assert one.write("cas/t", token, SECOND) not in (None, token)
    assert one.write("cas/t", token, FIRST) is None


def test_a_revision_that_comes_again_with_another_value_is_not_taken_for_the_same(etcd: Etcd) -> None:
    """As after a snapshot was restored, which sets the revisions back."""
    one = store(*etcd.endpoints)
    one.write("again/t", 0, FIRST)
    read = one.read("again/t").token
    assert isinstance(read, tuple)
    other = (read[0], base64.b64encode(json.dumps(SECOND.as_dict()).encode()).decode())
    assert one.write("again/t", other, SECOND) is None
    assert one.write("again/t", read, SECOND)


@pytest.mark.parametrize("value", ["", "no json", "[1]", "{}", '{"holder": "n1", "epoch": "7", "nonce": "a", "valid_for": 10}'])
def test_foreign_data_is_left_alone(etcd: Etcd, value: str) -> None:
    put(etcd, "corrupt/t", value)
    with pytest.raises(
        CorruptRecord, match=r"^the lease record /holdfast/corrupt/t in etcd is not one of ours .* \(etcdctl del /holdfast/corrupt/t\)"
    ):
        store(*etcd.endpoints).read("corrupt/t")


def test_an_endpoint_that_is_gone_is_passed_over(etcd: Etcd) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    one = store(gone, *etcd.endpoints)
    token = one.write("gone/t", 0, FIRST)  # never sent to the first, so no doubt about it
    assert token
    assert one.write("gone/t", 0, SECOND) is None
    with pytest.raises(StoreUnreachable, match=r"^etcd cannot be reached: .*Connection refused; check store.endpoints") as caught:
        store(gone).write("gone/t", token, SECOND)
    assert not caught.value.ambiguous


def test_a_lost_reply_leaves_doubt(etcd: Etcd) -> None:
    wire = LossyWire(etcd.endpoints[0], share=1.0)
    try:
        with pytest.raises(StoreUnreachable) as alone:
            store(wire.url).write("lost/t", 0, FIRST)
        assert alone.value.ambiguous
        token = store(*etcd.endpoints).read("lost/t").token
        # sent through the wire it takes effect; sent again past it, it is refused, and that says nothing
        with pytest.raises(StoreUnreachable, match="gave no answer to a write that another one then refused") as both:
            store(wire.url, *etcd.endpoints).write("lost/t", token, SECOND)
        assert both.value.ambiguous
        assert store(*etcd.endpoints).read("lost/t").record == SECOND
    finally:
        wire.stop()


@contextmanager
def member(answer: Callable[[str], tuple[int, dict[str, object]] | None]) -> Iterator[str]:
    """The URL of something in place of a member: ``answer`` is given the last word of the path; ``None`` hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told = answer(self.path.rpartition("/")[2])
            if told is None:
                self.close_connection = True
                return
            body = json.dumps(told[1]).encode()
            self.send_response(told[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_doubt_outlives_what_another_endpoint_refuses() -> None:
    """The first may have written and hangs up; what the second says then is about itself alone."""
    with member(lambda path: None) as silent, member(lambda path: (403, {"code": 7, "message": "permission denied"})) as strict:
        with pytest.raises(StoreRefused, match="denies access") as refused:
            store(silent, strict).write("doubt/t", 0, FIRST)
        assert refused.value.ambiguous
        with pytest.raises(StoreRefused) as alone:
            store(strict).write("doubt/t", 0, FIRST)
        assert not alone.value.ambiguous


def test_doubt_outlives_a_new_token() -> None:
    header = {"cluster_id": "1", "revision": "9"}
    answers = iter([(401, {"code": 16, "message": "invalid auth token"}), (200, {"succeeded": False, "header": header})])
    login: tuple[int, dict[str, object]] = (200, {"token": "t", "header": header})
    with (
        member(lambda path: login if path == "authenticate" else None) as silent,
        member(lambda path: login if path == "authenticate" else next(answers)) as forgetful,
        pytest.raises(StoreUnreachable, match="gave no answer to a write that another one then refused") as caught,
    ):
        store(silent, forgetful, username="holdfast", password="x").write("doubt/t", 0, FIRST)
    assert caught.value.ambiguous
    assert next(answers, None) is None, "the second was not asked again with the new token"


def test_without_a_quorum_a_call_ends_in_time(tmp_path: Path) -> None:
    with Etcd(tmp_path, members=3) as cluster:
        one = store(*cluster.endpoints, timeout=1.0)
        token = one.write("c/t", 0, FIRST)
        leader = cluster.leader()
        assert leader is not None
        others = [member for number, member in enumerate(cluster.members) if number != leader]
        for member in others:
            member.signal(signal.SIGSTOP)
        for call in (lambda: one.read("c/t"), lambda: one.write("c/t", token, SECOND)):
            begin = time.monotonic()
            with pytest.raises(StoreUnreachable, match="no answer in time"):
                call()
            assert time.monotonic() - begin < 1.5


def test_a_holder_outlives_paused_leaders(tmp_path: Path) -> None:
    """The leader stands still for longer than the lease lasts; the holder goes on through the others, in the same epoch."""
    with Etcd(tmp_path, members=3) as cluster:
        state = State(Identity("n1", "boot"), "s", PROFILES["fast"])
        keeper = Keeper(store(*cluster.endpoints, timeout=PROFILES["fast"].call), "c/t", state)
        assert keeper._store.write("c/t", 0, Record("", 4, "seed")) is not None
        keeper.tell(Intent.CLAIM)
        lost: list[object] = []

        def run(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                lost.extend(action for action in keeper.turn() if isinstance(action, Demote))
                time.sleep(0.02)

        run(1)
        for _number in range(2):
            leader = cluster.leader()
            assert leader is not None
            cluster.members[leader].signal(signal.SIGSTOP)
            run(4.5)
            cluster.members[leader].signal(signal.SIGCONT)
            until("a leader", lambda: cluster.leader() is not None)
        assert lost == []
        assert keeper.state.held is not None
        assert keeper.state.held.epoch == 5


# ---- users


def test_users(tmp_path: Path) -> None:
    with Etcd(tmp_path) as server:
        both = {"key": base64.b64encode(b"/holdfast/").decode(), "range_end": base64.b64encode(b"/holdfast0").decode()}
        for path, body in (
            ("user/add", {"name": "root", "password": "r00t"}),
            ("user/add", {"name": "holdfast", "password": "s3cret-word"}),
            ("user/add", {"name": "stranger", "password": "x"}),
            ("role/add", {"name": "root"}),
            ("role/add", {"name": "leases"}),
            ("role/grant", {"name": "leases", "perm": {"permType": "READWRITE", **both}}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/grant", {"user": "holdfast", "role": "leases"}),
            ("enable", {}),
        ):
            server.call(f"/v3/auth/{path}", body)
        right = {"username": "holdfast", "password": "s3cret-word"}
        one = store(*server.endpoints, **right)
        token = one.write("c/t", 0, FIRST)
        assert token
        one.check()
        root = str(server.call("/v3/auth/authenticate", {"name": "root", "password": "r00t"})["token"])
        server.call("/v3/auth/user/changepw", {"name": "holdfast", "password": "s3cret-word"}, token=root)  # etcd forgets the user's tokens
        assert one.write("c/t", token, SECOND)
        with pytest.raises(StoreRefused, match="does not accept the user and password") as wrong:
            store(*server.endpoints, username="holdfast", password="not-the-w0rd").read("c/t")
        assert "not-the-w0rd" not in str(wrong.value)
        for more in ({}, {"username": "stranger", "password": "x"}):
            with pytest.raises(StoreRefused, match="denies access"):
                store(*server.endpoints, **more).read("c/t")


def _answers(server: Etcd, **more: str) -> bool:
    try:
        store(*server.endpoints, **more).check()
    except StoreUnreachable:
        return False
    return True


# ---- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's and a client's certificate, and a second authority that signed nothing."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=folder)

    fresh = ("req", "-newkey", "rsa:2048", "-nodes")
    for name in ("ca", "other"):
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        openssl(*fresh, "-x509", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2", *usage)
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n")
    for name in ("server", "client"):
        openssl(*fresh, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


def test_tls(tmp_path: Path, pki: Path) -> None:
    tls = ["--cert-file", f"{pki}/server.pem", "--key-file", f"{pki}/server.key", "--trusted-ca-file", f"{pki}/ca.pem", "--client-cert-auth"]
    with Etcd(tmp_path, tls=tls) as server:
        mine = {"ca_cert": f"{pki}/ca.pem", "cert": f"{pki}/client.pem", "key": f"{pki}/client.key"}
        until("etcd", lambda: _answers(server, **mine))
        assert store(*server.endpoints, **mine).write("c/t", 0, FIRST)
        with pytest.raises(StoreRefused, match=r"check store\.ca_cert"):
            store(*server.endpoints, **{**mine, "ca_cert": f"{pki}/other.pem"}).read("c/t")
        with pytest.raises(StoreRefused, match=r"check store\.cert and key"):
            until("the refusal", lambda: _tells(store(*server.endpoints, ca_cert=f"{pki}/ca.pem")))
        with pytest.raises(BadInput, match=r"^store.cert: there is no readable file"):
            store(*server.endpoints, **{**mine, "cert": "/nowhere.pem"})
        with pytest.raises(BadInput, match="have to be PEM"):
            store(*server.endpoints, **{**mine, "cert": f"{pki}/san"})


@contextmanager
def listener(pki: Path | None = None) -> Iterator[str]:
    """The URL of a server whose certificate nobody trusts; or of one that hangs up on everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if pki is not None:
        context.load_cert_chain(pki / "other.pem", pki / "other.key")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _address = server.accept()
                except OSError:
                    return
                try:
                    with line, context.wrap_socket(line, server_side=True) if pki is not None else line:
                        pass
                except OSError:
                    continue  # it is refused, as it should be

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_one_bad_tls_endpoint_is_passed_over(tmp_path: Path, pki: Path) -> None:
    tls = ["--cert-file", f"{pki}/server.pem", "--key-file", f"{pki}/server.key"]
    mine = {"ca_cert": f"{pki}/ca.pem"}
    with Etcd(tmp_path, tls=tls) as server, listener(pki) as strange, listener() as curt:
        until("etcd", lambda: _answers(server, **mine))
        for bad in (strange, curt):
            gateway = Gateway([bad, *server.endpoints], timeout=2, **mine)
            token = EtcdStore(gateway).read("c/t").token
            assert EtcdStore(gateway).write("c/t", token, FIRST)
            assert gateway._endpoints == [*server.endpoints, bad], "the one that answered comes first"
        with pytest.raises(StoreRefused, match=r"check store\.ca_cert") as refused:
            store(strange, **mine).read("c/t")
        assert not refused.value.retryable
        with pytest.raises(StoreUnreachable, match=r"etcd cannot be reached: .*TLS with .* failed") as mixed:
            store(strange, curt, **mine).write("c/t", 0, FIRST)
        assert (mixed.value.retryable, mixed.value.ambiguous) == (True, False)


def _tells(unwelcome: EtcdStore) -> bool:
    """With TLS 1.3 the server refuses a client after the handshake, and may hang up before its alert is read: that may pass, so ask again."""
    try:
        unwelcome.read("c/t")
    except StoreUnreachable as error:
        return not error.retryable
    return True
