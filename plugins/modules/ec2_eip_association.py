#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Associate an Elastic IP with a network interface."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_eip_association
short_description: Associate an Elastic IP with a private address of an EC2 network interface
version_added: 0.1.0
description:
  - Associates an Elastic IP that exists with a private address of a network interface, taking it from where it is in one call,
    or ends that association.
  - Nothing is written if it is as wished already, since repeating an association can cost money.
    After writing, it is read again until it shows.
  - Another Elastic IP on that private address is never pushed off,
    and an association with another network interface is never ended by O(state=absent).
  - Elastic IPs are neither allocated nor released.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._eni
  - holdfast.ha._aws
options:
  public_ip:
    description: The Elastic IP. Exactly one of this and O(allocation_id) is needed.
    type: str
  allocation_id:
    description: The allocation id of the Elastic IP.
    type: str
  private_ip_address:
    description:
      - The private IPv4 address of the network interface with which it should be associated.
      - Without it, the primary private address; with O(state=absent), whichever it is associated with.
    type: str
  state:
    description:
      - V(present) associates it.
      - V(absent) ends its association with this network interface; one with another network interface stays.
    type: str
    choices: [present, absent]
    default: present
  allow_reassociation:
    description: Whether it may be taken from a private address with which it is associated now.
    type: bool
    default: true
seealso:
  - module: holdfast.ha.ec2_route_target
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Associate an Elastic IP with this host's primary network interface
  holdfast.ha.ec2_eip_association:
    public_ip: 203.0.113.5

- name: Associate it with a secondary private address of the network interface behind eth1, unless it is in use elsewhere
  holdfast.ha.ec2_eip_association:
    allocation_id: eipalloc-0123456789abcdef0
    interface: eth1
    private_ip_address: 10.0.1.20
    allow_reassociation: false

- name: Let go of it
  holdfast.ha.ec2_eip_association:
    public_ip: 203.0.113.5
    state: absent
"""

RETURN = r"""
association_id:
  description: The id of the association that the Elastic IP has now, or V(null). In check mode the id of a new one is not known.
  returned: when the Elastic IP could be read
  type: str
  sample: eipassoc-0123456789abcdef0
before:
  description: What it was associated with, or V(null).
  returned: when the Elastic IP could be read
  type: dict
  contains: &association
    network_interface_id:
      description: The id of the network interface.
      type: str
    private_ip_address:
      description: The private address.
      type: str
    association_id:
      description: The id of the association; V(null) for one that is only foreseen.
      type: str
after:
  description: What it is associated with now, or would be in check mode, or V(null).
  returned: when the Elastic IP could be read
  type: dict
  contains: *association
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import SETTLE, argument_spec, eip_association


def main() -> None:
    run_change(
        lambda host: eip_association(host.params),
        argument_spec=argument_spec(
            public_ip={"type": "str"},
            allocation_id={"type": "str"},
            private_ip_address={"type": "str"},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
            allow_reassociation={"type": "bool", "default": True},
        ),
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=SETTLE,
        mutually_exclusive=[("network_interface_id", "interface"), ("public_ip", "allocation_id")],
        required_one_of=[("public_ip", "allocation_id")],
    )


if __name__ == "__main__":
    main()
