# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind the playbook holdfast.ha.report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.ha.plugins.plugin_utils._report import report_page

DOCUMENTATION = r"""
name: report_page
short_description: Render the state of a cluster as one HTML page
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Makes a page that needs no other file, with the resources, what belongs to them before and after a recovery (interface, address,
    source/destination check, route table entries, Elastic IP), a timeline of who held them, outages and events.
options:
  _input:
    description: One dictionary for each resource and node, as for P(holdfast.ha.status_table#filter).
    type: list
    elements: dict
    required: true
  lines:
    description: Lines of the checkers' event files, of all nodes together.
    type: list
    elements: str
    default: []
  looked:
    description:
      - As the input, with where each address is and what EC2 says, gathered by C(tasks_from=status) of the role
        P(holdfast.ha.local_recovery#role).
    type: list
    elements: dict
    default: []
  cluster:
    description: Name of the cluster, for the title.
    type: str
    default: ""
  now:
    description: The time of the report, in seconds since 1970.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Write the report
  ansible.builtin.copy:
    content: "{{ status | holdfast.ha.report_page(cluster='web-prod', now=now().timestamp()) }}"
    dest: report.html
    mode: "0644"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The page.
  type: str
"""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report_page": report_page}
