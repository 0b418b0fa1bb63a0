# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a local recovery: on which node it runs, its steps, and what follows from the answer to a step. Pure.

Input is what modules on the nodes returned. A plan holds the options of one module for each step. The role ``local_recovery`` runs the steps in their
order, and asks again after an answer that changes the plan. A run may end after any step. The plan of the next run then gives what is left, because:

1. Each step is a module that changes nothing that is in the desired state already. A plan repeats finished steps without effect.
2. ``ip_swap_interface`` records the new interface. A plan made after it points EC2 at that interface.
3. No entry of a route table targets an interface before its source/destination check is off. ``ec2_source_dest_check`` precedes ``ec2_resource``,
   which keeps the same order if it has both to do.
4. A step on EC2 comes after the address. Missing instance metadata therefore never prevents the repair of the address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import (
    BadInput,
    CommandFailed,
    HoldfastError,
    NotConverged,
    NotFound,
    PartlyMissing,
    ProbeFailed,
    Refused,
)
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.ec2_repair import resource_options
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import source_of, targets_of

#: The options of a module.
Options = Mapping[str, Any]
#: What a task returned: the return values of its module, and ``failed`` or ``skipped`` by Ansible.
Answer = Mapping[str, Any]

#: What a recovery repairs by default. If the address moves to another interface, it repairs all of it.
FAULTS = (Fault.ADDRESS, Fault.SOURCE_DEST_CHECK, Fault.ROUTES, Fault.ELASTIC_IP)
#: The kinds of failure that another interface may cure. A duplicate address and bad input are the same on each interface.
_OF_THE_INTERFACE = frozenset({CommandFailed.kind, NotConverged.kind, NotFound.kind, ProbeFailed.kind})
_NO_CHECKER = "No checker watches the lease here yet. This shows what would be done without; a run that is no check wants it, see holdfast.ha.install"


class NotRepaired(HoldfastError):
    """A recovery ends here. ``returns`` has the ``errors`` of the cause and what the run needs to know of it."""

    kind = "not_repaired"


def select(tags: Sequence[str], known: Sequence[str]) -> list[int]:
    """The resources to recover, by their place in ``known``; without ``tags`` all. Raises `BadInput` for a tag that is not known."""
    unknown = [tag for tag in dict.fromkeys(tags) if tag not in known]
    if unknown:
        raise BadInput(f"No resource has the tag {', '.join(unknown)}; there is {', '.join(known)}.", path="local_recovery_tags")
    return [index for index, tag in enumerate(known) if not tags or tag in tags]


@dataclass(frozen=True)
class Choice:
    """Whether this host repairs the resource, whether it is in service on this host, and if there is nothing to do, why."""

    here: bool
    in_service: bool
    notice: str = ""


def choose(tag: str, host: str, alone: bool, observed: Mapping[str, Answer], cluster: str | None) -> Choice:
    """Choose the node that repairs a resource. Only one node may hold it, and a host that did not answer proves nothing.

    :param host: This host.
    :param alone: This host is the only one of the run, whether others could be reached or not.
    :param observed: What ip_resource_info returned on each host that answered, this one included.
    :param cluster: The name of the cluster if a lease decides; else ``None``.

    Raises `Refused` unless exactly one node is the active one.
    """
    seen = {name: answer["resources"][0] for name, answer in observed.items() if answer.get("resources")}
    claims = [name for name, one in seen.items() if _in_service(one, cluster)]
    lease = seen.get(host, {}).get("lease") or {}
    ruled = _is_ruled(lease, cluster)
    if alone and ruled and not lease.get("held") and lease.get("holder"):
        return Choice(False, host in claims, f"{lease['holder']} holds {tag}: there is nothing to repair here")
    holders = [host] if alone and not ruled else claims
    if len(holders) == 1:
        return Choice(holders == [host], host in claims)
    if holders:
        raise Refused(f"in service on {' and '.join(holders)}; limit the run to the one that should keep it", tag=tag)
    if ruled and lease.get("held"):
        raise Refused("its lease is held here, but it is not in service yet; run holdfast.ha.recover", tag=tag)
    advice = f"run holdfast.ha.switchover -e tag={tag} -e to=NODE" if ruled else "limit the run to the node that should have it (--limit NODE)"
    raise Refused(f"in service on none of the hosts that answered; {advice}", tag=tag)


