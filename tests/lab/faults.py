# SPDX-License-Identifier: GPL-3.0-or-later
"""Things that go wrong, by name: in the VPC, on the active node, at the API. Each is what really happens, not a note that it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.residence import LabError

if TYPE_CHECKING:  # naming the faults needs none of these, and they take a second
    from lab.node import Node
    from lab.vpc import Lab


@dataclass(frozen=True)
class Trouble:
    """A fault with a name; ``strike`` makes it and says in a line what it did."""

    name: str
    what: str
    strike: Callable[[Lab], str] = field(repr=False)


def active(lab: Lab) -> tuple[Node, str]:
    """The node and link that hold the IPv4 virtual address. Raises `LabError` if none does."""
    for node in lab.nodes:
        for link, held in node.addresses():
            if held.partition("/")[0] == _plain(lab.place.vip):
                return node, link
    raise LabError(f"no node holds {lab.place.vip}: put it right first, or start a fresh lab with `down` and `up`")


def standby(lab: Lab) -> Node:
    """The node that does not hold the virtual address."""
    holder = active(lab)[0]
    return next(node for node in lab.nodes if node is not holder)


def _plain(address: str) -> str:
    return address.partition("/")[0]


def _routes_to(lab: Lab, interface_id: str, tables: list[str]) -> None:
    """Let both virtual addresses lead to this interface from these tables; those that do so already are left alone."""
    pages = lab.ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": [lab.place.vpc_id]}])
    targets = {
        (table["RouteTableId"], route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")): route.get("NetworkInterfaceId")
        for page in pages
        for table in page["RouteTables"]
        for route in table["Routes"]
    }
    for table in tables:
        for name, vip in (("DestinationCidrBlock", lab.place.vip), ("DestinationIpv6CidrBlock", lab.place.vip6)):
            if targets.get((table, vip)) != interface_id:
                lab.ec2.replace_route(RouteTableId=table, NetworkInterfaceId=interface_id, **{name: vip})


def _tables(lab: Lab) -> list[str]:
    return [table for _name, table in lab.place.route_tables]


def _wrong_route(lab: Lab) -> str:
    target = standby(lab).place.interfaces[0]
    _routes_to(lab, target.id, _tables(lab))
    return f"{lab.place.vip} and {lab.place.vip6} lead to {standby(lab).name}'s {target.id} from every route table"


def _forgotten_table(lab: Lab) -> str:
    target = standby(lab).place.interfaces[0]
    _routes_to(lab, target.id, [lab.place.table("client-c")])
    return f"{lab.place.table('client-c')}, the client's route table, still leads to {standby(lab).name}'s {target.id}"


def _route_blackhole(lab: Lab) -> str:
    made = lab.ec2.create_network_interface(SubnetId=standby(lab).place.interfaces[0].subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    _routes_to(lab, made, _tables(lab))
    lab.ec2.delete_network_interface(NetworkInterfaceId=made)
    return f"{lab.place.vip} and {lab.place.vip6} lead to {made}, which has been deleted"


def _eip_to(lab: Lab, node: Node) -> None:
    interface = node.place.interfaces[0]
    where = {"NetworkInterfaceId": interface.id, "PrivateIpAddress": interface.address}
    lab.ec2.associate_address(AllocationId=lab.place.allocation_id, AllowReassociation=True, **where)


def _eip_taken(lab: Lab) -> str:
    thief = standby(lab)
    _eip_to(lab, thief)
    return f"{lab.place.elastic_ip} is associated with {thief.name}'s {thief.place.interfaces[0].id}"


def _sdc_on(lab: Lab) -> str:
    node, link = active(lab)
    interface = node.place.interface(link)
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface.id, SourceDestCheck={"Value": True})
    return f"the source/dest check of {node.name}'s {interface.id} is on"


def _address_deleted(lab: Lab) -> str:
    node, link = active(lab)
    node.drop(lab.place.vip)
    return f"{lab.place.vip} is gone from {node.name}'s {link}"


def _wrong_prefix(lab: Lab) -> str:
    node, link = active(lab)
    node.drop(lab.place.vip)
    wrong = f"{_plain(lab.place.vip)}/24"
    node.hold(wrong, link)
    return f"{node.name}'s {link} has {wrong} in place of {lab.place.vip}"


def _link_down(lab: Lab) -> str:
    node, link = active(lab)
    node.namespace.ip(f"link set {link} down")
    return f"{node.name}'s {link} is down; bringing it up brings its carrier back, not the routes and IPv6 addresses that went with it"


def _primary_dead(lab: Lab) -> str:
    node, link = active(lab)
    lab.router.cut(node.place.interface(link).id)
    return f"{node.name}'s {link} has no carrier, and bouncing it does not bring it back"


def _duplicate(lab: Lab) -> str:
    node, link = active(lab)
    node.drop(lab.place.vip)
    node.drop(lab.place.vip6)
    for address in (lab.place.vip, lab.place.vip6):
        lab.router.impersonate(node.place.interface(link).id, _plain(address))
    return f"{node.name} has lost {lab.place.vip} and {lab.place.vip6}, and another host on {link}'s network answers for them"


def _api(kind: str, *, action: str = "*", seconds: float = 0.0, times: int | None = None) -> Callable[[Lab], str]:
    def strike(lab: Lab) -> str:
        from lab.control import Fault

        lab.control.faults.inject(Fault(kind, action=action, seconds=seconds, times=times))
        return f"EC2's API: {kind} for {action}" + (f", {seconds:g} s" if seconds else "") + (f", {times} times" if times else ", until cleared")

    return strike


def _metadata(fault: str) -> Callable[[Lab], str]:
    def strike(lab: Lab) -> str:
        for node in lab.nodes:
            if node.imds is not None:
                node.imds.fail(fault)
        return f"instance metadata on every node: {fault}, until cleared"

    return strike


def clear(lab: Lab) -> str:
    """End what goes wrong at the API, in the metadata and on the wire; what was changed (routes, addresses, associations) stays changed."""
    lab.control.faults.clear()
    lab.router.unmask()
    for interface in sorted(lab.router.dead):
        lab.router.mend(interface)
    for node in lab.nodes:
        if node.imds is not None:
            node.imds.fail(None)
    return "the API, the metadata service and the cables are well again; what was changed is for recovery to put right"


def ec2_on(lab: Lab, node: Node) -> None:
    """Let EC2 lead to this node's first interface: both virtual addresses from every table, the Elastic IP, its source/dest check alone off."""
    home = node.place.interfaces[0]
    _routes_to(lab, home.id, _tables(lab))
    for interface in (one for each in lab.nodes for one in each.place.interfaces):
        lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface.id, SourceDestCheck={"Value": interface is not home})
    _eip_to(lab, node)


