#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lead all that belongs to a resource on EC2 to a network interface, at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_resource
short_description: Lead route table entries and the Elastic IP of a resource to a network interface, at once
version_added: 0.1.0
description:
  - Does what M(holdfast.ha.ec2_source_dest_check), M(holdfast.ha.ec2_route_target) and M(holdfast.ha.ec2_eip_association) do one after another,
    with the same rules, and with all calls to EC2 that need not wait for one another at the same time.
    A failover takes a third of the time so.
  - No entry is pointed at the network interface before its source/destination check is seen to be off.
  - What one part is refused does not keep the others back; the module then fails and names what did not come about.
  - Nothing is written that is as wished already. After writing, it is read again until it shows.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._eni
  - holdfast.ha._routes
  - holdfast.ha._aws
options:
  destinations:
    description:
      - The destinations whose route table entries are meant, in CIDR notation, IPv4 or IPv6, without host bits.
      - Without it, neither entries nor the source/destination check are looked at.
    type: list
    elements: str
  disable_source_dest_check:
    description:
      - Whether the source/destination check of the network interface is switched off for O(destinations).
      - If not, it is not looked at.
    type: bool
    default: true
  public_ip:
    description:
      - The Elastic IP. It is taken from where it is in one call.
      - Without it and without O(allocation_id), no Elastic IP is looked at.
    type: str
  allocation_id:
    description: The allocation id of the Elastic IP, in place of O(public_ip).
    type: str
  private_ip_address:
    description:
      - The private IPv4 address of the network interface with which the Elastic IP should be associated.
      - Without it, O(preferred_private_ip_address), else the primary private address.
    type: str
  preferred_private_ip_address:
    description:
      - An address with which the Elastic IP should be associated if it is a private address of the network interface.
      - Unlike O(private_ip_address), it may be any other address, also an IPv6 address, and then means nothing.
    type: str
  allow_reassociation:
    description: Whether the Elastic IP may be taken from a private address with which it is associated now.
    type: bool
    default: true
seealso:
  - module: holdfast.ha.ec2_route_target
  - module: holdfast.ha.ec2_source_dest_check
  - module: holdfast.ha.ec2_eip_association
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Lead 10.1.0.10 and an Elastic IP to this host
  holdfast.ha.ec2_resource:
    destinations: [10.1.0.10/32]
    public_ip: 203.0.113.5

- name: See what would be changed for the network interface behind eth1
  holdfast.ha.ec2_resource:
    destinations: [10.1.0.10/32]
    interface: eth1
  check_mode: true
  diff: true
"""

RETURN = r"""
source_dest_check:
  description: Of the source/destination check.
  returned: with destinations and disable_source_dest_check, when the network interface could be read
  type: dict
  contains:
    before:
      description: Whether the check was on.
      type: bool
    after:
      description: Whether it is on now, or would be in check mode.
      type: bool
    instance_id:
      description: The instance that the network interface is attached to; V(null) for none.
      type: str
  sample:
    before: true
    after: false
    instance_id: i-0123456789abcdef0
routes:
  description: Every entry of the route tables looked at, by table, the longest prefix first.
  returned: with destinations, when the route tables could be read
  type: list
  elements: dict
  contains:
    route_table_id:
      description: The id of the route table.
      type: str
    destination:
      description: The destination in canonical form, or the id of a prefix list.
      type: str
    before:
      description: What it led to, or V(null) if there was no such entry.
      type: str
    after:
      description: What it leads to now, or would in check mode.
      type: str
    error:
      description: Why the entry could not be set right, or V(null).
      type: str
  sample:
    - route_table_id: rtb-0123456789abcdef0
      destination: 10.1.0.10/32
      before: eni-89abcdef
      after: eni-01234567
      error: null
elastic_ip:
  description: Of the Elastic IP.
  returned: with an Elastic IP, when it could be read
  type: dict
  contains:
    association_id:
      description: The id of the association that it has now, or V(null). In check mode the id of a new one is not known.
      type: str
    before:
      description: What it was associated with, or V(null).
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
      type: dict
      contains: *association
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import RESOURCE, SETTLE, argument_spec, resource_parts


def main() -> None:
    run_change(
        lambda host: resource_parts(host.params, host.warn),
        argument_spec=argument_spec(**RESOURCE),
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=SETTLE,
        mutually_exclusive=[("network_interface_id", "interface"), ("public_ip", "allocation_id")],
        required_one_of=[("destinations", "public_ip", "allocation_id")],
    )


if __name__ == "__main__":
    main()
