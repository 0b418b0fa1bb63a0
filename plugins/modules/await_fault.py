#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# The work is done by the action plugin of the same name; this file is its documentation.
"""Wait until the checker hands over a fault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: await_fault
short_description: Wait until the checker of this node hands over a fault
version_added: 0.1.0
description:
  - The checker starts the playbook C(holdfast.ha.recover) in advance, so that Ansible is up already when something breaks.
    Such a run waits in its first task, which is this one, and goes on as soon as the checker has work for it.
  - It is an action plugin, and needs nothing on the target. Only the checker can use it, since it gives the run the socket to wait on.
  - The task fails when the checker ends.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target, if not supported the action will be skipped.
    support: partial
    details: It does not wait.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
options:
  socket:
    description:
      - The number of the descriptor that ansible-playbook has inherited from the checker.
    type: int
    required: true
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Wait for the order of the checker that started this run in advance
  holdfast.ha.await_fault:
    socket: "{{ holdfast_armed_socket }}"
  register: order
  when: holdfast_armed_socket is defined
"""

RETURN = r"""
tag:
  description: The resource to recover.
  returned: success
  type: str
  sample: web
reason:
  description: Why, in one line.
  returned: success
  type: str
  sample: rtb-0123456789abcdef0 leads 10.1.0.10/32 to eni-89abcdef
faults:
  description: What is broken.
  returned: success
  type: list
  elements: str
  sample: [routes]
interface:
  description:
    - The link that the address is on, where this node holds the lease, and either only things of EC2 are broken, or the address has just come
      here and the VPC has to follow; so that these can be repaired before anything else is looked at.
    - Empty otherwise.
  returned: success
  type: str
  sample: eth0
first:
  description: What is to be repaired on EC2 before anything else is looked at; empty with an empty C(interface).
  returned: success
  type: list
  elements: str
  sample: [routes]
"""
