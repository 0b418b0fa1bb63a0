# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook holdfast.ha.status makes of a checker's status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_table import status_entries

DOCUMENTATION = r"""
name: status_entries
short_description: Make entries for a status table from what a checker says
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Makes one entry for each resource, for P(holdfast.ha.status_table#filter).
options:
  _input:
    description: What M(holdfast.ha.checker_info) returns as RV(holdfast.ha.checker_info#module:status). Null makes no entries.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ask the checker
  holdfast.ha.checker_info:
  register: checker

- name: Show what it says
  ansible.builtin.debug:
    msg: "{{ (checker.status | holdfast.ha.status_entries | holdfast.ha.status_table).splitlines() }}"
"""

RETURN = r"""
_value:
  description: One dictionary for each resource.
  type: list
  elements: dict
"""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"status_entries": status_entries}
