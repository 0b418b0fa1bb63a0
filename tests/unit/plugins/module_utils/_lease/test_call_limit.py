# SPDX-License-Identifier: GPL-3.0-or-later
"""A call of a store ends within its limit, whatever a name server or a server does. Real HTTP on loopback, and a name server that the test words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreRefused, StoreUnreachable, parse_store
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.fake_etcd import HEADER, FakeEtcd

NAME = "etcd-1.example.org"
#: Seconds for one call, and what a busy machine may add.
LIMIT, MARGIN = 0.6, 1.5


class NameServer:
    """Answers for `NAME` with ``addresses``. ``answers`` is cleared to make it silent; then a lookup hangs until it is set again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[tuple[str, int]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.refuses = False
        self.asked = 0
        real = socket.getaddrinfo

        def getaddrinfo(host: str, port: int, *more: Any, flags: int = 0, **named: Any) -> list[Any]:
            if host != NAME or flags & socket.AI_NUMERICHOST:
                return list(real(host, port, *more, flags=flags, **named))
            self.asked += 1
            self.answers.wait(10)
            if self.refuses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer(monkeypatch)
    yield server
    server.answers.set()


@pytest.fixture
def etcd() -> Iterator[FakeEtcd]:
    with running() as made:
        yield made


@contextmanager
def running() -> Iterator[FakeEtcd]:
    with FakeEtcd() as made:
        made.answer("range", {"header": HEADER})
        made.answer("status", {"header": HEADER})
        yield made


def place(etcd: FakeEtcd) -> tuple[str, int]:
    return "127.0.0.1", int(etcd.url.rpartition(":")[2])


def store(*endpoints: str) -> EtcdStore:
    return EtcdStore.connect(parse_store({"type": "etcd", "endpoints": list(endpoints)}), LIMIT)


@contextmanager
def within_limit() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < LIMIT + MARGIN


def test_a_silent_name_server_ends_the_call_in_time(names: NameServer) -> None:
    names.answers.clear()
    one = store(f"http://{NAME}:2379")
    for _time in range(3):
        with within_limit(), pytest.raises(StoreUnreachable, match=rf"no name server answers for {NAME}") as caught:
            one.read("c/t")
        assert not caught.value.ambiguous
    assert names.asked == 1  # no lookups pile up


def test_a_silent_name_server_leaves_time_for_the_next_endpoint(names: NameServer, etcd: FakeEtcd) -> None:
    names.answers.clear()
    with within_limit():
        assert store(f"http://{NAME}:2379", etcd.url).read("c/t").record is None


@pytest.mark.parametrize("trouble", ["silent", "refuses"])
def test_the_last_known_address_is_used_without_a_name_server(names: NameServer, etcd: FakeEtcd, trouble: str) -> None:
    names.addresses = [place(etcd)]
    one = store(f"http://{NAME}:2379")
    one.read("c/t")
    names.refuses = trouble == "refuses"
    if trouble == "silent":
        names.answers.clear()
    for _time in range(3):
        with within_limit():
            assert one.read("c/t").record is None
    assert etcd.asked.count("range") == 4


def test_a_new_address_is_used_once_the_name_server_answers(names: NameServer, etcd: FakeEtcd) -> None:
    names.addresses = [place(etcd)]
    one = store(f"http://{NAME}:2379")
    one.read("c/t")
    names.answers.clear()
    one.read("c/t")
    with running() as moved:
        names.addresses = [place(moved)]
        names.answers.set()
        end = time.monotonic() + 5
        while not moved.asked and time.monotonic() < end:
            one.read("c/t")
        assert moved.asked, "the new address is not used"


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        pytest.param(200, "<html>", id="a-web-server"),
        pytest.param(200, {"header": {**HEADER, "cluster_id": "5"}}, id="another-etcd"),
        pytest.param(403, {"code": 7, "message": "etcdserver: permission denied"}, id="an-etcd-with-other-users"),
    ],
)
def test_a_wrong_address_costs_one_call(names: NameServer, etcd: FakeEtcd, status: int, reply: object) -> None:
    names.addresses = [place(etcd)]
    one = store(f"http://{NAME}:2379")
    one.read("c/t")
    with running() as wrong:
        wrong.answer("range", reply, status)
        names.addresses = [place(wrong)]
        failed = 0
        for _time in range(8):
            try:
                one.read("c/t")
            except (StoreUnreachable, StoreRefused):
                failed += 1
        assert (failed, wrong.asked.count("range")) == (1, 1)


