# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a claim to an address on the wire, and what an announcement looks like."""

from __future__ import annotations

import socket
import struct

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._net.frames import advertisement, arp_frame, claims

MINE, THEIRS = b"\x02" + b"\0" * 5, b"\x02" + b"\x01" * 5
IP, OTHER, NONE = socket.inet_aton("10.1.0.10"), socket.inet_aton("10.1.0.11"), b"\0" * 4


def reply(sender_ip: bytes, target_ip: bytes) -> bytes:
    frame = bytearray(arp_frame(THEIRS, sender_ip, target_ip))
    frame[20:22] = struct.pack("!H", 2)
    return bytes(frame)


@pytest.mark.parametrize(
    ("frame", "claimant"),
    [
        (reply(IP, NONE), THEIRS),
        (arp_frame(THEIRS, IP, OTHER), THEIRS),  # it uses the address to ask for another
        (arp_frame(THEIRS, IP, IP), THEIRS),  # it announces it
        (arp_frame(THEIRS, NONE, IP), THEIRS),  # it is probing too (RFC 5227 section 2.1.1)
        (arp_frame(THEIRS, OTHER, IP), None),  # a neighbour that only asks for it
        (reply(OTHER, IP), None),
        (reply(NONE, IP), None),
        (arp_frame(THEIRS, IP, IP)[:30], None),
        (b"", None),
        (arp_frame(THEIRS, IP, IP).replace(b"\x08\x06", b"\x08\x00", 1), None),
    ],
)
def test_claims(frame: bytes, claimant: bytes | None) -> None:
    assert claims(frame, IP) == claimant


def test_an_announcement_has_the_address_on_both_sides() -> None:
    frame = arp_frame(MINE, IP, IP)
    assert frame[:6] == b"\xff" * 6
    assert frame[6:12] == MINE
    assert frame[28:32] == IP
    assert frame[38:42] == IP
    assert len(frame) == 42


@pytest.mark.parametrize(("router", "flags"), [(False, 0x20), (True, 0xA0)])
def test_an_advertisement_overrides(router: bool, flags: int) -> None:
    packet = advertisement(b"\xfd" * 16, MINE, router=router)
    assert packet[0] == 136
    assert packet[4] == flags
    assert packet[8:24] == b"\xfd" * 16
    assert packet[24:] == b"\x02\x01" + MINE
