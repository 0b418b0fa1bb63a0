# SPDX-License-Identifier: GPL-3.0-or-later
"""Who manages a link, by files as systemd-networkd and NetworkManager write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._net.managers import managers

NETWORKD = "# This is private data. Do not parse.\nADMIN_STATE={}\nOPER_STATE=routable\nCARRIER_STATE=carrier\n"
NM = "[device]\nmanaged={}\nconnection-uuid=8f1b0a5e-1111-4222-8333-000000000001\nroute-metric-default-aspired=100\n"


@pytest.mark.parametrize(
    ("networkd", "nm", "expected"),
    [
        (None, None, ()),
        ("configured", None, ("systemd-networkd",)),
        ("configuring", "false", ("systemd-networkd",)),
        ("unmanaged", "true", ("NetworkManager",)),
        ("unmanaged", "false", ()),
        ("linger", None, ()),
        ("configured", "true", ("systemd-networkd", "NetworkManager")),
    ],
)
def test_who_manages_a_link(tmp_path: Path, networkd: str | None, nm: str | None, expected: tuple[str, ...]) -> None:
    for folder, text, state in (("systemd/netif/links", NETWORKD, networkd), ("NetworkManager/devices", NM, nm)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "12").write_text(text.format("configured" if "links" in folder else "true"))  # another link
        if state is not None:
            (tmp_path / folder / "2").write_text(text.format(state))
    assert managers(2, tmp_path) == expected


def test_what_cannot_be_read_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "systemd/netif/links/2").mkdir(parents=True)
    assert managers(2, tmp_path) == ()
