# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ip_address: their specification and their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, parse_gateway, parse_label, shown
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired

ADDRESS_OPTIONS: dict[str, dict[str, Any]] = {
    "address": {"type": "str", "required": True},
    "interface": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "valid_lft": {"type": "str", "default": "forever"},
    "check_unique": {"type": "bool", "default": True},
    "bring_up": {"type": "bool", "default": True},
    "announce": {"type": "int", "default": 3},
    "source_route": {"type": "str", "choices": ["auto", "none"], "default": "auto"},
    "gateway": {"type": "str"},
    "label": {"type": "str"},
}
#: The kernel's word for "for ever" is 2**32 - 1.
_LONGEST_LIFETIME = 2**32 - 2
_MOST_ANNOUNCEMENTS = 100


def parse_desired(params: Mapping[str, Any]) -> Desired:
    """What is wanted, from the module's options. Raises `BadInput` naming the option."""
    address = Address.parse(params["address"])
    if not 0 <= params["announce"] <= _MOST_ANNOUNCEMENTS:
        raise BadInput(f"announce: {params['announce']} is out of range; give 0 to {_MOST_ANNOUNCEMENTS}", path="announce")
    interface = given_link(params["interface"])
    return Desired(
        address=address,
        interface=interface,
        present=params["state"] == "present",
        valid_lft=_parse_lifetime(params["valid_lft"]),
        check_unique=params["check_unique"],
        bring_up=params["bring_up"],
        announce=params["announce"],
        source_route=params["source_route"] == "auto",
        gateway=parse_gateway(params["gateway"], address),
        label=None if params["label"] is None else parse_label(params["label"], address, [interface]),
    )


def _parse_lifetime(text: str) -> int | None:
    if text == "forever":
        return None
    if len(text) <= 10 and text.isascii() and text.isdigit() and 1 <= int(text) <= _LONGEST_LIFETIME:
        return int(text)
    raise BadInput(f"valid_lft: {shown(text)} is no lifetime; give a number of seconds, at least 1, or forever", path="valid_lft")
