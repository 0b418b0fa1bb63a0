# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of faults: as users write and read them, and what repairs each."""

from __future__ import annotations

import json

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_is_written_and_read_by_its_value(fault: Fault) -> None:
    assert json.loads(json.dumps([fault])) == [fault.value]
    assert f"{fault}" == str(fault) == ", ".join([fault]) == fault.value
    assert Fault(fault.value) is fault
    assert fault.value in {fault}, "a name that came over a socket is found among faults"


def test_no_fault_has_two_repairs() -> None:
    kernel, ec2 = {fault for fault in Fault if fault.in_kernel}, {fault for fault in Fault if fault.on_ec2}
    assert kernel == {"address", "link", "source_route", "elastic_ip_source_route"}
    assert ec2 == {"routes", "source_dest_check", "elastic_ip"}
