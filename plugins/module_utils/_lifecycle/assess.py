# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a resource on a node, by what was observed there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Address,
    Association,
    Ec2Parts,
    Eip,
    Eni,
    Health,
    LocalEni,
    Route,
    RouteState,
    RouteTable,
)
from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan, plan_interface
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import DesiredRoutes
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import DesiredElasticIp, EipAction
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import CheckResult
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState, precedes_own
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource

#: Values of ActiveState of a unit of which no process runs.
INACTIVE = ("inactive", "failed")
#: So many wrong route tables are named; of more only the number is told.
_MOST_TOLD = 5


@dataclass(frozen=True)
class Finding:
    """One fault, and why it is one, in words."""

    fault: Fault
    reason: str


def kernel_findings(resource: EffectiveResource, net: NetState, *, in_service: bool) -> tuple[Finding, ...]:
    """What is wrong with the address and its link on this node. Empty if nothing is.

    :param in_service: The address should be on its interface, which should be up. If false, it should be on no interface of this node.
    """
    if not in_service:
        return tuple(
            Finding(Fault.STRAY, f"it is out of service here, yet {held.address} is on {link.name}") for link, held in net.places(resource.address)
        )
    return (*_link_findings(resource.interface, net), *_address_findings(resource.address, resource.interface, net))


def _link_findings(interface: str, net: NetState) -> tuple[Finding, ...]:
    link = net.find(interface)
    if link is None:
        return (Finding(Fault.LINK, f"there is no link {interface}"),)
    if not link.up:
        return (Finding(Fault.LINK, f"{interface} {'has no carrier' if link.admin_up else 'is down'}"),)
    return ()


def _address_findings(address: Address, interface: str, net: NetState) -> tuple[Finding, ...]:
    reasons = []
    for link, held in net.places(address):
        if link.name != interface:
            reasons.append(f"{held.address} is on {link.name}")
        elif held.address != address:
            reasons.append(f"its prefix length on {interface} is {held.address.prefixlen}")
        elif held.dadfailed:
            reasons.append(f"another host has {address.host}")
        elif precedes_own(link, held):
            reasons.append(f"it came to {interface} before the node's own address, which would go with it")
    if not any(link.name == interface for link, _held in net.places(address)):
        reasons.insert(0, f"{address} is not on {interface}")
    return tuple(Finding(Fault.ADDRESS, reason) for reason in reasons)


def address_health(resource: EffectiveResource, net: NetState) -> tuple[Health, tuple[str, ...]]:
    """The health of the address as its state on this node says where it should be, and the reasons if it is not healthy."""
    found = kernel_findings(resource, net, in_service=resource.in_service is not False)
    return Health.FAILED if found else Health.HEALTHY, tuple(one.reason for one in found)


def look_at_kernel(known: EffectiveResource, net: NetState, *, held: bool, elsewhere: bool) -> CheckResult:
    """Whether it is where it should be, on a link that is up; on a standby nowhere. ``elsewhere``: another node holds the lease."""
    if not held and not elsewhere:
        return CheckResult("kernel", Health.HEALTHY)
    found = kernel_findings(known, net, in_service=held)
    faults = tuple(dict.fromkeys(one.fault for one in found))
    return CheckResult("kernel", Health.FAILED if found else Health.HEALTHY, faults, tuple(one.reason for one in found))


def look_at_dependents(states: Mapping[str, str], *, meant_to_run: bool) -> CheckResult | None:
    """Whether the dependents that are units run, on the node where the resource is in service; ``None`` where there are none.

    :param states: ActiveState by unit.
    :param meant_to_run: Nobody has stopped them, or is about to.
    """
    if not states:
        return None
    dead = tuple(f"{unit} is {state}" for unit, state in states.items() if state in INACTIVE)
    if dead and meant_to_run:
        return CheckResult("dependents", Health.FAILED, (Fault.DEPENDENTS,), dead)
    others = tuple(f"{unit} is {state}" for unit, state in states.items() if state not in (*INACTIVE, "active", "reloading"))
    if dead or others:
        return CheckResult("dependents", Health.UNKNOWN, (), (*(f"{one}: it was stopped on purpose" for one in dead), *others))
    return CheckResult("dependents", Health.HEALTHY)


@dataclass(frozen=True)
class Ec2CheckResult:
    """What EC2 shows of a resource. ``error``: why it could not be asked. ``refusal``: on a standby, why a takeover would fail there.

    ``elastic_ip_on``: the private address of this node that the Elastic IP is associated with. ``lacking``: what is wrong and no run can repair.
    """

    error: str = ""
    refusal: str = ""
    faults: tuple[Fault, ...] = ()
    reasons: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    routes_right: int | None = None
    routes_total: int | None = None
    source_dest_check: bool | None = None
    elastic_ip: str | None = None
    elastic_ip_right: bool | None = None
    elastic_ip_on: str | None = None

    def with_fault(self, fault: Fault, *reasons: str) -> Ec2CheckResult:
        """With one more thing that is wrong."""
        return replace(self, faults=(*self.faults, fault), reasons=(*self.reasons, *reasons))

    @property
    def look(self) -> CheckResult:
        """For the machine: what could not be asked is not known, whatever was wrong before. What no run can repair is no fault, so none begins."""
        if self.error:
            return CheckResult("ec2", Health.UNKNOWN, (), (f"EC2 could not be asked: {self.error}",))
        if self.lacking and not self.faults:
            return CheckResult("ec2", Health.UNKNOWN, (), self.lacking)
        return CheckResult("ec2", Health.FAILED if self.faults else Health.HEALTHY, self.faults, (*self.reasons, *self.lacking))

    def shown(self, ago: float) -> dict[str, Any]:
        """As the status has it."""
        return {
            "checked_ago": round(ago, 1),
            "error": self.error,
            "routes_right": self.routes_right,
            "routes_total": self.routes_total,
            "source_dest_check": self.source_dest_check,
            "elastic_ip": self.elastic_ip,
            "elastic_ip_right": self.elastic_ip_right,
        }


