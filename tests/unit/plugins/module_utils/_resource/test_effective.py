# SPDX-License-Identifier: GPL-3.0-or-later
"""What was learned against what the inventory says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Resource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import (
    Fenced,
    State,
    add_backup,
    effective,
    from_json,
    remove_backup,
    since_boot,
    swap_target,
    swapped,
    to_json,
)

WEB = Resource("web", Address.parse("10.1.0.10/32"), "eth0", "eth1")
#: Learned after a swap, under the inventory above.
SWAPPED = State("web", WEB.address, "eth1", "eth0", True, "eth0", "eth1")
ENI = "eni-0123456789abcdef0"


@pytest.mark.parametrize(
    ("inventory", "learned", "expected"),
    [
        (WEB, None, ("eth0", "eth1")),
        (WEB, SWAPPED, ("eth1", "eth0")),
        (None, SWAPPED, ("eth1", "eth0")),
        (replace(WEB, interface="eth5"), SWAPPED, ("eth5", "eth0")),
        (replace(WEB, backup_interface="eth6"), SWAPPED, ("eth1", "eth6")),
        (replace(WEB, backup_interface=None), SWAPPED, ("eth1", None)),
        (replace(WEB, interface="eth1", backup_interface="eth2"), SWAPPED, ("eth1", "eth2")),
        (WEB, replace(SWAPPED, backup_interface=None), ("eth1", None)),  # removed by hand, and that holds
        (
            replace(WEB, interface="eth1", backup_interface="eth0"),
            replace(SWAPPED, inventory_interface="eth9", inventory_backup="eth8"),
            ("eth1", "eth0"),
        ),
        # The inventory's new primary is the learned backup: its own values hold, both of them.
        (replace(WEB, interface="eth2"), replace(SWAPPED, interface="eth1", backup_interface="eth2"), ("eth2", "eth1")),
    ],
)
def test_the_learned_wins_until_the_inventory_changes(inventory: Resource | None, learned: State | None, expected: tuple[str, str | None]) -> None:
    known = effective("web", inventory, learned)
    assert (known.interface, known.backup_interface) == expected
    assert known.interface != known.backup_interface


@pytest.mark.parametrize(
    ("said", "of", "holds"), [(True, "this", True), (True, "another", False), (True, None, True), (False, "another", False), (None, "another", None)]
)
def test_a_restart_of_the_machine_ends_the_service(said: bool | None, of: str | None, holds: bool | None) -> None:
    assert since_boot(effective("web", WEB, replace(SWAPPED, in_service=said, boot=of)), "this") is holds


def test_in_service_holds_for_the_address_it_was_said_of() -> None:
    assert effective("web", WEB, SWAPPED).in_service is True
    moved = effective("web", replace(WEB, address=Address.parse("10.1.0.11/32")), SWAPPED)
    assert moved.in_service is None
    assert moved.address.host == "10.1.0.11"


def test_an_unknown_resource() -> None:
    with pytest.raises(NotFound, match=r"^no resource web: "):
        effective("web", None, None)


def test_the_file_says_what_was_learned() -> None:
    for state in (SWAPPED, replace(SWAPPED, fenced=Fenced(3, (ENI,), ("node-a",)))):
        assert from_json(to_json(state), "web") == state
    for damage in (
        {"version": 2},
        {"version": True},
        {"version": 1.0},
        {"in_service": 1},
        {"in_service": 0},
        {"interface": 5},
        {"tag": 5},
        {"tag": "app"},
        {"in_service": "yes"},
        {"interface": "../x"},
        {"address": "10.1.0.10"},
        {"inventory": None},
        {"fenced": []},
        {"fenced": {"epoch": True, "interfaces": [ENI]}},
        {"fenced": {"epoch": 0, "interfaces": [ENI]}},
        {"fenced": {"epoch": 3, "interfaces": []}},
        {"fenced": {"epoch": 3, "interfaces": ENI}},
        {"fenced": {"epoch": 3, "interfaces": ["eth0"]}},
        {"fenced": {"epoch": 3, "interfaces": [ENI], "nodes": [5]}},
    ):
        with pytest.raises(BadInput):
            from_json({**to_json(SWAPPED), **damage}, "web")
    with pytest.raises(BadInput):
        from_json([], "web")


def test_backup_and_swap() -> None:
    known = effective("web", WEB, None)
    alone = replace(known, backup_interface=None)
    assert add_backup(known, "eth1") == known
    assert add_backup(alone, "eth1") == known
    assert remove_backup(known, "eth1") == alone
    assert remove_backup(alone, "eth1") == alone
    for refused in (lambda: add_backup(known, "eth2"), lambda: add_backup(alone, "eth0"), lambda: remove_backup(known, "eth2")):
        with pytest.raises(Refused):
            refused()
    assert swap_target(known, None) == "eth1"
    assert swap_target(known, "eth0") == "eth0"
    assert swapped(known, "eth0") == known
    assert (swapped(known, "eth1").interface, swapped(known, "eth1").backup_interface) == ("eth1", "eth0")
    with pytest.raises(Refused, match="no backup"):
        swap_target(alone, None)
    with pytest.raises(Refused, match="neither"):
        swap_target(known, "eth7")