def restore(lab: Lab) -> str:
    """Put everything back as it was at first: on node-a's first interface, with nothing wrong."""
    clear(lab)
    for node in lab.nodes:
        for address in (lab.place.vip, lab.place.vip6):
            node.drop(address)
        node.set_epoch(0)
        node.configure()
    home = lab.node_a.place.interfaces[0]
    for address in (lab.place.vip, lab.place.vip6):
        lab.node_a.hold(address, home.link)
    ec2_on(lab, lab.node_a)
    lab.control.calls.reset()
    return f"all is as it was at first: {lab.place.vip}, {lab.place.vip6} and {lab.place.elastic_ip} on {lab.node_a.name}'s {home.link}"


_ALL = (
    Trouble("wrong-route", "every route table leads to the other node", _wrong_route),
    Trouble("forgotten-table", "the client's route table alone leads to the other node", _forgotten_table),
    Trouble("route-blackhole", "every route table leads to an interface that was deleted", _route_blackhole),
    Trouble("eip-taken", "the Elastic IP is associated with the other node", _eip_taken),
    Trouble("sdc-on", "the active interface's source/dest check is on", _sdc_on),
    Trouble("address-deleted", "the virtual address is gone from the active node", _address_deleted),
    Trouble("wrong-prefix", "the virtual address has the wrong prefix length", _wrong_prefix),
    Trouble("link-down", "the active link was set down on its node", _link_down),
    Trouble("primary-dead", "the active link has lost its carrier for good", _primary_dead),
    Trouble("duplicate", "another host on the link answers for the address", _duplicate),
    Trouble("throttle", "EC2 refuses calls: too many", _api("throttle", times=5)),
    Trouble("http500", "EC2 answers with an HTML page and status 500", _api("http500", times=2)),
    Trouble("lost-reply", "the next EC2 write takes effect, its reply is lost", _api("lost_reply", times=1)),
    Trouble("stale", "EC2 describes what was 2 s ago", _api("stale", action="Describe*", seconds=2.0)),
    Trouble("latency", "each EC2 call takes 100 ms longer", _api("latency", seconds=0.1)),
    Trouble("deny", "EC2 denies every call", _api("deny")),
    Trouble("expired", "EC2 says that the session has run out", _api("expired")),
    Trouble("api-silent", "EC2 does not answer", _api("silent")),
    Trouble("imds-silent", "instance metadata does not answer", _metadata("silent")),
    Trouble("imds-token-refused", "instance metadata gives out no token", _metadata("token-refused")),
    Trouble("imds-credentials-expired", "instance metadata gives out credentials that have run out", _metadata("credentials-expired")),
    Trouble("clear", "end the faults of API, metadata and cables", clear),
    Trouble("restore", "put everything back as it was at first", restore),
)
TROUBLES = {trouble.name: trouble for trouble in _ALL}


def strike(lab: Lab, name: str) -> str:
    """Make this fault; returns a line that says what was done. Raises `LabError` for a name that is not one."""
    if name not in TROUBLES:
        raise LabError(f"there is no fault {name!r}; choose one of {', '.join(TROUBLES)}")
    return TROUBLES[name].strike(lab)
