# SPDX-License-Identifier: GPL-3.0-or-later
"""What would make a network interface's source/destination check, or an Elastic IP's association, as wished. Pure.

Each of these plans has at most one action. Moving an Elastic IP is one call that EC2 makes at once, never a
disassociation followed by an association: in between, the address would lead nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Address,
    Association,
    Eip,
    Eni,
    EniAddress,
    parse_ip,
    parse_network,
    text_table,
)


@dataclass(frozen=True)
class SetSourceDestCheck:
    """Turn the source/destination check of a network interface on or off."""

    network_interface_id: str
    enabled: bool

    def __str__(self) -> str:
        return f"{self.network_interface_id}: turning the source/dest check {'on' if self.enabled else 'off'}"


def plan_source_dest_check(enabled: bool, eni: Eni) -> tuple[SetSourceDestCheck, ...]:
    """The action that is left; none when all is right."""
    return () if eni.source_dest_check is enabled else (SetSourceDestCheck(eni.id, enabled),)


def simulate_source_dest_check(eni: Eni, actions: tuple[SetSourceDestCheck, ...]) -> Eni:
    """The interface as it would be after ``actions``."""
    return replace(eni, source_dest_check=actions[-1].enabled) if actions else eni


@dataclass(frozen=True)
class DesiredElasticIp:
    """Where an Elastic IP should be.

    :param private_ip: ``None``: ``preferred``, else the primary private address of the interface; or any when ``present`` is false.
    :param preferred: A private address that is meant if the interface has it.
    :param present: Associated there; false: not associated there, wherever else it may be.
    :param allow_reassociation: Whether it may be taken from where it is now.
    """

    network_interface_id: str
    private_ip: str | None = None
    present: bool = True
    allow_reassociation: bool = True
    preferred: str | None = None


@dataclass(frozen=True)
class EipState:
    """An Elastic IP and the interface that it should be on; that one is not looked at when it should only leave."""

    eip: Eip
    eni: Eni | None = None


@dataclass(frozen=True)
class AssociateEip:
    """Associate an Elastic IP, taking it from where it is if that is allowed."""

    eip: str
    allocation_id: str
    network_interface_id: str
    private_ip: str
    allow_reassociation: bool

    def __str__(self) -> str:
        return f"{self.eip}: associating it with {self.private_ip} of {self.network_interface_id}"


@dataclass(frozen=True)
class DisassociateEip:
    """End one association of an Elastic IP: this one, named by its id, and no later one."""

    eip: str
    association_id: str
    network_interface_id: str

    def __str__(self) -> str:
        return f"{self.eip}: disassociating it from {self.network_interface_id}"


EipAction = Union[AssociateEip, DisassociateEip]


def undelivered(address: Address, vpc_networks: Sequence[str], eni: Eni) -> str:
    """Why EC2 delivers no packet for the address to the interface, in one line; empty where it does, or where route table entries decide that."""
    own = (*(one.private_ip for one in eni.addresses), *eni.ipv6_addresses)
    delivered = any(address.ip == parse_ip(one, eni.id) for one in own) or any(address.ip in parse_network(one, eni.id) for one in eni.prefixes)
    if delivered or not any(address.ip in parse_network(network, "VPC") for network in vpc_networks):
        return ""
    return (
        f"EC2 delivers no packet for {address.host}: it lies inside the VPC and is no private address of {eni.id}; assign it to {eni.id}, "
        "for example by a dependent with tasks, or choose an address outside the VPC"
    )


def plan_eip(wish: DesiredElasticIp, state: EipState) -> tuple[EipAction, ...]:
    """The action that is left; none when all is right, since repeating an association can cost money.

    Raises `BadInput` for a private address that the interface does not have, `Refused` where going on would take the
    Elastic IP from somebody against the wish, or push another Elastic IP off that private address.
    """
    eip, now = state.eip, state.eip.association
    if not wish.present:
        ours = now and now.network_interface_id == wish.network_interface_id and wish.private_ip in (None, now.private_ip)
        return (DisassociateEip(eip.public_ip, now.association_id, wish.network_interface_id),) if now and ours else ()
    place = _place(wish, state)
    if now and (now.network_interface_id, now.private_ip) == (wish.network_interface_id, place.private_ip):
        return ()
    if place.allocation_id and place.allocation_id != eip.allocation_id:
        raise Refused(
            f"{place.private_ip} of {wish.network_interface_id} has the Elastic IP {place.public_ip} already, which {eip.public_ip} would push off; "
            "give another private_ip_address, or disassociate that one first",
            public_ip=place.public_ip,
        )
    if now and not wish.allow_reassociation:
        raise Refused(
            f"{eip.public_ip} is associated with {now.private_ip} of {now.network_interface_id}; set allow_reassociation=true to take it from there",
            network_interface_id=now.network_interface_id,
        )
    return (AssociateEip(eip.public_ip, eip.allocation_id, wish.network_interface_id, place.private_ip, wish.allow_reassociation),)


def _place(wish: DesiredElasticIp, state: EipState) -> EniAddress:
    addresses = state.eni.addresses if state.eni else ()
    if wish.private_ip is None:
        found = next((address for address in addresses if address.private_ip == wish.preferred), None)
        found = found or next((address for address in addresses if address.primary), None)
    else:
        found = next((address for address in addresses if address.private_ip == wish.private_ip), None)
    if found is None:
        there = ", ".join(address.private_ip for address in addresses) or "none"
        wanted = wish.private_ip or "a primary private address"
        raise BadInput(f"private_ip_address: {wish.network_interface_id} does not have {wanted}; it has {there}", path="private_ip_address")
    return found


def simulate_eip(state: EipState, actions: tuple[EipAction, ...]) -> EipState:
    """The state as it would be after ``actions``; the id of a new association is not known before, so it is empty."""
    for action in actions:
        if isinstance(action, DisassociateEip):
            association = None
        else:
            association = Association("", action.network_interface_id, action.private_ip)
        state = replace(state, eip=replace(state.eip, association=association))
    return state


def eip_table(state: EipState) -> str:
    """The association as text for the diff."""
    now = state.eip.association
    row = (state.eip.public_ip, now.network_interface_id if now else "-", now.private_ip if now else "-")
    return text_table(("elastic ip", "network interface", "private address"), [row])


def source_dest_check_table(eni: Eni) -> str:
    """The attribute as text for the diff."""
    return text_table(("network interface", "source/dest check"), [(eni.id, "on" if eni.source_dest_check else "off")])