def _is_ruled(lease: Mapping[str, Any], cluster: str | None) -> bool:
    return cluster is not None and lease.get("cluster", "-") == cluster


def _in_service(observed: Mapping[str, Any], cluster: str | None) -> bool:
    lease = observed.get("lease") or {}
    active = not _is_ruled(lease, cluster) or (lease.get("held") and observed.get("recorded"))
    return bool(observed.get("in_service") and active)


# --- the steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """What a plan is made from.

    :param resource: The definition of the resource for this node, without the options of AWS; empty if only the node knows it.
    :param observed: What ip_resource_info returned for it.
    :param interfaces: What ec2_local_eni_info returned; empty off EC2.
    :param cluster: The name of the cluster if a lease decides who has the address; else ``None``.
    :param check: Check mode.
    """

    resource: Mapping[str, Any]
    observed: Mapping[str, Any]
    interfaces: Answer = field(default_factory=dict)
    cluster: str | None = None
    check: bool = False

    @property
    def address(self) -> str:
        return str(self.resource.get("address") or self.observed.get("address"))

    @property
    def host(self) -> str:
        """The address alone, in canonical form."""
        return str(ipaddress.ip_interface(self.address).ip)

    @property
    def parts(self) -> Ec2Parts | None:
        """What belongs to the resource on EC2."""
        given = self.resource.get("ec2")
        if given is None:
            return None
        tables = given.get("route_tables")
        extra = {name: str(given[name]) for name in ("vpc_id", "missing", "private_ip_address") if given.get(name) is not None}
        return Ec2Parts(None if tables is None else ("all",) if tables == "all" else tuple(tables), given.get("elastic_ip"), extra=extra)

    @property
    def blind(self) -> tuple[Answer, ...]:
        """Why it is not known which network interface of EC2 is behind a link; empty if it is known."""
        return (_cause(self.interfaces),) if self.parts is not None and "msg" in self.interfaces else ()

    @property
    def foreseen(self) -> bool:
        """The check before there is a checker: it shows what a run without one would do."""
        return self.cluster is not None and self.check and not self.observed.get("lease")

    def router(self, link: str) -> str | None:
        """The VPC's router in the subnet of a link."""
        name = "gateway_ipv6" if ":" in self.host else "gateway"
        return next((str(one[name]) for one in self._behind(link) if one.get(name)), None)

    def own(self, link: str) -> list[str]:
        """The addresses that EC2 itself assigned to a link, without the protected one."""
        name = "ipv6_addresses" if ":" in self.host else "private_ip_addresses"
        return [str(own) for one in self._behind(link) for own in one.get(name) or () if own != self.host]

    def gateway(self, link: str) -> Options:
        """The option ``gateway`` of modules, if it is known."""
        return _given(gateway=self.resource.get("gateway") or self.router(link))

    def _behind(self, link: str) -> list[Mapping[str, Any]]:
        return [one for one in self.interfaces.get("network_interfaces") or () if one.get("interface") == link]


@dataclass(frozen=True)
class Plan:
    """The steps that come next.

    :param interface: The interface of the address once the steps have run.
    :param steps: The options of each module, by its name, in the order in which they run.
    :param refused: What could not be done on EC2. It fails the recovery once all else was tried.
    :param lacking: What no run on any node can repair. It is reported at the end and moves nothing.
    :param again: It repairs what broke during the recovery. This happens once.
    """

    interface: str
    steps: Mapping[str, Options] = field(default_factory=dict)
    refused: tuple[Answer, ...] = ()
    lacking: tuple[str, ...] = ()
    again: bool = False
    notice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As `plan_of` reads it."""
        return {**asdict(self), "refused": list(self.refused), "lacking": list(self.lacking)}


def plan_of(content: Mapping[str, Any]) -> Plan:
    """The reverse of `Plan.as_dict`; the other values of a module's answer do not matter."""
    values = {name: content[name] for name in ("interface", "steps", "again", "notice")}
    return Plan(**values, refused=tuple(content["refused"]), lacking=tuple(content["lacking"]))


