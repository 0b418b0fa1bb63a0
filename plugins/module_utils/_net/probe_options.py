# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a probe, and whom it pings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe, parse_ip, shown

#: Bounds that keep a probe from running for hours or starting a thousand programs.
_MOST_TARGETS, _MOST_TRIES, _LONGEST = 64, 100, 60.0
#: All nodes of a link (RFC 4291 section 2.7.1).
ALL_NODES = "ff02::1"
#: The options that every module with a probe has; documented by the doc fragment of the same name.
PROBE_OPTIONS: dict[str, dict[str, Any]] = {
    "targets": {"type": "list", "elements": "str", "default": []},
    "tries": {"type": "int", "default": 3},
    "timeout": {"type": "float", "default": 1.0},
    "require": {"type": "str", "choices": ["any", "all"], "default": "any"},
}


def parse_probe(params: Mapping[str, Any], address: Address | None, path: str = "") -> Probe:
    """A `Probe` from the options, checked against the address's family. Raises `BadInput` naming the option below ``path``."""
    tries, timeout, targets = int(params["tries"]), float(params["timeout"]), params["targets"] or []
    if not 1 <= tries <= _MOST_TRIES:
        raise BadInput(f"{path}tries: {tries} is out of range; give 1 to {_MOST_TRIES}", path=f"{path}tries")
    if not 0.05 <= timeout <= _LONGEST:
        raise BadInput(f"{path}timeout: {timeout:g} is out of range; give 0.05 to {_LONGEST:g} seconds", path=f"{path}timeout")
    if len(targets) > _MOST_TARGETS:
        raise BadInput(f"{path}targets: {len(targets)} are too many; give at most {_MOST_TARGETS}", path=f"{path}targets")
    hosts = []
    for number, target in enumerate(targets):
        ip = parse_ip(str(target), f"{path}targets/{number}")
        if address is not None and ip.version != address.version:
            raise BadInput(f"{path}targets/{number}: {shown(target)} cannot be pinged from {address.host}; give an IPv{address.version} address")
        hosts.append(str(ip))
    return Probe(tuple(dict.fromkeys(hosts)), tries, timeout, str(params["require"]))


def targets_of(address: Address, probe: Probe) -> tuple[str, ...]:
    """Whom to ping: the targets, else the broadcast address of the network or all nodes of the link. `BadInput` when there is none."""
    if probe.targets:
        return probe.targets
    if address.version == 6:
        return (ALL_NODES,)
    if address.prefixlen >= 31:
        raise BadInput(f"targets: {address} has no broadcast address to ping; set targets, for example to the router of its link", path="targets")
    return (str(address.network.broadcast),)
