#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the address of a resource to its other interface."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_swap_interface
short_description: Move the address of a resource to its backup interface
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - In service, the address is removed from its interface, configured on the other one with the same lifetime, announced and verified
    by a ping. Only if that is answered the two interfaces change their places in the record. Otherwise the address goes back to where
    it was and the module fails.
  - Where the checker of this host watches the resource's lease, the address lives on the other interface only as long as that lease, and is
    not put up on a node that does not hold it. Meanwhile the checker leaves the resource alone.
  - Out of service only the two interfaces change their places.
  - A dead interface does not hinder the address from leaving it. The other one is brought up, or bounced once, where needed.
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._probe
  - holdfast.ha._resource
options:
  tag:
    description: The name of the resource.
    type: str
    required: true
  to:
    description:
      - The interface to be on, one of the two. If the resource is there, nothing is done.
      - Without this option every run swaps.
    type: str
  gateway:
    description:
      - The gateway of the source route on the new interface, see O(holdfast.ha.ip_address#module:gateway).
    type: str
  targets:
    description:
      - Addresses to ping from the address. All are pinged at the same time.
      - If empty, those in the definition of the resource. If that has none either, everything on the link is asked at once, for IPv4
        by a broadcast ping, for IPv6 by a ping to all nodes C(ff02::1).
seealso:
  - module: holdfast.ha.ip_backup_interface
  - module: holdfast.ha.ip_address
  - module: holdfast.ha.ip_probe
"""

EXAMPLES = r"""
- name: Move the address of web to its other interface
  holdfast.ha.ip_swap_interface:
    tag: web
    targets: [10.0.1.1]

- name: The address of web is on eth1
  holdfast.ha.ip_swap_interface:
    tag: web
    to: eth1
    gateway: 10.0.2.1
"""

RETURN = r"""
from:
  description: The primary interface before.
  returned: always
  type: str
  sample: eth0
to:
  description: The interface that was asked for, or chosen.
  returned: always
  type: str
  sample: eth1
info:
  description:
    - The INFO record, five values separated by spaces.
    - They are primary server, interface, address, netmask in hexadecimal (for IPv6 the prefix length), backup interface or V(none).
  returned: always
  type: str
  sample: ServerA eth1 172.17.106.10 fffffc00 eth0
in_service:
  description: Whether the address was in service here, so that it had to be moved.
  returned: always
  type: bool
  sample: true
"""

from ansible_collections.holdfast.ha.plugins.module_utils._control.resource import alone_with, lease_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, parse_gateway
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ip_swap_interface import SwapTask, Wish
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import PROBE_OPTIONS, parse_probe
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._resource.options import RESOURCE_OPTIONS, parse_given, parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


def build(host: ModuleContext) -> SwapTask:
    """The change that the options describe."""
    tag, resource = parse_given(host.params)
    wish = Wish(
        tag=str(tag),
        to=None if host.params["to"] is None else given_link(host.params["to"], "to"),
        probe=parse_probe(host.params, None),
        gateway=parse_gateway(host.params["gateway"], None),
        node=parse_node(host.params),
        resource=resource,
    )
    return SwapTask(wish, Store(), Kernel(host.run), host.warn, lease_of, alone_with)


def main() -> None:
    """Be an Ansible module."""
    spec = {
        "tag": {"type": "str", "required": True},
        "to": {"type": "str"},
        "gateway": {"type": "str"},
        **PROBE_OPTIONS,
        **RESOURCE_OPTIONS,
    }
    run_change(build, argument_spec=spec, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
