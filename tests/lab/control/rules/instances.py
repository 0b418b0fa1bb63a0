# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances: their interfaces go with them, and their own source/dest check is that of the primary interface."""

from __future__ import annotations

import time

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules import targets
from lab.control.rules.registry import Ec2Call, checks, follows

#: Seconds for which an instance is `stopping`. Its packets end with the request.
_STOPPING = 0.7


@follows("RunInstances")
def own_interfaces_go_too(call: Ec2Call) -> None:
    """An interface made at launch is deleted on termination unless the launch said otherwise; moto keeps it."""
    spec = {int(one.get("DeviceIndex", 0)): one for one in call.params.get("NetworkInterfaces") or []}
    newest = list(call.backend.reservations.values())[-1]
    for instance in newest.instances:
        for index, eni in instance.nics.items():
            given = spec.get(int(index), {})
            eni.delete_on_termination = given.get("DeleteOnTermination", "NetworkInterfaceId" not in given)


@follows("RunInstances")
def live_where_the_primary_interface_is(call: Ec2Call) -> None:
    """moto puts an instance that was given existing interfaces into the region's first zone, and in no subnet."""
    for instance in list(call.backend.reservations.values())[-1].instances:
        subnet = instance.nics[0].subnet
        instance._subnet_id, instance._placement.zone = subnet.id, subnet.availability_zone


@follows("TerminateInstances")
def let_go_of_interfaces(call: Ec2Call) -> None:
    """moto has deleted the interfaces that are deleted on termination; the others are detached."""
    for key in call.params.get("InstanceIds") or []:
        for eni in state.interfaces_of(call.backend, targets.instance(call, key)):
            eni.instance = eni.attachment_id = None
            eni.status = "available"


@checks("ModifyInstanceAttribute")
def refuse_ambiguous_check(call: Ec2Call) -> None:
    """Source: EC2 API reference, ModifyInstanceAttribute: with several interfaces, the interface has to be named."""
    if call.params.get("SourceDestCheck") is not None:
        call.request.require("InstanceId")
        targets.only_interface(call, targets.instance(call, call.params["InstanceId"]))


@follows("ModifyInstanceAttribute")
def interface_follows(call: Ec2Call) -> None:
    """An instance's source/dest check is its primary interface's."""
    wanted = call.params.get("SourceDestCheck")
    if wanted is not None:
        instance = targets.instance(call, call.params["InstanceId"])
        state.interfaces_of(call.backend, instance)[0].source_dest_check = instance.source_dest_check = wanted["Value"]


@follows("StopInstances")
def take_a_while(call: Ec2Call) -> None:
    """moto stops at once; an instance of EC2's is `stopping` first, and a caller that does not wait must be found out."""
    for key in call.params.get("InstanceIds") or []:
        one = targets.instance(call, key)
        if not hasattr(one, "stopped_at"):
            one.stopped_at = time.monotonic() + _STOPPING
        one._state.name, one._state.code = "stopping", 64


@checks("DescribeInstances", "StartInstances", "StopInstances")
def have_stopped(call: Ec2Call) -> None:
    """What was stopping has stopped once its time is over."""
    for one in call.backend.all_instances():
        if one.state == "stopping" and time.monotonic() >= one.stopped_at:
            one._state.name, one._state.code = "stopped", 80
            del one.stopped_at


@checks("StartInstances")
def refuse_stopping(call: Ec2Call) -> None:
    """Source: EC2 user guide, "Instance lifecycle": only a stopped instance can be started."""
    for key in call.params.get("InstanceIds") or []:
        if targets.instance(call, key).state == "stopping":
            raise ApiError("IncorrectInstanceState", f"The instance '{key}' is not in a state from which it can be started.")


@checks("StartInstances", "StopInstances")
def refuse_terminated(call: Ec2Call) -> None:
    """Nothing brings a terminated instance back."""
    for key in call.params.get("InstanceIds") or []:
        one = targets.instance(call, key)
        if one.state in ("shutting-down", "terminated"):
            text = f"The instance '{key}' is not in a state from which it can be started or stopped."
            raise ApiError("IncorrectInstanceState", text)
