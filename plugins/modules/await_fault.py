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
  - Where this node holds the lease and serves, and either only things of EC2 are broken, or the address has just come here and the VPC has to
    follow, that is repaired within this task, before anything else is looked at, as M(holdfast.ha.ec2_resource) does it.
    What does not come about is left to the tasks after it.
  - Other resources of this node that wait for their recovery, and for which the same holds, are led at the same time.
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
  aws:
    description:
      - The AWS options that all resources share, as in C(holdfast_aws).
    type: dict
    default: {}
seealso:
  - module: holdfast.ha.ec2_resource
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Wait for the order of the checker that started this run in advance
  holdfast.ha.await_fault:
    socket: "{{ holdfast_armed_socket }}"
    aws: "{{ holdfast_aws | default({}) }}"
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
  description: The link that this was led to; empty where there was nothing to do at once.
  returned: success
  type: str
  sample: eth0
led:
  description: What M(holdfast.ha.ec2_resource) answered, with C(msg) where something did not come about; empty where there was nothing to do at once.
  returned: success
  type: dict
  sample:
    changed: true
source_route:
  description:
    - The address and the interface for M(holdfast.ha.ip_source_route), so that replies from behind the Elastic IP use its interface.
    - Empty if there is none, or if they use it already.
  returned: success
  type: dict
  sample: {"address": "10.0.1.11", "interface": "eth0"}
others:
  description: What M(holdfast.ha.ec2_resource) answered for other resources that were led at the same time, by tag.
  returned: success
  type: dict
  sample: {}
did:
  description: What was done, as the checker's events tell it.
  returned: when something was changed
  type: str
  sample: Let route table entries and Elastic IP lead here
"""
