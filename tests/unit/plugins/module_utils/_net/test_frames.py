# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a claim to an address on the wire, and what an announcement looks like."""

from __future__ import annotations

import socket
import struct

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._net.frames import advertisement, arp_frame, claims, neighbour_claims, solicitation_frame

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
        (arp_frame(THEIRS, NONE, IP), None),  # whoever tracks devices, or is about to take it as well
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


IP6, OTHER6, NONE6 = bytes.fromhex("fd" + 14 * "00" + "10"), bytes.fromhex("fd" + 14 * "00" + "11"), bytes(16)
SAID = advertisement(IP6, THEIRS, router=False)
ASKED = b"\x87" + SAID[1:24] + b"\x01\x01" + THEIRS


@pytest.mark.parametrize(
    ("message", "source", "hops", "claimant"),
    [
        pytest.param(SAID, OTHER6, 255, THEIRS, id="it-says-so"),
        pytest.param(SAID[:24], OTHER6, 255, bytes(6), id="it-says-so-without-a-mac-address"),
        pytest.param(advertisement(OTHER6, THEIRS, router=False), OTHER6, 255, None, id="of-another-address"),
        pytest.param(SAID, OTHER6, 254, None, id="from-behind-a-router"),
        pytest.param(ASKED, IP6, 255, THEIRS, id="it-asks-from-the-address"),
        pytest.param(ASKED[:24], NONE6, 255, None, id="it-asks-from-no-address"),
        pytest.param(ASKED, OTHER6, 255, None, id="a-neighbour-that-only-asks"),
        pytest.param(SAID[:24] + b"\x02\x00" + bytes(6), OTHER6, 255, bytes(6), id="an-option-without-length"),
        pytest.param(SAID[:23], OTHER6, 255, None, id="too-short"),
        pytest.param(b"", OTHER6, 255, None, id="empty"),
    ],
)
def test_neighbour_claims(message: bytes, source: bytes, hops: int, claimant: bytes | None) -> None:
    assert neighbour_claims(message, source, hops, IP6) == claimant


def test_a_solicitation_goes_to_the_group_of_the_address_with_a_right_checksum() -> None:
    frame = solicitation_frame(MINE, IP6)
    assert frame[:6] == bytes.fromhex("3333ff000010")
    header, message = frame[14:54], frame[54:]
    assert (header[7], header[8:24], message[8:24]) == (255, bytes(16), IP6)
    total = sum(struct.unpack("!36H", header[8:40] + struct.pack("!II", len(message), 58) + message + bytes(8)))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
