# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes' role may do in the lab: what the collection needs, and no more, so that a call beyond it fails here first."""

from __future__ import annotations

from typing import Any

_EC2 = (
    "DescribeRouteTables",
    "ReplaceRoute",
    "CreateRoute",
    "DescribeNetworkInterfaces",
    "ModifyNetworkInterfaceAttribute",
    "DescribeAddresses",
    "AssociateAddress",
    "DisassociateAddress",
    "StopInstances",
    "DescribeInstances",
)
_DYNAMODB = ("GetItem", "PutItem")

NODE_RIGHTS: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": [f"ec2:{name}" for name in _EC2], "Resource": "*"},
        {"Effect": "Allow", "Action": [f"dynamodb:{name}" for name in _DYNAMODB], "Resource": "*"},
    ],
}
