# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the channel between the checkers of a cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config_reader import Fields
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_ip
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_node

_PORT, _KEY_FILE = 7447, "/etc/holdfast/peer.key"
#: Bytes; a shorter key could be guessed.
SHORTEST_KEY = 32


@dataclass(frozen=True)
class PeerSettings:
    """How the nodes reach one another.

    :param addresses: One for each node, this one among them.
    :param key_file: The key that all nodes share. It is read later.
    :param failsafe: A holder that has lost the store may go on while all others acknowledge it. Each of them has to watch the resource too.
    """

    addresses: Mapping[str, str]
    port: int = _PORT
    key_file: str = _KEY_FILE
    failsafe: bool = True

    def own(self, node: str) -> tuple[str, int]:
        """Where that node listens: its address, and the UDP port."""
        return self.addresses[node], self.port


def parse_peers(raw: object, path: str, node: str) -> PeerSettings | None:
    """The mapping ``peers``; ``None`` where it is not given. Raises `BadInput` naming ``path``."""
    if raw is None:
        return None
    given = Fields(raw, path, ("port", "key_file", "addresses", "failsafe"))
    addresses = given.raw("addresses")
    if not isinstance(addresses, Mapping) or node not in addresses:
        raise given.wrong("addresses", f"this has to be a mapping of every node to its address, {node} among them")
    places = {parse_node(str(name), path): parse_ip(str(text), f"{path}.addresses.{name}") for name, text in addresses.items()}
    if len({place.version for place in places.values()}) > 1:
        raise BadInput(f"{path}.addresses: some are IPv4 and some IPv6; use one family for all nodes", path=path)
    parsed = {name: str(place) for name, place in places.items()}
    if len(set(parsed.values())) != len(parsed):
        raise BadInput(f"{path}.addresses: two nodes have the same address", path=path)
    port = given.number("port", _PORT, 1, 65535)
    if port != int(port):
        raise given.wrong("port", "this has to be a whole number")
    return PeerSettings(parsed, int(port), given.file("key_file", _KEY_FILE) or _KEY_FILE, given.flag("failsafe", True))
