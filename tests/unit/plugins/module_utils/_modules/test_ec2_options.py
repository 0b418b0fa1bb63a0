# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented options of each EC2 module are those that it takes."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.plugins.doc_fragments._aws import ModuleDocFragment as Calls
from ansible_collections.holdfast.ha.plugins.doc_fragments._eni import ModuleDocFragment as Interface
from ansible_collections.holdfast.ha.plugins.doc_fragments._routes import ModuleDocFragment as Routes

_NAMES = ("ec2_route_target", "ec2_source_dest_check", "ec2_eip_association", "ec2_local_eni_info", "ec2_instance_stop", "ec2_resource", "ec2_fence")
_FRAGMENTS = {
    f"holdfast.ha.{name}": yaml.safe_load(one.DOCUMENTATION)["options"] for name, one in (("_aws", Calls), ("_eni", Interface), ("_routes", Routes))
}
_COMPARED = ("type", "elements", "default", "choices", "required", "aliases")


def _seen(module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The argument spec with which the module's main calls `_core/run`."""
    taken: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ("run_change", "run_info"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda _task, **given: taken.update(given))
    module.main()
    return taken["argument_spec"]


def _facts(option: dict[str, Any]) -> dict[str, Any]:
    return {name: option[name] for name in _COMPARED if option.get(name) not in (None, [], False) or (name == "default" and name in option)}


@pytest.mark.parametrize("name", _NAMES)
def test_documentation_and_argument_spec_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"ansible_collections.holdfast.ha.plugins.modules.{name}")
    documentation = yaml.safe_load(module.DOCUMENTATION)
    documented = dict(documentation.get("options", {}))
    for fragment in documentation["extends_documentation_fragment"]:
        documented = {**_FRAGMENTS.get(fragment, {}), **documented}
    spec = _seen(module, monkeypatch)
    assert {option: _facts(facts) for option, facts in spec.items()} == {option: _facts(facts) for option, facts in documented.items()}


def test_secrets_are_never_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ansible_collections.holdfast.ha.plugins.modules.ec2_route_target")
    spec = _seen(module, monkeypatch)
    assert [name for name, facts in spec.items() if facts.get("no_log")] == ["access_key", "secret_key", "session_token", "external_id"]
