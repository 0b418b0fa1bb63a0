# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node is to be active: from what every node reported to the successor, or to one refusal with its reason. Pure.

A report is made on each node from the results of the tasks that asked it. All nodes choose from the same reports and come to the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY

#: Of a node without a priority: it comes last. The lowest number is preferred.
_LAST = 10**9

Errors = Sequence[Mapping[str, Any]]
_TIMED_OUT = re.compile("expected time frame|[Tt]imed out")


def preference(priority: int | None, node: str) -> tuple[int, str]:
    """The order in which nodes are preferred: by priority, then by name."""
    return (_LAST if priority is None else priority, node)


def is_transient(errors: Errors) -> bool:
    """Whether the cause may end without a person: nothing was denied, and EC2 or instance metadata did not answer.

    :param errors: As modules return them in ``errors``.
    """
    return not any(error.get("denied") for error in errors) and any(error.get("transient") for error in errors)


@dataclass(frozen=True)
class Links:
    """The interfaces of a resource on a node, as ip_resource_info shows them."""

    primary: str
    backup: str = ""
    primary_up: bool = True
    backup_up: bool = False
    switched_off: bool = False
    recorded: bool = False

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Links:
        """From an entry of ``resources``."""
        return cls(
            primary=shown.get("primary_interface") or "",
            backup=shown.get("backup_interface") or "",
            primary_up=shown.get("primary_state", "up") == "up",
            backup_up=shown.get("backup_state") == "up",
            switched_off=bool(shown.get("primary_switched_off")),
            recorded=bool(shown.get("recorded")),
        )

    @property
    def spare(self) -> str:
        """The interface on which a takeover brings the address up if the primary one is down. A resource in service is for a repair to move."""
        return self.backup if not self.primary_up and self.backup_up and not self.recorded else ""

    @property
    def down(self) -> tuple[str, ...]:
        """The interfaces of the resource if none of them can carry the address."""
        return () if self.primary_up or self.spare else tuple(name for name in (self.primary, self.backup) if name)

    @property
    def unusable(self) -> tuple[str, ...]:
        """As `down`, unless the takeover switches the primary interface on."""
        return () if self.switched_off else self.down


def are_down(names: Sequence[str]) -> str:
    """In words."""
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} down"


