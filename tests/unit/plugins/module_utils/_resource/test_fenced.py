# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence of the old holder in the state file: for how long it is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import converge
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_resource import RegistrationTask
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import Fenced, learn, parse_fenced
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

WEB = parse({"tag": "web", "address": "10.1.0.10/32", "interface": "eth0", "backup_interface": "eth1"})
FIRST, SECOND = Fenced(3, ("eni-0000000000000000a",), ("node-a",)), Fenced(5, ("eni-0000000000000000c",))


def test_it_lasts_until_another_one_or_the_end_of_the_service(tmp_path: Path) -> None:
    store = Store(tmp_path / "definitions", tmp_path / "states")

    def recorded(in_service: bool | None = None, fenced: Fenced | None = None) -> tuple[bool, Fenced | None]:
        changed = converge(RegistrationTask("web", WEB, "node-b", present=True, in_service=in_service, fenced=fenced, store=store)).changed
        state = store.state("web")
        assert state is not None
        return changed, state.fenced

    assert [recorded(), recorded(fenced=FIRST), recorded(fenced=FIRST)] == [(True, None), (True, FIRST), (False, FIRST)]
    assert [recorded(in_service=True), recorded()] == [(True, FIRST), (False, FIRST)]
    store.save(learn(store.effective("web", WEB), interface="eth1", backup_interface="eth0"))
    assert recorded() == (False, FIRST), "a move to the backup interface ends no fence"
    assert recorded(fenced=SECOND) == (True, SECOND)
    assert recorded(in_service=False) == (True, None)


def test_what_is_no_fence_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"^fenced\.interfaces: this has to be a list of network interface ids"):
        parse_fenced({"epoch": 3, "interfaces": ["eth0"], "nodes": []})
