# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients made before there is anything to do, in the process that forks the workers which then use them.

Sound, since a client that has made no call has no connection open and holds no lock, and its credentials are renewed by the worker that finds
them old. Whatever does not come about here is done in the worker, as without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR, AwsOptions, argument_spec, keep_client
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds


def make_clients(aws: object, resources: object) -> int:
    """For the options ``holdfast_aws`` and the EC2 parts of ``holdfast_resources``; how many there are. Never raises for what these contain."""
    if BOTO3_IMPORT_ERROR is not None or not isinstance(resources, (list, tuple)):
        return 0
    shared = dict(aws) if isinstance(aws, Mapping) else {}
    made = set()
    for resource in resources:
        parts = resource.get("ec2") if isinstance(resource, Mapping) else None
        if not isinstance(parts, Mapping):
            continue
        params: dict[str, Any] = {**shared, **{name: value for name, value in parts.items() if name in argument_spec()}}
        if any(not isinstance(value, (str, bool, type(None))) or "{{" in str(value) for value in params.values()):
            continue  # a template: only a task knows what it means
        try:
            options = AwsOptions.from_params(params)
            keep_client(options, Imds().region)
        except HoldfastError:
            continue  # the task will say so
        made.add(options)
    return len(made)
