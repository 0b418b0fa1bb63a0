# SPDX-License-Identifier: GPL-3.0-or-later
"""The echo request on the wire, and which of the packets that come in belong to it."""

from __future__ import annotations

import random
import socket
import struct
from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._net.echo import Pending, Received, Request, checksum, decode, encode

SOURCE = {4: socket.inet_aton("10.1.0.10"), 6: socket.inet_pton(socket.AF_INET6, "fd00:1::10")}
TARGET = {4: socket.inet_aton("10.1.0.1"), 6: socket.inet_pton(socket.AF_INET6, "fd00:1::1")}
REPLY, REQUEST, UNREACHABLE = {4: 0, 6: 129}, {4: 8, 6: 128}, {4: 3, 6: 1}
COOKIE, OURS, LINK = b"8 bytes.", 0x1234, 3
BOTH = pytest.mark.parametrize("version", [4, 6])


def asked(version: int) -> tuple[Pending, Request]:
    pending = Pending()
    return pending, pending.add(SOURCE[version], LINK, TARGET[version], COOKIE)


def echo(kind: int, sequence: int, *, identifier: int = OURS, cookie: bytes = COOKIE) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + cookie


def in_ip(version: int, message: bytes, source: bytes, to: bytes, *, options: bytes = b"") -> bytes:
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + source + to + message
    size = 20 + len(options)
    return struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(message), 0, 0, 64, 1, 0) + source + to + options + message


def as_read(version: int, message: bytes, options: bytes = b"") -> bytes:
    """A raw socket returns the header of IPv4, and not that of IPv6."""
    return in_ip(4, message, TARGET[4], SOURCE[4], options=options) if version == 4 else message


def matched(version: int, pending: Pending, packet: bytes, *, to: bytes = b"", link: int = LINK) -> Request | None:
    received = decode(version, OURS, packet, to or SOURCE[version], link)
    return pending.match(received) if received is not None else None


def test_a_request_has_a_right_checksum_where_the_kernel_makes_none() -> None:
    _pending, request = asked(4)
    packet = encode(4, OURS, request)
    assert checksum(packet) == 0
    assert packet[:2] + packet[4:] == b"\x08\x00" + struct.pack("!HH", OURS, request.sequence) + COOKIE


def test_the_kernel_makes_the_checksum_of_ipv6() -> None:
    _pending, request = asked(6)
    assert encode(6, OURS, request) == b"\x80\x00\x00\x00" + struct.pack("!HH", OURS, request.sequence) + COOKIE


@BOTH
@pytest.mark.parametrize("options", [b"", b"\x01" * 8])
def test_its_reply(version: int, options: bytes) -> None:
    pending, request = asked(version)
    assert matched(version, pending, as_read(version, echo(REPLY[version], request.sequence), options)) == request


@BOTH
@pytest.mark.parametrize(
    ("change", "arrival"),
    [
        pytest.param({"identifier": OURS + 1}, {}, id="of-another-program"),
        pytest.param({"sequence": 99}, {}, id="to-no-request"),
        pytest.param({"cookie": b"guessed."}, {}, id="made-up"),
        pytest.param({"cookie": COOKIE[:-1]}, {}, id="cut"),
        pytest.param({"cookie": COOKIE + b"!"}, {}, id="longer"),
        pytest.param({"request": True}, {}, id="a-request"),
        pytest.param({}, {"link": LINK + 1}, id="by-another-link"),
        pytest.param({}, {"to": "target"}, id="to-another-address"),
    ],
)
def test_no_reply_to_it(version: int, change: dict[str, object], arrival: dict[str, object]) -> None:
    pending, request = asked(version)
    kind = REQUEST[version] if change.get("request") else REPLY[version]
    identifier, cookie = int(str(change.get("identifier", OURS))), change.get("cookie", COOKIE)
    assert isinstance(cookie, bytes)
    message = echo(kind, int(str(change.get("sequence", request.sequence))), identifier=identifier, cookie=cookie)
    to = TARGET[version] if "to" in arrival else SOURCE[version]
    assert matched(version, pending, as_read(version, message), to=to, link=int(str(arrival.get("link", LINK)))) is None


@BOTH
def test_a_request_that_is_forgotten_has_no_reply(version: int) -> None:
    pending, request = asked(version)
    pending.remove(request)
    pending.remove(request)
    assert matched(version, pending, as_read(version, echo(REPLY[version], request.sequence))) is None


def report(version: int, quoted: bytes, code: int) -> bytes:
    return as_read(version, struct.pack("!BBHI", UNREACHABLE[version], code, 0, 0) + quoted)


@BOTH
@pytest.mark.parametrize(("codes", "told"), [((0, 0), "network"), ((1, 3), "host"), ((13, 1), "prohibits"), ((12, 4), "code")])
@pytest.mark.parametrize("cut", [0, len(COOKIE)])
def test_a_router_reports_an_error(version: int, codes: tuple[int, int], told: str, cut: int) -> None:
    """Routers quote eight bytes of the request or more (RFC 792)."""
    pending, request = asked(version)
    quoted = in_ip(version, encode(version, OURS, request), SOURCE[version], TARGET[version])
    received = decode(version, OURS, report(version, quoted[: len(quoted) - cut], codes[version == 6]), b"any", LINK + 1)
    assert received is not None
    assert told in received.error
    assert pending.match(received) == request


@BOTH
def test_errors_of_others(version: int) -> None:
    pending, request = asked(version)
    message = encode(version, OURS, request)
    for other in (
        in_ip(version, message, SOURCE[version], SOURCE[version]),
        in_ip(version, message, TARGET[version], TARGET[version]),
        in_ip(version, echo(REPLY[version], request.sequence), SOURCE[version], TARGET[version]),
        in_ip(version, echo(REQUEST[version], request.sequence, identifier=OURS + 1), SOURCE[version], TARGET[version]),
        in_ip(version, echo(REQUEST[version], request.sequence, cookie=b"guessed."), SOURCE[version], TARGET[version]),
        in_ip(version, message, SOURCE[version], TARGET[version])[:-9],
        b"",
    ):
        assert matched(version, pending, report(version, other, 0)) is None


@BOTH
def test_bytes_of_any_kind_are_no_reply(version: int) -> None:
    pending, request = asked(version)
    whole = as_read(version, echo(REPLY[version], request.sequence))
    for length in range(len(whole)):
        assert matched(version, pending, whole[:length]) is None
    dice = random.Random(7)
    for _turn in range(2000):
        matched(version, pending, dice.randbytes(dice.randrange(80)))


def test_no_two_requests_that_wait_have_the_same_number() -> None:
    pending = Pending()
    first = pending.add(SOURCE[4], LINK, TARGET[4], COOKIE)
    for _turn in range(70_000):
        pending.remove(pending.add(SOURCE[4], LINK, TARGET[4], COOKIE))
    assert pending.match(Received(first.sequence, COOKIE, SOURCE[4], LINK)) == first


def test_more_requests_than_there_are_numbers() -> None:
    pending = Pending()
    waiting = {pending.add(SOURCE[4], LINK, TARGET[4], COOKIE).sequence for _turn in range(1 << 16)}
    assert len(waiting) == 1 << 16
    with pytest.raises(OSError, match="too many"):
        pending.add(SOURCE[4], LINK, TARGET[4], COOKIE)


def test_a_number_that_is_used_again_is_another_request() -> None:
    pending, request = asked(4)
    pending.remove(replace(request, cookie=b"another."))
    assert pending.match(Received(request.sequence, COOKIE, SOURCE[4], LINK)) == request
