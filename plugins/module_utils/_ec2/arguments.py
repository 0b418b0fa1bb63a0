# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 side of a resource as options of modules and clients. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts


def host_destination(host: str) -> str:
    """The destination of a route-table entry for one address, which is given without a prefix length."""
    return f"{host}/{128 if ':' in host else 32}"


def own_options(parts: Ec2Parts) -> dict[str, Any]:
    """Those AWS options that a resource has for itself."""
    own = {name: value for name, value in parts.extra.items() if name in ("region", "profile", "endpoint_url", "aws_ca_bundle", "external_id")}
    return {**own, **({"role_arn": parts.role_arn} if parts.role_arn else {})}
