# SPDX-License-Identifier: GPL-3.0-or-later
"""From a module's parameters to the task that `run_change` drives. All of the input is judged before anything is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import ReconcilerGroup
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_ip, shown
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import AwsOptions, ec2_client
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import argument_spec as aws_spec
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds, links_by_mac
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.local import EniSelector, local_eni, parse_id
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import DesiredRoutes, parse_destinations
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import DesiredElasticIp
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_instance_stop import InstanceStop
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_interface import EipAssociation, SourceDestCheck
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_resource import together
from ansible_collections.holdfast.ha.plugins.module_utils._modules.ec2_route_target import RouteTargets

#: Seconds for which errors that may pass are tried again and writes are waited for; EC2 mostly shows them within two.
SETTLE = 15.0

#: Seconds that an instance may be given to stop; EC2 itself forces one after some minutes.
_LONGEST_STOP = 3600.0

#: Far more than a VPC has; a longer list is a mistake.
MOST_TABLES = 1000


#: The options of a module that says which route tables are meant; documented by the fragment _routes.
ROUTES: dict[str, Any] = {
    "route_table_ids": {"type": "list", "elements": "str"},
    "vpc_id": {"type": "str"},
    "missing": {"type": "str", "choices": ["fail", "ignore", "create"], "default": "fail"},
}

#: The options of ec2_resource, beside the common ones.
RESOURCE: dict[str, Any] = {
    "destinations": {"type": "list", "elements": "str"},
    "disable_source_dest_check": {"type": "bool", "default": True},
    **ROUTES,
    "public_ip": {"type": "str"},
    "allocation_id": {"type": "str"},
    "private_ip_address": {"type": "str"},
    "preferred_private_ip_address": {"type": "str"},
    "allow_reassociation": {"type": "bool", "default": True},
}


def argument_spec(**own: Any) -> dict[str, Any]:
    """The options of a module that calls EC2 for one network interface: its own, which interface, and the common ones."""
    return {**own, "network_interface_id": {"type": "str"}, "interface": {"type": "str"}, **aws_spec()}


@dataclass(frozen=True)
class TargetEni:
    """A client, and the network interface that is meant. ``vpc_id`` is known where instance metadata told it."""

    client: Any
    network_interface_id: str
    vpc_id: str | None = None


def place(params: Mapping[str, Any]) -> Callable[[], TargetEni]:
    """Judges the common parameters; the function that it returns then asks instance metadata where needed, and makes the client.

    Raises `BadInput`; the function raises `HoldfastError`.
    """
    options, which, imds = AwsOptions.from_params(params), EniSelector.from_params(params), Imds()

    def find() -> TargetEni:
        if which.id is not None:
            return TargetEni(ec2_client(options, imds.region), which.id)
        eni = local_eni(imds, which.link)
        return TargetEni(ec2_client(options, imds.region), eni.id, eni.vpc_id)

    return find


def route_targets(params: Mapping[str, Any], warn: Callable[[str], None]) -> RouteTargets:
    """The task of ec2_route_target. Raises `HoldfastError`."""
    find = place(params)
    make = _route_targets(params, warn)
    return make(find())


def _route_targets(params: Mapping[str, Any], warn: Callable[[str], None]) -> Callable[[TargetEni], RouteTargets]:
    destinations = parse_destinations(params["destinations"])
    table_ids = _table_ids(params["route_table_ids"])
    vpc_id = params["vpc_id"] and parse_id(params["vpc_id"], "vpc", "vpc_id")

    def make(here: TargetEni) -> RouteTargets:
        wish = DesiredRoutes(destinations, here.network_interface_id, table_ids, vpc_id or here.vpc_id, params["missing"])
        return RouteTargets(here.client, wish, warn)

    return make


def _table_ids(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """``None`` means every table; an empty list is more likely a variable that went wrong, so it is refused."""
    if texts is None:
        return None
    if not 0 < len(texts) <= MOST_TABLES:
        raise BadInput(f"route_table_ids: give between 1 and {MOST_TABLES} ids, or leave it out for every table of the VPC", path="route_table_ids")
    return tuple(dict.fromkeys(parse_id(text, "rtb", f"route_table_ids/{index}") for index, text in enumerate(texts)))


def source_dest_check(params: Mapping[str, Any]) -> SourceDestCheck:
    """The task of ec2_source_dest_check. Raises `HoldfastError`."""
    here = place(params)()
    return SourceDestCheck(here.client, here.network_interface_id, params["enabled"])


def stop_settle(params: Mapping[str, Any]) -> float:
    """For how long ec2_instance_stop waits, in seconds. Raises `BadInput`."""
    timeout = float(params["timeout"])
    if not 1 <= timeout <= _LONGEST_STOP:
        raise BadInput(f"timeout: {timeout:g} is out of range; give seconds from 1 to {_LONGEST_STOP:g}", path="timeout")
    return timeout


def instance_stop(params: Mapping[str, Any]) -> InstanceStop:
    """The task of ec2_instance_stop. Raises `HoldfastError`."""
    options, which, imds = AwsOptions.from_params(params), EniSelector.from_params(params), Imds()
    instance_id = params["instance_id"] and parse_id(params["instance_id"], "i", "instance_id")
    timeout = stop_settle(params)
    client = ec2_client(options, imds.region)
    return InstanceStop(client, instance_id, which.id, force=params["force"], own_macs=links_by_mac().keys(), timeout=timeout)


def eip_association(params: Mapping[str, Any]) -> EipAssociation:
    """The task of ec2_eip_association. Raises `HoldfastError`."""
    find = place(params)
    make = _eip_association(params, present=params["state"] == "present")
    return make(find())


def _eip_association(params: Mapping[str, Any], *, present: bool) -> Callable[[TargetEni], EipAssociation]:
    public_ip = params["public_ip"] and _ipv4(params["public_ip"], "public_ip")
    allocation_id = params["allocation_id"] and parse_id(params["allocation_id"], "eipalloc", "allocation_id")
    private_ip = params["private_ip_address"] and _ipv4(params["private_ip_address"], "private_ip_address")
    preferred = params.get("preferred_private_ip_address") and str(parse_ip(params["preferred_private_ip_address"], "preferred_private_ip_address"))

    def make(here: TargetEni) -> EipAssociation:
        wish = DesiredElasticIp(here.network_interface_id, private_ip, present, params["allow_reassociation"], preferred)
        return EipAssociation(here.client, wish, public_ip=public_ip, allocation_id=allocation_id)

    return make


def resource_parts(params: Mapping[str, Any], warn: Callable[[str], None]) -> ReconcilerGroup:
    """The task of ec2_resource: the parts that its parameters name. Raises `HoldfastError`."""
    find = place(params)
    routes = _route_targets(params, warn) if params["destinations"] is not None else None
    elastic_ip = _eip_association(params, present=True) if params["public_ip"] or params["allocation_id"] else None
    if routes is None and elastic_ip is None:
        raise BadInput("give destinations, or an Elastic IP by public_ip or allocation_id: nothing else leads to a resource", path="destinations")
    here = find()
    check = SourceDestCheck(here.client, here.network_interface_id, enabled=False) if routes and params["disable_source_dest_check"] else None
    return together(check, routes and routes(here), elastic_ip and elastic_ip(here))


def _ipv4(text: str, path: str) -> str:
    ip = parse_ip(text, path)
    if ip.version != 4:
        raise BadInput(f"{path}: {shown(text)} is an IPv6 address; Elastic IPs are IPv4", path=path)
    return str(ip)
