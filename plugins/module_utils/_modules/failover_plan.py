# SPDX-License-Identifier: GPL-3.0-or-later
"""What failover_plan decides: from the facts that the role failover passes to one decision of `_lifecycle`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import candidates, handover
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import Choice, Report
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.handover import Operation


@dataclass(frozen=True)
class Facts:
    """What the role knows. A result of a task that did not run is empty, or has no ``msg``."""

    given: Mapping[str, Any]

    def result(self, name: str) -> Mapping[str, Any]:
        """The result of a task."""
        return self.given.get(name) or {}

    @property
    def resource(self) -> Mapping[str, Any]:
        """The definition, with what differs on this host."""
        resource: Mapping[str, Any] = self.given["resource"]
        return resource

    @property
    def tag(self) -> str:
        return str(self.given["tag"])

    @property
    def host(self) -> str:
        return str(self.given["host"])

    @property
    def shown(self) -> Mapping[str, Any]:
        """The resource as ip_resource_info showed it last."""
        return candidates.shown_in(self.result("info"))

    @property
    def checker(self) -> Mapping[str, Any]:
        return candidates.checker_of(self.shown, str(self.given["cluster"]))

    @property
    def reports(self) -> list[Report]:
        """One of each node that answered."""
        return [_report(given) for given in self.given["reports"]]

    @property
    def mine(self) -> Report:
        return _report(self.given["report"])

    @property
    def choice(self) -> Choice:
        """The plan that was made before."""
        plan = self.given["plan"]
        return Choice(plan["holder"], _report(plan["active"]) if plan["active"] else None, _report(plan["standby"]))


def _report(given: Mapping[str, Any]) -> Report:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Report(**plain)


def _reachable(facts: Facts) -> dict[str, Any]:
    given = facts.given
    return {"reached": candidates.takes_part(facts.result("answer"), given["answers"], given["all_hosts"], candidates.connected)}


def _questions(facts: Facts) -> dict[str, Any]:
    if facts.tag not in facts.given["tags"]:
        raise Refused(f"No resource has the tag {facts.tag}; there is {', '.join(facts.given['tags']) or 'none'}.")
    if facts.given["store"] == "none":
        raise Refused("there is no store of leases, so nothing can be failed over; set holdfast_store")
    part = candidates.takes_part(facts.result("answer"), facts.given["answers"], facts.given["all_hosts"])
    return {"reached": part, **asdict(candidates.questions(facts.resource, str(facts.given["cluster"]), facts.result("info")))}


def _make_report(facts: Facts) -> dict[str, Any]:
    given = {name: facts.result(name) for name in ("info", "read", "ec2", "elastic_ip")}
    return asdict(candidates.make_report(facts.host, str(facts.given["node"]), facts.resource, str(facts.given["cluster"]), **given))


def _plan(facts: Facts) -> dict[str, Any]:
    given, mine, operation = facts.given, facts.mine, Operation(facts.given["operation"])
    if operation is Operation.RELEASE:
        choice = handover.release_here(mine, facts.tag, given["handoff_to"])
    elif operation is Operation.TAKEOVER:
        choice = handover.take_over_here(mine, facts.tag)
    else:
        failed, only_ec2 = (
            {host: found[facts.tag] for host, found in zip(given["hosts"], given[name]) if facts.tag in found} for name in ("failed", "only_ec2")
        )
        wish = candidates.Wish(facts.tag, given["to"], given["automatic"], len(given["all_hosts"]) == 1, failed, only_ec2)
        choice = candidates.choose(wish, facts.host, facts.reports)
    elastic_ip = bool((facts.resource.get("ec2") or {}).get("elastic_ip"))
    steps = handover.steps(operation, choice, facts.host, check=given["check"], forks=given["forks"], elastic_ip=elastic_ip)
    shown = replace(choice, active=choice.active and replace(choice.active, peers=()), standby=replace(choice.standby, peers=()))
    return {**asdict(shown), "steps": steps, "lease": asdict(handover.lease_options(choice, facts.host, float(given["wait"])))}


def _released(facts: Facts) -> dict[str, Any]:
    handover.released(facts.tag, facts.choice.holder, facts.given["quieted"])
    return {}


def _standby_prepared(facts: Facts) -> dict[str, Any]:
    handover.standby_prepared(facts.tag, facts.choice.standby, facts.given["hosts"])
    return {}


def _standby_reached(facts: Facts) -> dict[str, Any]:
    handover.standby_reached(facts.choice.standby, facts.given["hosts"])
    return {}


def _join(facts: Facts) -> dict[str, Any]:
    joins = handover.joins(facts.choice, facts.result("held"))
    if joins:  # a standby that acquired an expired lease goes on, whatever became of the release
        handover.released(facts.tag, facts.choice.holder, facts.given["quieted"])
    return {"join": joins}


def _joined(facts: Facts) -> dict[str, Any]:
    handover.joined(facts.tag, facts.mine.node, facts.result("done"), facts.result("read").get("record") or {})
    return {}


def _activate(facts: Facts) -> dict[str, Any]:
    given = facts.given
    return asdict(
        handover.activate(
            facts.resource,
            facts.mine.node,
            held=facts.result("held"),
            shown=facts.shown,
            checker=facts.checker,
            expired=given["expired"],
            powered_off=given["powered_off"].split(","),
            joined=bool(given["joined"]),
        )
    )


def _address_failed(facts: Facts) -> dict[str, Any]:
    return asdict(handover.address_failed(handover.cause_of(facts.result("failure")), facts.shown, facts.given["prepared"]))


def _without_links(facts: Facts) -> dict[str, Any]:
    handover.without_links(facts.tag, facts.mine.node, facts.given["down"])
    return {}


def _held(facts: Facts) -> dict[str, Any]:
    handover.held(facts.tag, facts.checker, facts.result("held")["epoch"])
    return {}


def _in_store(facts: Facts) -> dict[str, Any]:
    handover.held_in_store(facts.tag, facts.mine.node, facts.result("read").get("record") or {}, facts.result("held")["epoch"])
    return {}


def _ec2_failed(facts: Facts) -> dict[str, Any]:
    failure = facts.result("failure")
    return {"pending": handover.ec2_failed(handover.cause_of(failure), failure.get("errors") or ())}


def _kept(facts: Facts) -> dict[str, Any]:
    cause = handover.cause_of(facts.result("failure"))
    raise Refused(handover.kept(facts.tag, facts.mine.node, cause, back=facts.result("back"), stopped=facts.given["stopped"]))


def _not_acquired(facts: Facts) -> dict[str, Any]:
    cause, hosts = handover.cause_of(facts.result("failure")), facts.given["hosts"]
    raise Refused(handover.not_acquired(facts.tag, facts.choice, cause, quieted=bool(facts.given["quieted"]), hosts=hosts))


def _result(facts: Facts) -> dict[str, Any]:
    given = facts.given
    lacking = given["lacking"] if handover.Step.EC2 in given["activation"]["steps"] else ()
    handover.verify(facts.tag, facts.mine.node, facts.shown, check=given["check"], pending=given["pending"], lacking=lacking)
    return {}


def _not_freed(facts: Facts) -> dict[str, Any]:
    cause, operation = handover.cause_of(facts.result("failure")), Operation(facts.given["operation"])
    handover.not_freed(operation, facts.tag, facts.mine.node, cause)
    return {}


def _new_holder(facts: Facts) -> dict[str, Any]:
    return {"holder": handover.new_holder(facts.tag, facts.choice, facts.result("read").get("record") or {})}


def _rolled_back(facts: Facts) -> dict[str, Any]:
    activation, fence = facts.given["activation"], facts.result("fence")
    due = handover.Step.FENCE in activation["steps"] and (not fence or fence.get("failed"))
    unfenced = activation["unfenced"] if due else None
    cause = handover.cause_of(facts.result("failure"))
    raise Refused(
        handover.rolled_back(facts.tag, facts.mine.node, cause, freed=facts.result("freed"), released=facts.result("released"), unfenced=unfenced)
    )


#: By the name that the role gives it.
DECISIONS: Mapping[str, Callable[[Facts], dict[str, Any]]] = {
    "reachable": _reachable,
    "questions": _questions,
    "report": _make_report,
    "plan": _plan,
    "standby_prepared": _standby_prepared,
    "standby_reached": _standby_reached,
    "released": _released,
    "join": _join,
    "joined": _joined,
    "activate": _activate,
    "address_failed": _address_failed,
    "ec2_failed": _ec2_failed,
    "kept": _kept,
    "not_acquired": _not_acquired,
    "rolled_back": _rolled_back,
    "without_links": _without_links,
    "held": _held,
    "in_store": _in_store,
    "result": _result,
    "not_freed": _not_freed,
    "new_holder": _new_holder,
}


def decide(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The decision as plain values, with enumerations as their values. Raises `Refused`, in one line."""
    plain: dict[str, Any] = _plain(DECISIONS[name](Facts(facts)))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value.value) if isinstance(value, (Operation, handover.Step)) else value
