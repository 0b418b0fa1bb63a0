# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind the playbook holdfast.ha.status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_table import status_table

DOCUMENTATION = r"""
name: status_table
short_description: Render the status of resources as a table
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Makes one line for each resource and node, and below them one line for each thing that is wrong.
  - The input is made by P(holdfast.ha.status_entries#filter) from what a checker says. Where no checker runs it is gathered by
    C(tasks_from=status) of the role P(holdfast.ha.local_recovery#role). Columns that only a checker could fill are left out where none runs.
options:
  _input:
    description: One dictionary for each resource and node.
    type: list
    elements: dict
    required: true
  width:
    description: How many columns the terminal has. What matters least is left out of a wider table. V(0) for any width.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Show the status of all nodes
  ansible.builtin.debug:
    msg: "{{ (status | holdfast.ha.status_table).splitlines() }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The table, in lines of text.
  type: str
"""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"status_table": status_table}
