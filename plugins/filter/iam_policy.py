# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind the playbook holdfast.ha.prepare_aws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._ec2.policy import iam_policy

DOCUMENTATION = r"""
name: iam_policy
short_description: Make the IAM policy that the nodes need
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Makes a policy that is as narrow as EC2 and DynamoDB allow for the given resources.
options:
  _input:
    description: The resources, as in C(holdfast_resources). An empty list makes a policy for resources of every kind.
    type: list
    elements: dict
    required: true
  store:
    description: The store of type V(dynamodb), as in C(holdfast_store).
    type: dict
    required: true
  cluster:
    description: Name of the cluster. The nodes may read and write the leases of this cluster only.
    type: str
    default: ""
  aws:
    description: Options of the EC2 modules, as in C(holdfast_aws).
    type: dict
    default: {}
  instances:
    description: Instance ID of each node, as in C(holdfast_instances).
    type: dict
    default: {}
  table_arn:
    description: ARN of the lease table, as RV(holdfast.ha.lease_store#module:table_arn). Names region and account.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the policy of the nodes
  ansible.builtin.debug:
    msg: "{{ holdfast_resources | holdfast.ha.iam_policy(holdfast_store, cluster=holdfast_cluster) }}"
"""

RETURN = r"""
_value:
  description: The policy document.
  type: dict
"""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"iam_policy": iam_policy}