def test_an_address_that_has_failed_is_used_again_once_the_last_known_one_fails(names: NameServer) -> None:
    with running() as old, running() as moved:
        names.addresses = [place(old)]
        one = store(f"http://{NAME}:2379")
        one.read("c/t")
        moved.answer("range", "it starts", 503)
        names.addresses = [place(moved)]
        with pytest.raises(StoreUnreachable):
            one.read("c/t")
        assert one.read("c/t").record is None  # from the old one
        old.answer("range", "it has ended", 503)
        moved.answer("range", {"header": HEADER})
        with pytest.raises(StoreUnreachable):
            one.read("c/t")
        assert one.read("c/t").record is None


def test_an_address_that_is_silent_leaves_time_for_the_next_one(names: NameServer, etcd: FakeEtcd) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # nobody accepts them: the kernel drops the next one
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        names.addresses = [full.getsockname(), place(etcd)]
        with within_limit():
            assert store(f"http://{NAME}:2379").read("c/t").record is None


@pytest.mark.parametrize(
    ("scheme", "begin", "drop"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        ("http", b"HTTP/1.0 200 OK\r\n\r\n", b" "),
        ("https", b"\x16\x03\x03\x40\x00", b"\x00"),
    ],
    ids=["header", "body", "TLS"],
)
def test_a_reply_in_drops_is_cut(scheme: str, begin: bytes, drop: bytes) -> None:
    with in_drops(begin, drop) as port, within_limit(), pytest.raises(StoreUnreachable, match="no answer in time"):
        store(f"{scheme}://127.0.0.1:{port}").read("c/t")


@contextmanager
def in_drops(begin: bytes, drop: bytes) -> Iterator[int]:
    """A port where one request is answered with ``begin``, and then with a drop every 0.1 s, 50 times, unless it is cut."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _peer = server.accept()
            with line:
                try:
                    line.sendall(begin)
                    for _drop in range(50):
                        time.sleep(0.1)
                        line.sendall(drop)
                except OSError:
                    return  # it was cut

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(6)


# --- DynamoDB ---------------------------------------------------------------------------------------------------------


def table(host: str, port: int) -> DynamoDbStore:
    keys = {"access_key": "key", "secret_key": "secret", "region": "eu-central-1"}
    return DynamoDbStore.connect(parse_store({"type": "dynamodb", "table": "leases", "endpoint_url": f"http://{host}:{port}", **keys}), LIMIT, {})


@contextmanager
def empty_table() -> Iterator[int]:
    """A port where DynamoDB answers that it has no such record, and takes each one."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


def test_dynamodb_ends_in_time_without_a_name_server(names: NameServer) -> None:
    with empty_table() as port:
        names.addresses = [("127.0.0.1", port)]
        names.answers.clear()
        one = table(NAME, port)
        for number in range(3):
            with within_limit(), pytest.raises(StoreUnreachable) as caught:
                one.write("c/t", None, Record("n1", 1, "boot.a.0"))
            assert caught.value.ambiguous is (number == 0), "only the first one is on its way"
        assert names.asked == 1  # no calls pile up
        names.answers.set()
        assert one.read("c/t").record is None


def test_dynamodb_ends_in_time_if_the_reply_comes_in_drops() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 1000\r\n\r\n"
    with in_drops(head, b" ") as port:
        begun = time.monotonic()
        with within_limit(), pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1 did not answer within 0\.6 s, or its name was not resolved"):
            table("127.0.0.1", port).read("c/t")
        assert time.monotonic() - begun > LIMIT * 0.9


def test_calls_of_another_lease_go_on_while_one_hangs(names: NameServer) -> None:
    with empty_table() as port:
        names.addresses = [("127.0.0.1", port)]
        names.answers.clear()
        one = table(NAME, port)
        with pytest.raises(StoreUnreachable):
            one.read("c/t")
        late = names.answers
        names.answers = threading.Event()
        names.answers.set()
        with within_limit():
            assert one.read("c/other").record is None
        late.set()
