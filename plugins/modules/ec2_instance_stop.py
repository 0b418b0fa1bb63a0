#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stop an EC2 instance and wait until it has stopped."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_instance_stop
short_description: Stop an EC2 instance and wait until it has stopped
version_added: 0.1.0
description:
  - Stops another instance, so that it is certain that it serves nothing any more. A fence before its work is taken over.
  - Succeeds only once EC2 says that the instance is V(stopped) or V(terminated). Nothing is written where it is so already.
  - The instance that the module runs on is refused, found by the MAC addresses of its links.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._aws
options:
  instance_id:
    description: The id of the instance.
    type: str
  network_interface_id:
    description: The id of a network interface of the instance, where its own id is not known.
    type: str
  force:
    description:
      - Do not wait for the operating system to shut down. What it has not written to its disks is lost, as when the power fails.
      - An instance that hangs stops only so, or after some minutes.
    type: bool
    default: false
  timeout:
    description: For how many seconds to wait until it has stopped.
    type: float
    default: 300
seealso:
  - module: holdfast.ha.ec2_source_dest_check
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Make sure that the old node serves nothing
  holdfast.ha.ec2_instance_stop:
    network_interface_id: eni-0123456789abcdef0
    force: true
    timeout: 120
"""

RETURN = r"""
instance_id:
  description: The id of the instance.
  returned: when the instance could be read
  type: str
  sample: i-0123456789abcdef0
before:
  description: The state that it was in, in EC2's words.
  returned: when the instance could be read
  type: str
  sample: running
after:
  description: The state that it is in now, or would be in check mode.
  returned: when the instance could be read
  type: str
  sample: stopped
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import argument_spec as aws_spec
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_options import instance_stop, stop_settle


def main() -> None:
    run_change(
        lambda host: instance_stop(host.params),
        argument_spec={
            "instance_id": {"type": "str"},
            "network_interface_id": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 300},
            **aws_spec(),
        },
        libraries=[RequiredLibrary("boto3", BOTO3_IMPORT_ERROR), RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
        settle=stop_settle,
        mutually_exclusive=[("instance_id", "network_interface_id")],
        required_one_of=[("instance_id", "network_interface_id")],
    )


if __name__ == "__main__":
    main()
