#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep the old node of a resource from serving on EC2."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_fence
short_description: Keep the old node of a resource from serving on EC2
version_added: 0.1.0
description:
  - Finds the network interfaces that the route table entries or the Elastic IP of a resource target, and fences the node that has them. A takeover
    runs it before the address comes up.
  - With C(fence=source_dest_check) in O(resource), the source/destination check of these network interfaces is enabled. EC2 then drops packets for
    the protected address that still reach them. With C(fence=stop_instance), their instance is stopped, and the module waits until it has stopped.
  - The module fails and changes nothing if the network interfaces belong to several instances, or to an instance that O(instances) does not name as
    one of O(old_nodes).
  - It does not fence what targets this node already. An earlier run pointed it here, and that run began with the fence.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._eni
  - holdfast.ha._aws
options:
  resource:
    description: The definition of the resource, as an entry of C(holdfast_resources).
    type: dict
    required: true
  node:
    description: The name of this node.
    type: str
    required: true
  instances:
    description: The instance id of each node, by its name. No other instance is fenced then.
    type: dict
  old_nodes:
    description: The nodes that held the lease and did not release it. By default any node of O(instances) but O(node).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds within which an instance has to stop.
    type: float
    default: 180
seealso:
  - module: holdfast.ha.ec2_source_dest_check
  - module: holdfast.ha.ec2_instance_stop
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Fence node-a before node-b takes its resource over
  holdfast.ha.ec2_fence:
    resource: "{{ holdfast_resources[0] }}"
    node: node-b
    old_nodes: [node-a]
    instances:
      node-a: i-0123456789abcdef0
      node-b: i-89abcdef012345670
"""

RETURN = r"""
interfaces:
  description: The network interfaces of the old node. Empty if everything targets this node already.
  returned: when the old node could be found
  type: list
  elements: str
  sample: [eni-0123456789abcdef0]
nodes:
  description: The nodes that were fenced, as far as they are known.
  returned: when the old node could be found
  type: list
  elements: str
  sample: [node-a]
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_fence import fence, settle
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import argument_spec


def main() -> None:
    run_change(
        lambda host: fence(host.params, host.warn),
        argument_spec=argument_spec(
            resource={"type": "dict", "required": True},
            node={"type": "str", "required": True},
            instances={"type": "dict"},
            old_nodes={"type": "list", "elements": "str", "default": []},
            timeout={"type": "float", "default": 180},
        ),
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=settle,
        mutually_exclusive=[("network_interface_id", "interface")],
    )


if __name__ == "__main__":
    main()
