#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let the address of a resource live as long as its lease."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lease_address
short_description: Let the address of a resource live as long as its lease
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Asks the checker of this host to put the address of a resource on its interface and to keep it there while this node holds the lease.
  - The kernel removes the address by itself at the lease's deadline unless the checker prolongs it, so it goes even if the checker is
    killed or stands still. This is why a task of a playbook should not add the address of a resource that has a lease by itself.
  - The resource is the one that the checker knows by its file in C(/etc/holdfast/resources).
requirements:
  - netaddr (Python library)
  - iproute2 5.2 or newer
extends_documentation_fragment:
  - holdfast.ha._attributes
options:
  cluster:
    description: The name of the cluster.
    type: str
    required: true
  tag:
    description: The tag of the resource.
    type: str
    required: true
  state:
    description:
      - V(present) brings the interface up if need be (one without a carrier is set down and up once), asks its link whether another host has the
        address, adds it and announces it. It fails where this node does not hold the lease, or where no checker watches it.
      - V(absent) removes the address from every interface of this host. The lease stays as it is.
    type: str
    choices: [present, absent]
    default: present
  gateway:
    description: The gateway of the source route, see M(holdfast.ha.ip_address). By default that of the resource, or one that is found.
    type: str
seealso:
  - module: holdfast.ha.lease
  - module: holdfast.ha.ip_address
"""

EXAMPLES = r"""
- name: Hold the lease
  holdfast.ha.lease:
    cluster: web-prod
    tag: web
    holder: node-b
    wait: 30
    store: "{{ holdfast_store }}"

- name: Put the address in service
  holdfast.ha.lease_address:
    cluster: web-prod
    tag: web
"""

RETURN = r"""
interface:
  description: The interface that the address is on, or would be in check mode; null for none.
  returned: success
  type: str
  sample: eth0
serving:
  description: Whether the checker keeps the address up.
  returned: success
  type: bool
  sample: true
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease_address import LeasedAddressTask


def main() -> None:
    """Be an Ansible module."""
    run_change(
        lambda host: LeasedAddressTask(host.params, host.run),
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "gateway": {"type": "str"},
        },
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
