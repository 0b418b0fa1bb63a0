# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores of leases that the resources of one checker use, and what of the settings can be seen to be wrong before anything is asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import shown
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import ClusterPin, Gateway
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_space import warning
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import open_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store, StoreSettings
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

#: What to do about credentials that the checker's unit does not see (ProtectHome=yes).
CREDENTIALS_REMEDY = "put its file below /etc, readable only by root, and name it with AWS_SHARED_CREDENTIALS_FILE in monitor_environment"


class Stores:
    """A client of DynamoDB is for all of them: threads may share it, and making one takes half a second and 10 MB. One of etcd is for one thread, and
    all of them share their login.

    :param cluster: What is known of the cluster, where the store is etcd; all leases of a node are in one.

    Raises `BadInput` and `ServiceError`, as `open_store`.
    """

    def __init__(self, settings: StoreSettings, timing: Timing, cluster: ClusterPin | None = None) -> None:
        self._settings, self._timing, self._cluster = settings, timing, cluster or ClusterPin()
        self._first = open_store(settings, timing, self._cluster)

    def take(self) -> Store:
        """For one more resource."""
        return self._first.sibling() if isinstance(self._first, EtcdStore) else self._first

    def space_warning(self) -> str:
        """One line for a person while the store has little room left; empty otherwise. Takes some seconds where a member does not answer."""
        if self._settings.type != "etcd":
            return ""
        return warning(Gateway(timeout=self._timing.call, cluster=self._cluster, **self._settings.values))


def check_store(settings: StoreSettings, timing: Timing, *, elsewhere: bool = False) -> None:
    """Whether its files can be read and its names are known on this host, which takes no network. Raises `HoldfastError`.

    :param elsewhere: The file with the checker's AWS profiles is not on this host yet, so a profile that is not known here may be right.
    """
    if settings.type == "etcd":
        open_store(settings, timing)
    elif settings.type == "dynamodb":
        check_aws(settings.values, "store", elsewhere=elsewhere)


def check_aws(values: Mapping[str, Any], path: str, *, elsewhere: bool = False) -> None:
    """Whether these AWS options fit together and this host knows them; ``elsewhere`` as in `check_store`. Raises `BadInput`."""
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR, AwsOptions

    if BOTO3_IMPORT_ERROR is not None:
        raise BadInput("the Python library boto3 is missing for the Python that runs the checker; install it", path=path)
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        options = AwsOptions.from_params(values, os.environ)
        if not elsewhere:
            boto3.session.Session(profile_name=options.profile, region_name=options.region)
    except BadInput as error:
        raise BadInput(f"{path}.{error.message}", path=path) from None
    except BotoCoreError as error:
        named = f"{path}.profile: the checker finds no AWS profile {shown(options.profile)}, and does not read root's home; {CREDENTIALS_REMEDY}"
        raise BadInput(named if options.profile else f"{path}: the AWS options cannot be used: {str(error)[:300]}", path=path) from None
