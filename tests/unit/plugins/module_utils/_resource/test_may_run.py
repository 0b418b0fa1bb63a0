# SPDX-License-Identifier: GPL-3.0-or-later
"""The fact that dependents may run here: across processes and boots, and whatever is in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import converge, preview
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_resource import RegistrationTask
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import since_boot
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

WEB = parse({"tag": "web", "address": "10.1.0.10/32", "interface": "eth0"})


def test_it_outlives_the_process_and_knows_the_boot(tmp_path: Path) -> None:
    folder, boot = tmp_path / "states", tmp_path / "boot_id"
    boot.write_text("0c6d5d9e\n")
    fact = MayRun(folder, "web", boot)
    assert not fact.is_set
    fact.clear()
    fact.set()
    again = MayRun(folder, "web", boot)
    assert (again.is_set, again.is_of_this_boot, MayRun(folder, "db", boot).is_set) == (True, True, False)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    boot.write_text("another\n")
    assert (again.is_set, again.is_of_this_boot) == (True, False)
    again.clear()
    assert not fact.is_set


def test_they_are_stopping_until_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "definitions", tmp_path / "states")
    fact = MayRun(store.states, "web")
    converge(task(store, stopping=True))
    assert not fact.is_set, "none may run, so none is stopping"
    converge(task(store, may_run=True))
    assert (fact.is_set, fact.is_stopping, fact.is_of_this_boot) == (True, False, True)
    assert preview(task(store, stopping=True)).changed
    run = converge(task(store, stopping=True))
    assert (run.changed, fact.is_set, fact.is_stopping, fact.is_of_this_boot) == (True, True, True, True)
    assert not converge(task(store)).changed
    assert fact.is_stopping
    assert converge(task(store, may_run=True)).changed
    assert (fact.is_set, fact.is_stopping) == (True, False)


def test_whatever_is_in_its_place_counts(tmp_path: Path) -> None:
    (tmp_path / "web.may_run").symlink_to(tmp_path / "nothing")
    fact = MayRun(tmp_path, "web")
    assert (fact.is_set, fact.is_of_this_boot) == (True, True)
    with pytest.raises(HoldfastError, match="symbolic link"):
        fact.set()
    (tmp_path / "file").touch()
    with pytest.raises(HoldfastError, match="recording that dependents may run failed"):
        MayRun(tmp_path / "file", "web").set()


def task(store: Store, *, may_run: bool | None = None, stopping: bool = False) -> RegistrationTask:
    return RegistrationTask("web", WEB, "node-a", present=True, in_service=None, store=store, may_run=may_run, stopping=stopping)


def test_the_module_records_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "definitions", tmp_path / "states")
    fact = MayRun(store.states, "web")
    assert converge(task(store)).changed
    for may_run in (True, False):
        assert preview(task(store, may_run=may_run)).changed
        assert fact.is_set is not may_run
        run = converge(task(store, may_run=may_run))
        assert (run.changed, fact.is_set) == (True, may_run)
        assert task(store).result(run)["dependents_may_run"] is may_run
        assert not converge(task(store, may_run=may_run)).changed
        assert not converge(task(store)).changed


def test_what_is_left_from_another_boot_is_set_anew_and_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "definitions", tmp_path)
    converge(task(store))
    path = tmp_path / "web.may_run"
    path.write_text("another\n")
    assert converge(task(store, may_run=True)).changed
    assert MayRun(tmp_path, "web").is_of_this_boot
    path.write_text("another\n")
    assert converge(task(store, may_run=False)).changed
    assert not path.exists()


def test_it_is_recorded_since_which_boot_it_is_in_service(tmp_path: Path) -> None:
    boot = tmp_path / "boot_id"
    store = Store(tmp_path / "definitions", tmp_path / "states", boot)

    def recorded(in_service: bool | None) -> tuple[bool, bool | None]:
        changed = converge(RegistrationTask("web", WEB, "node-a", present=True, in_service=in_service, store=store)).changed
        return changed, since_boot(store.effective("web", WEB), store.boot())

    boot.write_text("this\n")
    assert [recorded(True), recorded(True), recorded(None)] == [(True, True), (False, True), (False, True)]
    boot.write_text("another\n")
    assert [recorded(None), recorded(True), recorded(True)] == [(False, False), (True, True), (False, True)]
