# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether EC2 would let this node do what a takeover does, by dry runs. Nothing is changed.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import write_eip, write_route, write_source_dest_check
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.errors import call, has_code, is_denied
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import RouteAction
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import AssociateEip, DisassociateEip, EipAction, SetSourceDestCheck


def denial(client: Any, actions: Sequence[RouteAction | SetSourceDestCheck | EipAction]) -> str:
    """Why EC2 would not let this node carry out one of ``actions``, in one line; empty where it would, and where it did not say."""
    if not actions or not _makes_dry_runs(client):
        return ""
    return next((told for action in actions if (told := _denial(client, action))), "")


def _makes_dry_runs(client: Any) -> bool:
    """Asked by a call that reads: there are emulators that would carry out a dry run of a write."""
    try:
        call(client, "DescribeRouteTables", DryRun=True)
    except ServiceError as error:
        return has_code(error, "DryRunOperation") or is_denied(error)
    return False


def _denial(client: Any, action: RouteAction | SetSourceDestCheck | EipAction) -> str:
    try:
        if isinstance(action, SetSourceDestCheck):
            write_source_dest_check(client, action, dry_run=True)
        elif isinstance(action, (AssociateEip, DisassociateEip)):
            write_eip(client, action, dry_run=True)
        else:
            write_route(client, action, dry_run=True)
    except ServiceError as error:
        return error.message if is_denied(error) else ""
    return ""