def repair(now: Situation, faults: Collection[str]) -> Plan:
    """The steps on the node that holds the resource: the address on its present interface, then what belongs to it on EC2."""
    plan = point(now, faults)
    if Fault.ADDRESS not in faults:
        return plan
    link = plan.interface
    if now.cluster is None or now.foreseen:
        address: dict[str, Options] = {
            "ip_address": {"address": now.address, "interface": link, **now.gateway(link), **_given(label=now.resource.get("label"))}
        }
    else:
        address = {"lease_address": _leased(now, link)}
    probe = {} if now.check or now.blind else {"ip_probe": _probe(now, link)}
    return replace(plan, steps={**address, **probe, **plan.steps}, notice=_NO_CHECKER if now.foreseen else "")


def point(now: Situation, faults: Collection[str]) -> Plan:
    """The steps on EC2 alone, for the present interface."""
    return _point(now, str(now.observed["primary_interface"]), faults)


def move(now: Situation) -> Plan:
    """The steps that move the address to the backup interface because a person asks for it. In service, everything on EC2 follows."""
    link = now.observed.get("backup_interface")
    if link is None:  # the module's refusal names what to do
        return Plan(str(now.observed["primary_interface"]), {"ip_swap_interface": {"tag": now.observed["tag"]}})
    plan = _point(now, link, FAULTS) if now.observed.get("in_service") else Plan(link)
    return replace(plan, steps={"ip_swap_interface": _swap(now, link), **plan.steps})


def after_address(now: Situation, plan: Plan, failure: Answer) -> Plan:
    """The steps after the address could not be put up, or was not answered: the move to the backup interface, and all that follows.

    Raises `NotRepaired` if there is no backup interface, or if the interface is not to blame.
    """
    cause, link = _cause(failure), now.observed.get("backup_interface")
    if link is None or _OF_THE_INTERFACE.isdisjoint(_kinds(cause)):
        hint = " (no backup interface is defined)" if link is None else ""
        raise NotRepaired(f"{cause['msg']}{hint}", returns={"errors": cause["errors"]})
    leased = {} if now.cluster is None or now.foreseen else {"lease_address": _leased(now, link)}
    steps = {"ip_swap_interface": _swap(now, link), **leased, **_point(now, link, FAULTS).steps}
    return replace(plan, interface=link, steps=steps)


def after_ec2(now: Situation, plan: Plan, answers: Sequence[Answer]) -> Plan:
    """What is left after the answers of EC2: replies from behind the Elastic IP have to use its interface.

    What a step was refused does not keep the others from being tried. Raises `NotRepaired` if something was refused and nothing is left to try.
    """
    failed = [_cause(answer) for answer in answers if answer.get("failed")]
    gone = [cause["msg"] for cause in failed if _kinds(cause) == {PartlyMissing.kind}]
    refused = (*plan.refused, *(cause for cause in failed if _kinds(cause) != {PartlyMissing.kind}))
    route = next(filter(None, (source_route(answer, now.host, plan.interface) for answer in answers)), None)
    steps = {"ip_source_route": {**route, **now.gateway(plan.interface)}} if route else {}
    left = replace(plan, steps=steps, refused=refused, lacking=tuple(dict.fromkeys([*plan.lacking, *gone])))
    if refused and not steps:
        message = "; ".join(dict.fromkeys(cause["msg"] for cause in refused))
        errors = [error for cause in refused for error in cause["errors"]]
        raise NotRepaired(message, returns={**left.as_dict(), "errors": errors, "only_ec2": {now.observed["tag"]: errors}})
    return left


def source_route(answer: Answer, host: str, link: str) -> dict[str, str]:
    """The options of ip_source_route that follow from what ec2_resource returned; empty if replies use the right interface already.

    :param host: The protected address alone.
    :param link: The interface with which the Elastic IP is associated.
    """
    private = ((answer.get("elastic_ip") or {}).get("after") or {}).get("private_ip_address")
    return {"address": private, "interface": link} if private not in (None, host) else {}


def _point(now: Situation, link: str, faults: Collection[str]) -> Plan:
    parts = now.parts
    if parts is None or now.blind:
        return Plan(link, refused=now.blind)
    steps: dict[str, Options] = {}
    if Fault.SOURCE_DEST_CHECK in faults and Fault.ROUTES not in faults and parts.route_tables is not None:
        steps["ec2_source_dest_check"] = {"interface": link, "enabled": False}
    options = resource_options(parts, now.host, link, faults, {})
    return Plan(link, {**steps, **({"ec2_resource": options} if options else {})})