def judge(known: EffectiveResource, parts: Ec2Parts, here: LocalEni, eni: Eni, tables: tuple[RouteTable, ...] | None) -> Ec2CheckResult:
    """What the plans of the modules would change. Raises `HoldfastError` where they refuse to look at it."""
    sight = Ec2CheckResult(elastic_ip=parts.elastic_ip)
    if tables is not None:
        sight = _judge_routes(sight, known, parts, here, eni, tables)
    elif not (known.resource is not None and any(one.tasks for one in known.resource.dependents)):  # such a one may assign the address
        undelivered = plan_interface.undelivered(known.address, here.vpc_cidrs, eni)
        sight = replace(sight, lacking=(undelivered,) if undelivered else ())
    return sight if parts.elastic_ip is None else _judge_elastic_ip(sight, known, parts, parts.elastic_ip, eni)


def _judge_routes(
    sight: Ec2CheckResult, known: EffectiveResource, parts: Ec2Parts, here: LocalEni, eni: Eni, tables: tuple[RouteTable, ...]
) -> Ec2CheckResult:
    destination = str(known.address.host_network)
    wish = desired_routes(known, parts, here, eni)
    found = ((table.id, plan.entry(table, destination)) for table in tables)
    entries = {table: one for table, one in found if one is not None and plan.may_replace(one, wish)}
    if plan_interface.plan_source_dest_check(False, eni):
        sight = sight.with_fault(Fault.SOURCE_DEST_CHECK, f"the source/destination check of {eni.id} is on")
    wrong = plan.plan_routes(wish, tables)
    if wrong:
        told = [f"{destination} in {action.route_table_id} {_leads(entries.get(action.route_table_id))}" for action in wrong[:_MOST_TOLD]]
        more = [f"and in {len(wrong) - _MOST_TOLD} more route tables"] if len(wrong) > _MOST_TOLD else []
        sight = sight.with_fault(Fault.ROUTES, *told, *more)
    right, gone = sum(plan.is_right(one, wish) for one in entries.values()), plan.lost(wish, tables)
    sight = replace(sight, lacking=(plan.without_tables(gone),) if gone else ())
    return replace(sight, routes_right=right, routes_total=len(entries) + len(gone), source_dest_check=eni.source_dest_check)


def desired_routes(known: EffectiveResource, parts: Ec2Parts, here: LocalEni, eni: Eni) -> DesiredRoutes:
    ids = None if parts.route_tables == ("all",) else parts.route_tables
    vpc, missing = parts.extra.get("vpc_id") or here.vpc_id, parts.extra.get("missing", "fail")
    return DesiredRoutes((str(known.address.host_network),), eni.id, ids, vpc, missing)


def _leads(entry: Route | None) -> str:
    if entry is None:
        return "is missing"
    state = {RouteState.BLACKHOLE: ", a black hole", RouteState.FILTERED: ", and EC2 filters it"}.get(entry.state, "")
    return f"leads to {entry.target}{state}"


def desired_elastic_ip(known: EffectiveResource, parts: Ec2Parts, eni: Eni) -> DesiredElasticIp:
    own = next((one.private_ip for one in eni.addresses if one.private_ip == known.address.host), None)
    return DesiredElasticIp(eni.id, parts.extra.get("private_ip_address") or own)


def plan_elastic_ip(known: EffectiveResource, parts: Ec2Parts, public_ip: str, eni: Eni) -> tuple[EipAction, ...]:
    """By the interface alone: it shows what is associated with it, and where else the Elastic IP may be does not matter."""
    now = next((one for one in eni.addresses if one.public_ip == public_ip), None)
    held = None if now is None else Association(now.association_id or "", eni.id, now.private_ip)
    eip = Eip(public_ip, (now.allocation_id or "") if now else "", held)
    return plan_interface.plan_eip(desired_elastic_ip(known, parts, eni), plan_interface.EipState(eip, eni))


def _judge_elastic_ip(sight: Ec2CheckResult, known: EffectiveResource, parts: Ec2Parts, public_ip: str, eni: Eni) -> Ec2CheckResult:
    cause = f"{public_ip} is not associated with {eni.id}"
    try:
        wrong = bool(plan_elastic_ip(known, parts, public_ip, eni))
    except Refused as error:
        wrong, cause = True, error.message
    if wrong:
        return replace(sight.with_fault(Fault.ELASTIC_IP, cause), elastic_ip_right=False)
    return replace(sight, elastic_ip_right=True, elastic_ip_on=next(one.private_ip for one in eni.addresses if one.public_ip == public_ip))
