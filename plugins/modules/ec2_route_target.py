#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Point route table entries at a network interface."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_route_target
short_description: Point entries of EC2 route tables at a network interface
version_added: 0.1.0
description:
  - Makes the entries for some destinations lead to one network interface, in every route table of a VPC or in those named.
  - Only the named destinations are changed. Every other entry stays as it is, and no entry is ever deleted.
  - An entry that leads to the right network interface but is a black hole is written again.
  - Every table is attempted; if some refuse, the module does all the others and then fails naming those.
  - After writing, the tables are read again until they show what was written.
  - Entries whose destination is a prefix list are listed and not changed, nor are entries that a virtual private gateway or a route server put there.
  - An entry that leads to neither a network interface nor an instance, but for example to an internet gateway, a NAT gateway, an endpoint or a
    transit gateway, is replaced only if its table is in O(route_table_ids). Otherwise it stays, and the module warns.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._eni
  - holdfast.ha._routes
  - holdfast.ha._aws
options:
  destinations:
    description:
      - The destinations whose entries are meant, in CIDR notation, IPv4 or IPv6, without host bits.
      - A destination inside one of the VPC's own networks is refused, since EC2 always delivers those itself.
    type: list
    elements: str
    required: true
seealso:
  - module: holdfast.ha.ec2_source_dest_check
  - module: holdfast.ha.ec2_eip_association
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Lead 10.1.0.10 to this host in every route table of its VPC
  holdfast.ha.ec2_route_target:
    destinations: [10.1.0.10/32]

- name: Lead an IPv4 and an IPv6 address to a certain network interface in two tables
  holdfast.ha.ec2_route_target:
    destinations: [10.1.0.10/32, 'fd00:db8::10/128']
    network_interface_id: eni-0123456789abcdef0
    route_table_ids: [rtb-0123456789abcdef0, rtb-0123456789abcdef1]

- name: See what would be changed in a shared VPC, acting as a role of its owner's account
  holdfast.ha.ec2_route_target:
    destinations: [10.1.0.10/32]
    role_arn: arn:aws:iam::123456789012:role/routes
  check_mode: true
  diff: true
"""

RETURN = r"""
routes:
  description: Every entry of the route tables looked at, by table, the longest prefix first.
  returned: when the route tables could be read
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
    - route_table_id: rtb-0123456789abcdef0
      destination: 10.0.0.0/16
      before: local
      after: local
      error: null
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import ROUTES, SETTLE, argument_spec, route_targets


def main() -> None:
    run_change(
        lambda host: route_targets(host.params, host.warn),
        argument_spec=argument_spec(
            destinations={"type": "list", "elements": "str", "required": True},
            **ROUTES,
        ),
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=SETTLE,
        mutually_exclusive=[("network_interface_id", "interface")],
    )


if __name__ == "__main__":
    main()
