# SPDX-License-Identifier: GPL-3.0-or-later
"""A store whose endpoint has a name: whatever the name server does, the address stays while etcd itself can be reached.

One node without peers, a real etcd, and a name server in its network. A proxy of the environment is not asked for etcd.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from lab.waiting import until

from .small import CLUSTER, TAG, SmallNode
from .small import NAME as NODE
from .small import STORE as BY_ADDRESS

NAME, ETCD = "etcd.example.org", "127.0.0.1"
STORE = {"type": "etcd", "endpoints": [f"http://{NAME}:2379"]}
TTL = PROFILES["fast"].ttl
NOBODY, NOWHERE, WEB_SERVER, OTHER_ETCD = "127.0.0.9", "172.17.106.99", "127.0.0.3", "127.0.0.4"
#: Answers each request with a page, as a web server does that got the address.
_PAGE = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>It works!</html>")
http.server.ThreadingHTTPServer((sys.argv[1], 2379), Page).serve_forever()
"""
_MOUNT = 'printf "nameserver 127.0.0.1\\n" > "$1" && mount --bind "$1" /etc/resolv.conf'


class NameServer:
    """Says that every name has ``address``, ``delay`` seconds after it was asked; with `None` it is silent. Start it from a thread that lasts."""

    def __init__(self, node: SmallNode) -> None:
        self.address, self.asked = ETCD, 0
        self.delay: float | None = 0.0
        self._line = node.namespace.socket(kind=socket.SOCK_DGRAM)
        self._line.bind(("127.0.0.1", 53))
        self._thread = threading.Thread(target=self._serve, name="name server")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, client = self._line.recvfrom(512)
            if not query:
                return
            self.asked += 1
            if self.delay is not None:
                threading.Timer(self.delay, self._reply, (query, client)).start()

    def _reply(self, query: bytes, client: tuple[str, int]) -> None:
        question = query[12 : query.index(b"\0", 12) + 5]
        has_one = question[-4:-2] == b"\0\1"  # IPv4; of other kinds it has none
        head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if has_one else b"\0\0") + bytes(4)
        answer = b"\xc0\x0c\0\1\0\1" + bytes(4) + b"\0\4" + socket.inet_aton(self.address) if has_one else b""
        try:
            self._line.sendto(head + question + answer, client)
        except OSError:
            pass  # it has been stopped

    def stop(self, node: SmallNode) -> None:
        with node.namespace.socket(kind=socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", 53))
        self._thread.join(5)
        self._line.close()


@pytest.fixture(scope="module")
def names(small: SmallNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """The node asks this name server."""
    small.run("sh", "-euc", _MOUNT, "sh", str(tmp_path_factory.mktemp("names") / "resolv.conf"))
    server = NameServer(small)
    try:
        yield server
    finally:
        small.reset(watched=False)
        server.stop(small)
        small.run("umount", "/etc/resolv.conf")


@pytest.fixture
def holder(small: SmallNode, names: NameServer) -> Iterator[Callable[[float], None]]:
    """The node has the address. Call it to assert that it keeps it for so many seconds.

    The kernel cuts the connections to etcd meanwhile, twice in the time of a lease, so that the name is asked for again.
    """

    def stays(seconds: float) -> None:
        assert small.checker is not None
        begun = time.monotonic()
        cuts = 0
        while (lasted := time.monotonic() - begun) < seconds:
            if lasted > cuts * TTL / 2:
                small.run("ss", "--tcp", "--numeric", "--kill", "dport", "=", ":2379")
                cuts += 1
            assert small.places(), small.checker.events[-12:]
            time.sleep(0.05)
        assert not small.checker.seen("lost"), small.checker.events[-12:]

    small.reset(store=STORE, probe={})
    until(lambda: bool(small.places()), 20, "the address is not there")
    yield stays
    names.address, names.delay = ETCD, 0.0


@contextmanager
def strangers(node: SmallNode, folder: Path) -> Iterator[None]:
    """A web server, and an etcd of somebody else."""
    etcd = ["etcd", "--log-level", "error", "--data-dir", str(folder / "other"), "--listen-peer-urls", f"http://{OTHER_ETCD}:2380"]
    etcd += ["--initial-advertise-peer-urls", f"http://{OTHER_ETCD}:2380", "--initial-cluster", f"default=http://{OTHER_ETCD}:2380"]
    etcd += ["--listen-client-urls", f"http://{OTHER_ETCD}:2379", "--advertise-client-urls", f"http://{OTHER_ETCD}:2379"]
    with (folder / "log").open("w") as log, ExitStack() as stack:
        for argv in ([sys.executable, "-c", _PAGE, WEB_SERVER], ["sh", "-c", 'exec "$@" 2>&1', "sh", *etcd]):
            process = node.namespace.spawn(*argv, stdout=log.fileno())
            stack.callback(process.wait)
            stack.callback(process.kill)
        for address in (WEB_SERVER, OTHER_ETCD):
            until(lambda address=address: listens(node, address), 30, f"nobody listens at {address}")
        yield


def listens(node: SmallNode, address: str) -> bool:
    with node.namespace.socket() as probe:
        return probe.connect_ex((address, 2379)) == 0


def test_a_slow_name_server_delays_the_start_and_nothing_else(small: SmallNode, names: NameServer, holder: Callable[[float], None]) -> None:
    assert small.checker is not None
    names.delay = 3.0
    holder(1.5 * TTL)
    small.checker.kill()
    until(lambda: not small.places(), 20, "the address outlives the lease")
    small.checker.start()  # it knows no earlier address
    until(lambda: bool(small.places()), 20, "the address does not come back")
    holder(1.5 * TTL)


def test_a_silent_name_server_ends_nothing(names: NameServer, holder: Callable[[float], None]) -> None:
    names.delay = None
    holder(2 * TTL)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(NOBODY, id="nobody-listens"),
        pytest.param(NOWHERE, id="packets-vanish"),
        pytest.param(WEB_SERVER, id="a-web-server"),
        pytest.param(OTHER_ETCD, id="another-etcd"),
    ],
)
def test_a_wrong_answer_of_the_name_server_ends_nothing(
    small: SmallNode, names: NameServer, holder: Callable[[float], None], tmp_path: Path, address: str
) -> None:
    with strangers(small, tmp_path):
        asked, names.address = names.asked, address
        holder(2 * TTL)
        assert names.asked > asked, "no name was asked for"


def test_a_proxy_of_the_environment_is_not_asked_for_etcd(small: SmallNode) -> None:
    """Neither by the checker nor by a module, as in a shell that has one set."""
    kinds = ("http_proxy", "https_proxy", "all_proxy")
    proxies = {name: "http://127.0.0.1:3128" for kind in kinds for name in (kind, kind.upper())}
    before, small.environment = small.environment, {**small.environment, **proxies}
    try:
        with small.namespace.socket() as proxy:
            proxy.bind(("127.0.0.1", 3128))
            proxy.listen()
            proxy.setblocking(False)
            small.reset(probe={})
            until(lambda: bool(small.places()), 20, "the address is not there")
            found = small.module("lease_info", cluster=CLUSTER, tag=TAG, store=BY_ADDRESS)
            assert found["record"]["holder"] == NODE
            with pytest.raises(BlockingIOError):
                proxy.accept()
    finally:
        small.environment = before
        small.reset(watched=False)
