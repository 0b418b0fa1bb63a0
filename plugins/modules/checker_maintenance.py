#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have the checker repair nothing for a while."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checker_maintenance
short_description: Have the checker of this host repair nothing for a while
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - A paused resource is watched and reported on, and its lease is renewed where this host holds it. Nothing of it is repaired
    and it is not moved until it is resumed.
  - It says so to the checker of this host, over its socket. That takes the rights of root.
requirements:
  - netaddr (Python library)
extends_documentation_fragment:
  - holdfast.ha._attributes
options:
  tag:
    description: Only this resource. By default all that the checker watches.
    type: str
  state:
    description: V(paused) begins the maintenance, V(resumed) ends it.
    type: str
    choices: [paused, resumed]
    required: true
seealso:
  - module: holdfast.ha.checker_info
"""

EXAMPLES = r"""
- name: Leave web alone while its network is rebuilt
  holdfast.ha.checker_maintenance:
    tag: web
    state: paused

- name: Watch over everything again
  holdfast.ha.checker_maintenance:
    state: resumed
"""

RETURN = r"""
resources:
  description: The resources that were asked for, sorted by tag.
  returned: when the checker could be asked
  type: list
  elements: dict
  contains:
    tag:
      description: The name of the resource.
      type: str
      sample: web
    paused:
      description: Whether it is paused now, or in check mode would be.
      type: bool
      sample: true
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.checker import MaintenanceTask


def main() -> None:
    """Be an Ansible module."""
    run_change(
        lambda host: MaintenanceTask(host.params),
        argument_spec={"tag": {"type": "str"}, "state": {"type": "str", "choices": ["paused", "resumed"], "required": True}},
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
