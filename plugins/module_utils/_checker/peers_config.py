# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the channel between the checkers of a cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._checker.fields import Fields
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._model import parse_ip

_PORT, _KEY_FILE = 7447, "/etc/holdfast/peer.key"


@dataclass(frozen=True)
class PeerSettings:
    """How the nodes reach one another. ``addresses``: one for each node, this one among them."""

    addresses: Mapping[str, str]
    port: int = _PORT
    key_file: str = _KEY_FILE
    failsafe: bool = True


def parse_peers(raw: object, path: str, node: str) -> PeerSettings | None:
    """The mapping ``peers``; ``None`` where it is not given. Raises `BadInput` naming ``path``."""
    if raw is None:
        return None
    given = Fields(raw, path, ("port", "key_file", "addresses", "failsafe"))
    addresses = given.raw("addresses")
    if not isinstance(addresses, Mapping) or node not in addresses:
        raise given.wrong("addresses", f"this has to be a mapping of every node to its address, {node} among them")
    parsed = {parse_node(str(name), path): str(parse_ip(str(text), f"{path}.addresses.{name}")) for name, text in addresses.items()}
    if len(set(parsed.values())) != len(parsed):
        raise BadInput(f"{path}.addresses: two nodes have the same address", path=path)
    port = int(given.number("port", _PORT, 1, 65535))
    return PeerSettings(parsed, port, given.file("key_file", _KEY_FILE) or _KEY_FILE, given.flag("failsafe", True))
