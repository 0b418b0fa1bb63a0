# SPDX-License-Identifier: GPL-3.0-or-later
"""What is an address, a name, a tag; and how it is told to people."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core import errors
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed, checked
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, CommandFailed, HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Address,
    parse_ip,
    parse_link_name,
    parse_network,
    parse_tag,
    shown,
    text_table,
)

HUGE = "9" * 1_000_000


@pytest.mark.parametrize(
    ("text", "canonical", "netmask", "hexadecimal", "network"),
    [
        ("10.1.0.10/32", "10.1.0.10/32", "255.255.255.255", "ffffffff", "10.1.0.10/32"),
        ("172.17.106.10/22", "172.17.106.10/22", "255.255.252.0", "fffffc00", "172.17.104.0/22"),
        ("10.0.0.0/31", "10.0.0.0/31", "255.255.255.254", "fffffffe", "10.0.0.0/31"),
        ("10.1.0.10/8", "10.1.0.10/8", "255.0.0.0", "ff000000", "10.0.0.0/8"),
        ("2001:db8::1/32", "2001:db8::1/32", "32", "32", "2001:db8::/32"),
        ("FD00:0:0::0010/64", "fd00::10/64", "64", "64", "fd00::/64"),
    ],
)
def test_addresses(text: str, canonical: str, netmask: str, hexadecimal: str, network: str) -> None:
    address = Address.parse(text)
    assert (str(address), address.netmask, address.netmask_hex, str(address.network)) == (canonical, netmask, hexadecimal, network)
    assert str(address.host_network).startswith(address.host)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1.0.10",
        "10.1.0.10/",
        "10.1.0.10/33",
        "10.1.0.10/-1",
        "10.1.0.10/+8",
        "10.1.0.10/٣",
        "10.1/16",
        "010.1.0.1/24",
        "0x0a.1.0.1/24",
        "1/8",
        "10.1.0.0/24",
        "10.1.0.255/24",
        "0.0.0.0/0",
        "127.0.0.1/8",
        "224.0.0.1/4",
        "255.255.255.255/32",
        "192.168.1.100/2",
        "10.1.0.10/7",
        "10.1.0.10/0",
        "0.1.2.3/32",
        "169.254.169.254/32",
        "169.254.1.1/16",
        "fe80::1/64",
        "::ffff:1.2.3.4/128",
        "::1.2.3.4/128",
        "2001:db8::1/0",
        "2001:db8::1/31",
        "::/0",
        "::1/128",
        "ff02::1/128",
        "fd00::1%eth0/64",
        "fd00::1/129",
        "10.1.0.10/24\n",
        " 10.1.0.10/24",
        "10.1.0.10/24/24",
        "host/24",
        HUGE,
        HUGE + "/24",
        "10.1.0.10/" + HUGE,
    ],
)
def test_no_addresses(text: str) -> None:
    """None is the address of a service; the refusal is one line that names the option."""
    with pytest.raises(BadInput) as refused:
        Address.parse(text)
    assert refused.value.message.startswith("address: ")
    assert len(refused.value.message) < 250
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (
            parse_link_name,
            ["eth0", "ens5.100", "br-lan", "wg0", "bond0", "x" * 127],
            ["", ".", "..", "../x", "a/b", "eth0;id", "$(reboot)", "a b", "-x", "x" * 128, "eth0\n", "eth0:1"],
        ),
        (
            parse_tag,
            ["web", "a", "9-x", "w" * 40, "ip-172.17.106.10"],
            ["", "Web", "-x", ".x", "w" * 41, "../x", "..", "a/b", "a_b", "web\n", "wéb", HUGE],
        ),
        (lambda text: parse_ip(text, "at"), ["10.0.1.1", "fd00::1"], ["", "10.0.1", "10.0.1.1/32", "fe80::1%eth0", "name", HUGE]),
        (lambda text: parse_network(text, "at"), ["10.0.0.0/8", "::/0", "fd00::/8"], ["10.0.0.1/8", "10.0.0.0", "x/8", HUGE]),
    ],
)
def test_names(parse: Callable[[str], object], good: list[str], bad: list[str]) -> None:
    for text in good:
        parse(text)
    for text in bad:
        with pytest.raises(BadInput) as refused:
            parse(text)
        assert len(refused.value.message) < 300


def test_a_network_with_host_bits_gets_both_suggestions() -> None:
    with pytest.raises(BadInput, match=r"did you mean 10\.0\.0\.0/8 or 10\.1\.0\.10/32"):
        parse_network("10.1.0.10/8", "destinations/0")


def test_what_is_quoted_is_short_and_on_one_line() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown(HUGE)) < 70


def test_tables() -> None:
    assert text_table(("a", "long"), [("xyz", 1), ("", "")]) == "a    long\nxyz  1\n\n"


def test_errors_are_one_line_with_details() -> None:
    error = HoldfastError("two\n  lines", interface="eth0", returns={"before": 1})
    assert error.message == "two lines"
    assert error.as_dict() == {"kind": "error", "transient": False, "denied": False, "interface": "eth0"}
    assert error.returns == {"before": 1}


def test_each_error_has_a_kind_of_its_own() -> None:
    """Roles decide by it, and a checker and a command of different versions exchange it."""
    kinds = {one.kind for one in vars(errors).values() if isinstance(one, type) and issubclass(one, HoldfastError)}
    assert kinds == {
        "error",
        "bad_input",
        "missing_library",
        "not_found",
        "partly_missing",
        "refused",
        "command_failed",
        "missing_program",
        "probe_failed",
        "not_converged",
        "service_error",
    }


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (Completed(2, "", "first\nRTNETLINK answers: File exists\n"), "`ip link` failed: RTNETLINK answers: File exists"),
        (Completed(1, "on stdout", ""), "`ip link` failed: on stdout"),
        (Completed(7, "", ""), "`ip link` failed: exit code 7"),
    ],
)
def test_a_program_that_fails(done: Completed, told: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        checked(lambda argv: done, ["ip", "link"])
    assert failed.value.message == told
    assert failed.value.details["rc"] == done.rc
    assert checked(lambda argv: Completed(0, "out", ""), ["ip"]) == "out"