def shown_in(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The resource in a result of ip_resource_info; empty if the node showed none."""
    found: Mapping[str, Any] = next(iter(info.get("resources") or ()), {})
    return found


def reached(result: Mapping[str, Any]) -> bool:
    """Whether a node answered the task with this result. ansible-core has no field that marks a time-out in every release, so its words count too."""
    return not (result.get("unreachable") or "timedout" in result or _TIMED_OUT.search(str(result.get("msg", ""))))


def connected(result: Mapping[str, Any]) -> bool:
    """Whether a ping of a node had this result. One that fails says that no module runs there."""
    return not (result.get("unreachable") or result.get("failed"))


def takes_part(
    answer: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], hosts: Sequence[str], counts: Callable[[Mapping[str, Any]], bool] = reached
) -> bool:
    """Whether a node that gave this answer takes part in the run. Raises `Refused` if no node answers.

    :param answers: Of all nodes. ``hosts``: their names, for the message.
    :param counts: Which results are answers.
    """
    if not any(counts(one) for one in answers):
        why = answer.get("msg", "no answer")
        raise Refused(f"{', '.join(hosts)} cannot be reached, so nothing was done; see to the network, to SSH and to ansible_user ({why})")
    return counts(answer)


@dataclass(frozen=True)
class Questions:
    """What else to ask a node that answered.

    :param elastic_ip: The options of ec2_resource with which it would get the Elastic IP; empty if that is not asked.
    :param interface: Which one the takeover would use.
    """

    lease: bool = False
    ec2: bool = False
    elastic_ip: Mapping[str, str] = field(default_factory=dict)
    interface: str = ""


def questions(resource: Mapping[str, Any], cluster: str, info: Mapping[str, Any]) -> Questions:
    """The store is asked for the holder only if no checker knows it, and EC2 only for its parts.

    A checker's readiness may be half a minute old, so EC2 is asked whether a standby could get the Elastic IP.
    """
    shown = shown_in(info)
    if not shown:
        return Questions()
    checker, links, parts = checker_of(shown, cluster), Links.of(shown), resource.get("ec2") or {}
    interface, elastic_ip = links.spare or links.primary, {}
    if parts.get("elastic_ip") and not checker.get("held"):
        elastic_ip = {"interface": interface, "public_ip": parts["elastic_ip"], "preferred_private_ip_address": resource["address"].partition("/")[0]}
        if "private_ip_address" in parts:
            elastic_ip["private_ip_address"] = parts["private_ip_address"]
    return Questions(not checker.get("holder"), bool(parts), elastic_ip, interface)


@dataclass(frozen=True)
class Report:
    """What is known about one node.

    :param host: Its name in the run; empty where only the checker of another node has heard of it.
    :param holder: Who holds the lease according to this node.
    :param held: Its checker holds the lease.
    :param recorded: The resource has been put into service there since the boot.
    :param held_back: The record says that no node may acquire the lease without a person.
    :param takes_over: Its checker brings the resource into service when the lease is handed to it.
    :param cut_off: None of its interfaces can carry the address.
    :param alive: Its checker was heard a moment ago, by the peer channel.
    :param ttl: Seconds that the lease lasts in the store, by the record that was read last; 0 if that is not known.
    :param watched: A checker of this cluster watches the lease there.
    :param spare: The interface on which a takeover brings the address up, if it is not the primary one.
    :param check_off: The interface whose source/destination check is known to be off.
    :param trouble: Why the state of the resource on this node is not known.
    :param reasons: Why it cannot take the resource over.
    """

    node: str
    host: str = ""
    holder: str = ""
    held: bool = False
    recorded: bool = False
    held_back: bool = False
    takes_over: bool = False
    cut_off: bool = False
    alive: bool = True
    watched: bool = False
    priority: int | None = None
    ttl: float = 0.0
    spare: str = ""
    check_off: str = ""
    ec2_error: str = ""
    ec2_errors: tuple[Mapping[str, Any], ...] = ()
    trouble: str = ""
    reasons: tuple[str, ...] = ()
    peers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def order(self) -> tuple[int, str]:
        """The preferred node comes first."""
        return preference(self.priority, self.node)


def checker_of(shown: Mapping[str, Any], cluster: str) -> Mapping[str, Any]:
    """What the checker of this cluster said of the resource; empty where none watches it."""
    lease = shown.get("lease") or {}
    return lease if lease.get("cluster", "") == cluster else {}


def make_report(
    host: str,
    node: str,
    resource: Mapping[str, Any],
    cluster: str,
    *,
    info: Mapping[str, Any],
    read: Mapping[str, Any],
    ec2: Mapping[str, Any],
    elastic_ip: Mapping[str, Any],
) -> Report:
    """The report of one node.

    :param node: The name that the inventory gives the node; empty if the checker knows it best.
    :param resource: The definition.
    :param info: The result of ip_resource_info; ``read``: of lease_info; ``ec2``: of ec2_source_dest_check in check mode; ``elastic_ip``: of
        ec2_resource in check mode. A task that did not run has no ``msg``, nor has one that succeeded.
    """
    shown = shown_in(info)
    lease, checker, links = shown.get("lease") or {}, checker_of(shown, cluster), Links.of(shown)
    record = read.get("record") or {}
    name = node or checker.get("node") or host
    silent = lease.get("error") or "no answer" if lease and not lease.get("cluster") else ""
    trouble = silent if shown else info.get("msg") or "see above"
    reasons = [trouble] if not shown else []
    if "msg" in read:
        reasons.append(read["msg"])
    elif shown and not checker:
        reasons.append(silent or "no checker watches the lease there")
    if checker and not checker.get("watching"):
        reasons.append(f"its checker has trouble: {checker.get('error')}")
    if links.unusable:
        reasons.append(are_down(links.unusable))
    if "msg" in ec2:
        reasons.append(f"EC2: {ec2['msg']}")
    if "msg" in elastic_ip and not is_transient(elastic_ip.get("errors") or ()):
        reasons.append(f"EC2: {elastic_ip['msg']}")
    if not reasons and checker.get("ready") is False and not checker.get("held"):
        reasons.append(checker.get("ready_reason") or "its checker says that it is not ready")
    held = bool(checker.get("held"))
    return Report(
        node=name,
        host=host,
        holder=name if held else checker.get("holder") or record.get("holder") or "",
        held=held,
        recorded=links.recorded,
        held_back=record.get("handoff_to") == NOBODY,
        takes_over=bool(checker.get("takes_over")),
        cut_off=bool(links.unusable),
        watched=bool(checker),
        priority=(resource.get("priority") or {}).get(name),
        ttl=float(record.get("ttl") or checker.get("ttl") or 0),
        spare=links.spare,
        check_off=links.spare or links.primary if ec2.get("before") is False else "",
        ec2_error=ec2.get("msg") or "",
        ec2_errors=tuple(ec2.get("errors") or ()),
        trouble=trouble,
        reasons=tuple(reasons),
        peers=tuple(checker.get("peers") or ()),
    )


def _heard_of(report: Report) -> list[Report]:
    """The other nodes as the checker of this one hears of them."""
    found = []
    for peer in report.peers:
        if peer["node"] == report.node:
            continue
        reason = "" if peer["alive"] and peer.get("ready") else "it is not heard of" if not peer["alive"] else peer.get("reason") or "it is not ready"
        found.append(
            Report(
                node=peer["node"],
                held=bool(peer.get("held")),
                alive=bool(peer["alive"]),
                priority=peer.get("priority"),
                reasons=(reason,) if reason else (),
            )
        )
    return found


@dataclass(frozen=True)
class Choice:
    """``active``: the report of the node that releases; ``None`` if no node has to. ``standby``: the node that takes over."""

    holder: str
    active: Report | None
    standby: Report


@dataclass(frozen=True)
class Wish:
    """What the run is asked for.

    :param to: A node or a host of the run; empty for the preferred one.
    :param automatic: No person has asked for it.
    :param alone: This is the only host of the run: other nodes are reached by the lease alone.
    :param failed: By host, why it could not be repaired there; ``only_ec2``: by host, the errors if only EC2 was to blame.
    """

    tag: str
    to: str = ""
    automatic: bool = False
    alone: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)
    only_ec2: Mapping[str, Errors] = field(default_factory=dict)


def choose(wish: Wish, me: str, reports: Sequence[Report]) -> Choice:
    """The active node and its successor. Raises `Refused`, in one line.

    :param me: The host that asks.
    """
    mine = next(report for report in reports if report.host == me)
    known = [*reports, *(_heard_of(mine) if wish.alone else ())]
    holder = next((report.node for report in reports if report.held), "") or next((report.holder for report in reports if report.holder), "")
    if wish.automatic and not holder and any(report.held_back for report in reports):
        raise Refused(
            f"{wish.tag} was taken out of service, or could not be started, and waits for a person; see why, then "
            f"holdfast.ha.switchover -e tag={wish.tag} -e to=NODE"
        )
    unfinished = [report for report in reports if wish.automatic and report.node == holder and not report.recorded]
    wanted = [report for report in unfinished if not report.cut_off] or _wanted(wish, holder, mine, known)
    standby = min((report for report in wanted if not report.reasons), key=lambda report: report.order, default=None)
    if standby is None:
        unfit = [*(report for report in wanted if report.reasons), *(report for report in unfinished if report.cut_off)]
        raise Refused(_nobody(wish, holder, mine, known, unfit))
    held = [report for report in known if report.node == holder]
    if wish.alone and holder != mine.node and any(report.alive and not report.host for report in held):
        raise Refused(f"{holder} holds {wish.tag} and is alive; run this on {holder}, or from a controller")
    active = next((report for report in held if report.host and report.host != standby.host), None)
    if active is not None:
        _refuse_release(wish, active)
    return Choice(holder, active, standby)


def _wanted(wish: Wish, holder: str, mine: Report, known: Iterable[Report]) -> list[Report]:
    """The nodes that are asked for. A run on one node alone puts nothing into service elsewhere, unless it is this node that releases."""
    within = [report for report in known if report.host or not wish.alone or holder == mine.node]
    if not wish.to:
        return [report for report in within if report.node != holder]
    named = next((report.node for report in within if report.host == wish.to), wish.to)
    return [report for report in within if report.node == named]


def _nobody(wish: Wish, holder: str, mine: Report, known: Iterable[Report], unfit: Iterable[Report]) -> str:
    releases = wish.alone and holder == mine.node
    if releases and wish.to and mine.peers:
        why = f"{wish.to} is none of the nodes that this one hears of, {', '.join(peer['node'] for peer in mine.peers)}"
    elif releases:
        why = "no ready standby is known on this node; run this from a controller, against all nodes"
    elif wish.alone and wish.to:
        why = f"{wish.to} is another node; run this there, or from a controller"
    else:
        why = f"{wish.to or 'another node'} cannot be reached, or is not in this run"
    each = "; ".join(f"{report.node}: {', '.join(report.reasons)}" for report in unfit)
    unknown = "; whether the service works is unknown, as EC2 answers no node" if all(report.ec2_error for report in known if report.host) else ""
    return f"no node is ready to take {wish.tag} over, so nothing was released ({each or why}){unknown}"


def _refuse_release(wish: Wish, active: Report) -> None:
    if active.trouble:
        raise Refused(f"{active.node} holds {wish.tag} and could not be looked at, so nothing was released: {active.trouble}")
    if not wish.automatic:
        return
    # Silence and throttling of EC2 say nothing about the service, even if only this node has met them. A denial is the node's own, and stays.
    failed = active.host in wish.failed
    errors = wish.only_ec2.get(active.host, ()) if failed else active.ec2_errors
    if is_transient(errors):
        silence = wish.failed[active.host] if failed else active.ec2_error
        raise Refused(f"whether {wish.tag} works is unknown, as EC2 does not answer {active.node} ({silence}), so nothing was released")