def _leased(now: Situation, link: str) -> Options:
    return {"cluster": now.cluster, "tag": now.observed["tag"], **now.gateway(link)}


def _swap(now: Situation, link: str) -> Options:
    return {"tag": now.observed["tag"], "to": link, **now.gateway(link), **_probe_options(now, link)}


def _probe(now: Situation, link: str) -> Options:
    return {"address": source_of(now.parts, now.address, now.own(link)), "interface": link, **_probe_options(now, link)}


def _probe_options(now: Situation, link: str) -> Options:
    defined = now.resource.get("probe") or {}
    targets = targets_of(now.parts, defined.get("targets") or (), now.router(link))
    return _given(**{**defined, "targets": list(targets) or None})


# --- the end ------------------------------------------------------------------------------------------------------------


def verified(now: Situation, plan: Plan) -> Plan:
    """What is left once all steps have run: nothing, or the repair of what broke meanwhile. Raises `NotRepaired` if that was tried before."""
    if now.check or now.observed.get("health") == "healthy":
        return replace(plan, steps={})
    if plan.again:
        raise NotRepaired(f"still not healthy after recovery: {'; '.join(now.observed.get('reasons') or ())}")
    return replace(repair(now, [Fault.ADDRESS]), lacking=plan.lacking, again=True)


def report(failed: Mapping[str, str], incomplete: Mapping[str, str], cluster: str | None) -> None:
    """Raise `NotRepaired` with the message of each resource, if there is any.

    :param failed: Why a resource was not recovered, by tag.
    :param incomplete: What no run can repair, by tag.

    Its return value ``proceed``: whether the playbook ``recover`` has more to do. Without a lease nothing can move to another node.
    """
    messages = {**failed, **incomplete}
    if messages:
        proceed = cluster is not None if failed else True
        raise NotRepaired("; ".join(f"{tag}: {messages[tag]}" for tag in sorted(messages)), returns={"proceed": proceed})


def reads(now: Situation) -> tuple[dict[str, Options], list[str]]:
    """What the status needs besides the observation: the step ``ec2_resource``, to run in check mode, and the units of the dependents."""
    if not now.observed.get("in_service"):
        return {}, []
    units = [one["service"] for one in now.resource.get("dependents") or () if one.get("service")]
    return dict(point(replace(now, interfaces={}), FAULTS).steps), units


def status_entry(now: Situation, answer: Answer, states: Mapping[str, str]) -> dict[str, Any]:
    """The entry of the status table for one resource.

    :param answer: What ec2_resource returned in check mode: what it would change is what is wrong.
    :param states: ActiveState of the dependents that are units.
    """
    serving = bool(now.observed.get("in_service"))
    routes = [route for route in answer.get("routes") or () if str(route["destination"]).partition("/")[0] == now.host]
    before, after = ((answer.get("elastic_ip") or {}).get(when) for when in ("before", "after"))
    failure = _cause(answer) if answer.get("failed") else None
    return {
        **now.observed,
        "node": str(now.observed.get("info")).split()[0],
        "ec2": {
            "error": failure["msg"] if failure and _kinds(failure) != {PartlyMissing.kind} else "",
            # An entry that targets a gateway or an endpoint is not the resource's.
            "routes": [route for route in routes if str(route["after"]).startswith("eni-")],
            "source_dest_check": (answer.get("source_dest_check") or {}).get("before"),
            "elastic_ip": now.parts.elastic_ip if now.parts else None,
            "elastic_ip_before": (before or {}).get("network_interface_id"),
            "elastic_ip_after": (after or {}).get("network_interface_id"),
            "elastic_ip_right": before == after,
        },
        "dependents": [_dependent(one, states) for one in now.resource.get("dependents") or ()] if serving else [],
    }


def _dependent(one: Mapping[str, Any], states: Mapping[str, str]) -> dict[str, str]:
    unit = one.get("service")
    return {"name": one["name"], "kind": "service" if unit else "tasks", "state": states.get(unit or "", "unknown")}


def _cause(answer: Answer) -> dict[str, Any]:
    """The part of a failed answer that is passed on."""
    return {"msg": str(answer.get("msg") or "see above"), "errors": list(answer.get("errors") or ())}


def _kinds(cause: Answer) -> set[str]:
    return {error.get("kind", "") for error in cause["errors"]}


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
