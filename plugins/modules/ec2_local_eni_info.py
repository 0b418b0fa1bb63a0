#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell which network interfaces of EC2 this host has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_local_eni_info
short_description: Tell which EC2 network interfaces this host has
version_added: 0.1.0
description:
  - Reads the instance metadata (IMDSv2) of the host that the module runs on,
    and finds the link that belongs to each network interface by its MAC address.
  - No API call is made and no credentials are needed.
  - Fails on a host that has no instance metadata.
extends_documentation_fragment:
  - holdfast.ha._attributes.info
options:
  interface:
    description: The name of a link of this host; only the network interface behind it is listed.
    type: str
requirements:
  - netaddr on the host that the module runs on
notes:
  - E(AWS_EC2_METADATA_SERVICE_ENDPOINT) and E(AWS_EC2_METADATA_DISABLED) are honoured; a proxy is never used.
seealso:
  - module: holdfast.ha.ec2_source_dest_check
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Find out which network interface is behind eth1
  holdfast.ha.ec2_local_eni_info:
    interface: eth1
  register: local

- name: Show it
  ansible.builtin.debug:
    msg: "{{ local.network_interfaces[0].network_interface_id }} in {{ local.availability_zone }}"
"""

RETURN = r"""
instance_id:
  description: The id of this instance.
  returned: success
  type: str
  sample: i-0123456789abcdef0
region:
  description: The region that it is in.
  returned: success
  type: str
  sample: eu-central-1
availability_zone:
  description: The availability zone that it is in.
  returned: success
  type: str
  sample: eu-central-1a
network_interfaces:
  description: Its network interfaces, the primary one first.
  returned: success
  type: list
  elements: dict
  contains:
    network_interface_id:
      description: The id.
      type: str
    mac:
      description: The MAC address.
      type: str
    interface:
      description: The link with that MAC address, or V(null). Links on top of others, such as VLANs, are not meant.
      type: str
    device_number:
      description: At which index it is attached.
      type: int
    primary:
      description: Whether it is the instance's primary one.
      type: bool
    subnet_id:
      description: The subnet that it is in.
      type: str
    subnet_cidr:
      description: The IPv4 network of the subnet, or V(null).
      type: str
    vpc_id:
      description: The VPC that it is in.
      type: str
    vpc_cidrs:
      description: The networks of the VPC, IPv4 and IPv6.
      type: list
      elements: str
    private_ip_addresses:
      description: Its private IPv4 addresses.
      type: list
      elements: str
    ipv6_addresses:
      description: Its IPv6 addresses.
      type: list
      elements: str
    public_ips:
      description: The public IPv4 addresses in front of it.
      type: list
      elements: str
    gateway:
      description: The VPC's IPv4 router in its subnet, which is the first host of it; or V(null).
      type: str
    gateway_ipv6:
      description: The VPC's IPv6 router. Instance metadata does not tell it, so it is V(null); router advertisements do.
      type: str
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.local import local_info


def main() -> None:
    run_info(
        lambda host: local_info(host.params["interface"]),
        argument_spec={"interface": {"type": "str"}},
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
