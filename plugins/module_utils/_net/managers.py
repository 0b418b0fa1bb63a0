# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs configure a link of this host, by the files that they keep below /run for each link (one open each, no program is asked)."""

from __future__ import annotations

from pathlib import Path

_RUN = Path("/run")
#: By program: its file for the link with an index, and the lines that it has only for links that it configures.
#: systemd.network: sd_network_link_get_setup_state; NetworkManager: nm_config_device_state_write.
_FILES = {
    "systemd-networkd": ("systemd/netif/links", ("ADMIN_STATE=configuring", "ADMIN_STATE=configured", "ADMIN_STATE=failed")),
    "NetworkManager": ("NetworkManager/devices", ("managed=true",)),
}


def managers(index: int, run: Path = _RUN) -> tuple[str, ...]:
    """The names of the programs that manage the link with this index."""
    return tuple(name for name, (folder, lines) in _FILES.items() if not set(lines).isdisjoint(_lines(run / folder / str(index))))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
