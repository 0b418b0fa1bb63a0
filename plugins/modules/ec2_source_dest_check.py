#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turn the source/destination check of a network interface on or off."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_source_dest_check
short_description: Turn the source/destination check of an EC2 network interface on or off
version_added: 0.1.0
description:
  - While the check is on, EC2 drops packets to and from addresses that are not the network interface's own.
    It has to be off on an interface to which a route table entry leads.
  - Nothing is written if it is as wished already. After writing, it is read again until it shows.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._eni
  - holdfast.ha._aws
options:
  enabled:
    description: Whether the check should be on.
    type: bool
    default: false
seealso:
  - module: holdfast.ha.ec2_route_target
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Let this host take packets for addresses that route table entries lead to it
  holdfast.ha.ec2_source_dest_check:

- name: Turn the check on again for a certain network interface
  holdfast.ha.ec2_source_dest_check:
    network_interface_id: eni-0123456789abcdef0
    enabled: true
"""

RETURN = r"""
before:
  description: Whether the check was on.
  returned: when the network interface could be read
  type: bool
  sample: true
after:
  description: Whether it is on now, or would be in check mode.
  returned: when the network interface could be read
  type: bool
  sample: false
instance_id:
  description: The instance that the network interface is attached to; null for none.
  returned: when the network interface could be read
  type: str
  sample: i-0123456789abcdef0
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import SETTLE, argument_spec, source_dest_check


def main() -> None:
    run_change(
        lambda host: source_dest_check(host.params),
        argument_spec=argument_spec(enabled={"type": "bool", "default": False}),
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=SETTLE,
        mutually_exclusive=[("network_interface_id", "interface")],
    )


if __name__ == "__main__":
    main()
