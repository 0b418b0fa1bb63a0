# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping an instance, as values."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_instance import Instance, StopInstance, plan_stop, simulate_stop

OURS, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.mark.parametrize(
    ("state", "acts"), [("pending", True), ("running", True), ("stopping", True), ("shutting-down", True), ("stopped", False), ("terminated", False)]
)
def test_what_is_off_is_left_alone(state: str, acts: bool) -> None:
    instance = Instance("i-01234567", state, (THEIRS,))
    actions = plan_stop(instance, True, {OURS})
    assert actions == ((StopInstance("i-01234567", True),) if acts else ())
    assert plan_stop(simulate_stop(instance, actions), True, {OURS}) == ()


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_node_does_not_stop_itself(state: str) -> None:
    with pytest.raises(Refused, match="does not stop itself"):
        plan_stop(Instance("i-01234567", state, (THEIRS, OURS)), True, {OURS})
