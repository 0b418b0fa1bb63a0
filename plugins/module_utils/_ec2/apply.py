# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions to EC2 calls: independent ones in parallel, fewer at once when EC2 asks for it. One attempt of each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, Generic, TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import PARALLEL
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.errors import call, has_code, is_throttled
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import ReplaceRoute, RouteAction
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_instance import StopInstance
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import AssociateEip, EipAction, SetSourceDestCheck

A = TypeVar("A")


class Parallel(Generic[A]):
    """Carries out rounds of actions that do not build on one another.

    :param write: Carries out one; raises `HoldfastError`. Called from several threads.
    :param width: How many at once in the first round; halved for the next whenever one was throttled.
    """

    def __init__(self, write: Callable[[A], None], width: int = PARALLEL) -> None:
        self._write = write
        self.width = width

    def __call__(self, actions: tuple[A, ...]) -> tuple[Attempt[A], ...]:
        """An attempt for every action, in their order; an error of one keeps none of the others back."""
        if len(actions) <= 1 or self.width == 1:
            attempts = tuple(self._attempt(action) for action in actions)
        else:
            with ThreadPoolExecutor(min(self.width, len(actions)), "ec2") as pool:
                attempts = tuple(pool.map(self._attempt, actions))
        if any(is_throttled(attempt.error) for attempt in attempts):
            self.width = max(1, self.width // 2)
        return attempts

    def _attempt(self, action: A) -> Attempt[A]:
        try:
            self._write(action)
        except HoldfastError as error:
            return Attempt(action, _naming(action, error))
        return Attempt(action)


def _naming(action: object, error: HoldfastError) -> HoldfastError:
    """The error with the action in front: of many attempts it says which."""
    if isinstance(error, ServiceError):
        error = copy(error)
        error.args = (f"{action}: {error}",)
    return error


def _dry(dry_run: bool) -> dict[str, bool]:
    return {"DryRun": True} if dry_run else {}


def write_route(client: Any, action: RouteAction, *, dry_run: bool = False) -> None:
    """Raises `ServiceError`, also for a ``dry_run``. The error of an entry made meanwhile is left to the next look."""
    version = "DestinationIpv6CidrBlock" if ":" in action.destination else "DestinationCidrBlock"
    ids = {"RouteTableId": action.route_table_id, "NetworkInterfaceId": action.network_interface_id}
    entry = {**ids, version: action.destination, **_dry(dry_run)}
    if isinstance(action, ReplaceRoute):
        call(client, "ReplaceRoute", write=True, **entry)
    else:
        _create(client, entry)


def _create(client: Any, entry: dict[str, Any]) -> None:
    try:
        call(client, "CreateRoute", write=True, **entry)
    except ServiceError as error:
        if not has_code(error, "RouteAlreadyExists"):
            raise
        # An earlier attempt whose reply was lost made it, or somebody else did: the next look tells which entry stands.


def write_source_dest_check(client: Any, action: SetSourceDestCheck, *, dry_run: bool = False) -> None:
    """Raises `ServiceError`, also for a ``dry_run``."""
    wish = {"NetworkInterfaceId": action.network_interface_id, "SourceDestCheck": {"Value": action.enabled}}
    call(client, "ModifyNetworkInterfaceAttribute", write=True, **wish, **_dry(dry_run))


def write_stop(client: Any, action: StopInstance) -> None:
    """Raises `ServiceError`. One that is being terminated cannot be stopped, and need not be: the next look tells when it is gone."""
    try:
        call(client, "StopInstances", write=True, InstanceIds=[action.instance_id], Force=action.force)
    except ServiceError as error:
        if not has_code(error, "IncorrectInstanceState"):
            raise


def write_eip(client: Any, action: EipAction, *, dry_run: bool = False) -> None:
    """Raises `ServiceError`, also for a ``dry_run``. An association that is gone already is what a disassociation wants."""
    if isinstance(action, AssociateEip):
        call(
            client,
            "AssociateAddress",
            write=True,
            AllocationId=action.allocation_id,
            NetworkInterfaceId=action.network_interface_id,
            PrivateIpAddress=action.private_ip,
            AllowReassociation=action.allow_reassociation,
            **_dry(dry_run),
        )
        return
    try:
        call(client, "DisassociateAddress", write=True, AssociationId=action.association_id, **_dry(dry_run))
    except ServiceError as error:
        if not has_code(error, "InvalidAssociationID.NotFound"):
            raise
