# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release, a takeover and a rollback, in their order. Pure.

The order is the invariant. It protects data, so nobody changes it without these reasons:

1. Nothing is released before a standby is ready and has prepared its network interface. An attempt that cannot succeed costs no outage.
2. The dependents stop before the address is removed. A dependent that does not stop keeps the resource on its node.
3. The address is removed before the lease is released. Whoever acquires a released lease may bring the address up at once.
4. An old holder that did not release is fenced before the address is up on the new one.
5. The address is up only while the lease is held. EC2 is changed after that, and only after a lease that may be old was read again from the store.
6. Dependents start last, one after another, each after a check that the lease is still held.
7. A rollback goes backwards. It releases the lease last, only with the address gone, and to nobody: otherwise the checkers would send a resource
   that does not start from node to node.

Each step leaves alone what is already in the desired state, so a run that was interrupted is repeated from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import Choice, Errors, Links, Report, are_down, is_transient

#: Seconds for which a standby waits for a lease that the active node is releasing.
_RELEASE_PATIENCE = 30.0
#: A lease of a node that is gone ends after its ttl. Clocks may differ by a fifth of it, and the store needs a moment.
_EXPIRY_FACTOR, _EXPIRY_MARGIN = 1.2, 5.0
#: Seconds that a lease may last if its checker, of an older version, does not say how long.
_LONG_TTL = 30.0


class Operation(str, Enum):
    """What a run is to do: both halves, or one of them on this node alone."""

    FAILOVER = "failover"
    RELEASE = "release"
    TAKEOVER = "takeover"


class Step(str, Enum):
    """One step of a node in a hand-over."""

    PREPARE = "prepare"
    STOP_DEPENDENTS = "stop_dependents"
    REMOVE_ADDRESS = "remove_address"
    #: Release, or hold. On both nodes at the same time, so that the standby already waits when the active node releases.
    TRANSFER = "transfer"
    #: As `TRANSFER`, if a run can do only one host at a time.
    TRANSFER_FIRST = "transfer_first"
    ACTIVATE = "activate"
    FENCE = "fence"
    ADDRESS = "address"
    VERIFY_LEASE = "verify_lease"
    EC2 = "ec2"
    START_DEPENDENTS = "start_dependents"
    PROBE = "probe"
    RECORD = "record"
    DISASSOCIATE = "disassociate"
    WAIT_FOR_STANDBY = "wait_for_standby"


def steps(operation: Operation, choice: Choice, host: str, *, check: bool, forks: int, elastic_ip: bool = False) -> tuple[Step, ...]:
    """The steps of one host of the run, in order. `activate` has those of the takeover itself.

    :param check: The run changes nothing.
    :param forks: So many hosts work at the same time.
    :param elastic_ip: The resource has one.
    """
    active, standby = choice.active, choice.standby
    if active is not None and host == active.host:
        found = [Step.STOP_DEPENDENTS, *([] if active.watched else [Step.REMOVE_ADDRESS])]
        found += [Step.TRANSFER_FIRST if forks < 2 else Step.TRANSFER, Step.RECORD]
        found += [Step.DISASSOCIATE] if elastic_ip else []
        return (*found, Step.WAIT_FOR_STANDBY) if operation is Operation.FAILOVER and not standby.host and not check else tuple(found)
    if host != standby.host:
        return ()
    alone = active is None or check or not standby.takes_over  # a check waits for no checker, and shows who would hold the lease
    return (Step.PREPARE, *((Step.TRANSFER,) if alone else ()), *(() if check else (Step.ACTIVATE,)), Step.RECORD)


def standby_prepared(tag: str, standby: Report, hosts: Sequence[str]) -> None:
    """Raises `Refused` if the standby left the run while it prepared. ``hosts``: of the run, as far as they answer."""
    if standby.host not in ("", *hosts):
        raise Refused(f"{standby.node} could not prepare for {tag}, so nothing was released; see its error above")


def standby_reached(standby: Report, hosts: Sequence[str]) -> None:
    """Raises `Refused` if the standby left the run since then."""
    if standby.host not in ("", *hosts):
        raise Refused(f"{standby.node} can no longer be reached, so nothing was released")


def released(tag: str, holder: str, quieted: bool | None) -> None:
    """Raises `Refused` if the release has failed, so that there is nothing to take over.

    :param quieted: The active node has stopped the dependents; ``None`` if it is not in the run.
    """
    if quieted is False:
        raise Refused(f"{holder} could not release {tag} in order, so it stays there; see its error above")


def joined(tag: str, node: str, shown: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raises `Refused` if the checker of the standby could not bring the resource into service, and released it to nobody.

    :param shown: The resource in the status of that checker; ``record``: in the store.
    """
    if not shown.get("held") and record.get("handoff_to") == NOBODY:
        cause = (shown.get("last_recovery") or {}).get("message")
        raise Refused(cause or f"{tag} was taken out of service meanwhile; see the events of {node}")


def joins(choice: Choice, held: Mapping[str, Any]) -> bool:
    """Whether the checker of the standby brings the resource into service, and this run waits for it: two runs would start the dependents twice.

    :param held: The result of the module lease on the standby; empty if it did not run.
    """
    return choice.active is not None and (choice.standby.takes_over or (bool(held) and not held.get("changed")))


@dataclass(frozen=True)
class LeaseOptions:
    """Options of the module lease. ``wait`` in seconds."""

    state: str
    handoff_to: str
    wait: float


def lease_options(choice: Choice, host: str, wait: float) -> LeaseOptions:
    """How this host takes part in the transfer of the lease.

    :param wait: Seconds that the user gave for a lease that was not released; 0 for as long as the lease of a node that is gone can last.
    """
    ttl = choice.standby.ttl or _LONG_TTL
    longest = _RELEASE_PATIENCE if choice.active is not None else ttl * _EXPIRY_FACTOR + _EXPIRY_MARGIN
    releases = choice.active is not None and host == choice.active.host
    return LeaseOptions("released" if releases else "held", choice.standby.node if releases else "", wait if wait > 0 else longest)


def release_here(mine: Report, tag: str, handoff_to: str) -> Choice:
    """For a release alone; whether a standby is ready is for the caller to know. Raises `Refused`."""
    if mine.trouble:
        raise Refused(f"{tag} could not be looked at on {mine.node}, so nothing was released: {mine.trouble}")
    return Choice(mine.node, mine, Report(node=handoff_to))


def take_over_here(mine: Report, tag: str) -> Choice:
    """For a takeover alone: it waits for the lease and for no other host. Raises `Refused`."""
    if mine.reasons:
        raise Refused(f"{mine.node} is not ready to take {tag} over: {', '.join(mine.reasons)}")
    return Choice(mine.holder, None, mine)


# --- takeover ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Activation:
    """The steps of a takeover once the lease is held.

    :param unfenced: Old holders that did not release and were not switched off by a person.
    :param probe: Options of ip_probe.
    """

    steps: tuple[Step, ...]
    unfenced: tuple[str, ...] = ()
    probe: Mapping[str, Any] = field(default_factory=dict)


def activate(
    resource: Mapping[str, Any],
    node: str,
    *,
    held: Mapping[str, Any],
    shown: Mapping[str, Any],
    checker: Mapping[str, Any],
    expired: bool,
    powered_off: Sequence[str],
    joined: bool,
) -> Activation:
    """What is left to do on the node that holds the lease. Raises `Refused`.

    :param held: The result of the module lease; ``shown``: an entry of ip_resource_info's ``resources``; ``checker``: what its checker said.
    :param expired: The lease was taken from a node that did not release it, before this run.
    :param powered_off: Nodes that a person has switched off.
    :param joined: The checker has brought the address up.
    """
    recorded = bool(shown.get("recorded"))
    taken_from = held.get("taken_from") or ""
    unreleased = [name for name in (taken_from or ("" if recorded else checker.get("over") or "")).split(",") if name]
    unfenced = tuple(name for name in unreleased if name not in powered_off)
    parts = resource.get("ec2") or {}
    wanted = {
        Step.FENCE: resource.get("fence", "none") != "none" and (bool(unfenced) or (expired and not unreleased)),
        Step.ADDRESS: True,
        Step.VERIFY_LEASE: bool(parts) and (expired or not held.get("changed") or bool(taken_from)),
        Step.EC2: bool(parts),
        Step.START_DEPENDENTS: bool(resource.get("dependents")) and not (joined and recorded),
        Step.PROBE: bool((resource.get("probe") or {}).get("targets")),
    }
    probe = resource.get("probe") or {}
    found = Activation(tuple(step for step, due in wanted.items() if due), unfenced, probe if wanted[Step.PROBE] else {})
    if held.get("renewed_by") != "checker":
        left = f"so it would be lost in {held.get('expires_in')} s; start holdfast-checker.service there"
        raise Refused(f"no checker renews the lease of {resource['tag']} on {node}, {left}", returns={"plan": asdict(found)})
    return found


@dataclass(frozen=True)
class WithoutAddress:
    """What to do if the address did not come up.

    :param spare: The backup interface, if it is to be tried next; empty if the checker has moved the resource to it already.
    :param down: That no interface can carry the address, in words; empty if one can.
    """

    spare: str
    down: str


def address_failed(cause: str, shown: Mapping[str, Any], prepared: str) -> WithoutAddress:
    """The interface to try next, after the one that was ``prepared``.

    Raises `Refused` with the cause if there is none; its ``returns`` say whether all of them are down.

    A node whose links have all gone keeps the lease: its checker hands it to a ready standby, or goes on when a link is back. A link that is
    administratively down counts as gone here, since the checker has tried to switch it on.
    """
    links = Links.of(shown)
    found = WithoutAddress(links.spare, are_down(links.down) if links.down else "")
    if not links.spare and (links.primary == prepared or not links.primary_up):
        raise Refused(cause, returns={"plan": asdict(found)})
    return found


def without_links(tag: str, node: str, down: str) -> None:
    """Raises `Refused` if the node has only lost its links (``down``, in words), so that nothing is rolled back."""
    if down:
        raise Refused(
            f"{tag} is held by {node} and not in service, as {down} there; its checker goes on as soon as a link is back, or run holdfast.ha.recover"
        )


def held(tag: str, checker: Mapping[str, Any], epoch: int) -> None:
    """Raises `Refused` unless the checker holds the lease since that acquisition, and the address is up.

    The checker holds what it has renewed in time, so the store need not be asked.
    """
    if not (checker.get("held") and checker.get("serving") and checker.get("epoch") == epoch):
        why = checker.get("error") or f"{checker.get('holder') or 'nobody'} holds it"
        raise Refused(f"the lease of {tag} was lost on the way ({why})")


def held_in_store(tag: str, node: str, record: Mapping[str, Any], epoch: int) -> None:
    """Raises `Refused` unless the store has this node as the holder since that acquisition."""
    if record.get("holder") != node or record.get("epoch") != epoch:
        now = f"{record.get('holder') or 'nobody'} holds it, epoch {record.get('epoch')}" if record else "its record is gone"
        raise Refused(f"the lease of {tag} was lost on the way ({now})")


def ec2_failed(cause: str, errors: Errors) -> str:
    """Why EC2 does not target this node yet, if that may end without a person: the node serves, and its checker goes on. Raises `Refused`."""
    if not is_transient(errors):
        raise Refused(cause)
    return cause


# --- failures ---------------------------------------------------------------------------------------------------------


def cause_of(result: Mapping[str, Any]) -> str:
    """Why a task failed, by its result; of a loop, why its first item did."""
    failed = next((item for item in result.get("results") or () if item.get("failed")), result)
    return failed.get("msg") or "see above"


def kept(tag: str, node: str, cause: str, *, back: Mapping[str, Any], stopped: Sequence[str]) -> str:
    """What a person is told if the resource stays on the active node. ``back``: the result of lease_address; ``stopped``: stopped dependents."""
    if "msg" not in back:
        return f"{tag} stays on {node}: {cause}"
    idle = f"; so {', '.join(stopped)} stays stopped there" if stopped else ""
    return f"{tag} was not released in order by {node} ({cause}), and its address could not be put back there: {back['msg']}{idle}"


def not_acquired(tag: str, choice: Choice, cause: str, *, quieted: bool, hosts: Sequence[str]) -> str:
    """What a person is told if the standby did not get the lease.

    :param quieted: The dependents of the active node were stopped. ``hosts``: of the run, as far as they answer.
    """
    holder, active = choice.holder, choice.active
    if active is None and holder not in ("", choice.standby.node) and holder in cause:
        return f"{cause}; {holder} cannot be reached from here, yet it still renews its lease: see to the way to it"
    if active is not None and quieted and active.host not in hosts:
        return (
            f"{cause}; {active.host} can no longer be reached, and what depends on {tag} was stopped there: see to the way to it, then run "
            f"holdfast.ha.dependents -e tag={tag} -e state=started, unless another node has it by then"
        )
    return cause


def verify(tag: str, node: str, shown: Mapping[str, Any], *, check: bool, pending: str, lacking: Sequence[str]) -> None:
    """Raises `Refused` if the result is not as it should be on this node.

    :param shown: An entry of ip_resource_info's ``resources``.
    :param pending: What does not target this node yet; ``lacking``: what no run can repair.
    """
    if shown["health"] != Health.HEALTHY.value and not check:
        raise Refused(f"{tag} on {node} is not as it should be: {'; '.join(shown['reasons'])}")
    if pending:
        raise Refused(
            f"{tag} is held and up on {node}, but not all of EC2 leads there yet ({pending}); the checker of {node} goes on with it, or run "
            "holdfast.ha.recover"
        )
    if lacking:
        raise Refused(f"{tag} is in service on {node}, but: {'; '.join(dict.fromkeys(lacking))}")


def not_freed(operation: Operation, tag: str, node: str, cause: str) -> None:
    """The Elastic IP could not be disassociated. A takeover associates it anyway, so only a release alone fails: it raises `Refused`."""
    if operation is Operation.RELEASE:
        raise Refused(f"{tag} was released by {node}, but its Elastic IP still leads there: {cause}")


def new_holder(tag: str, choice: Choice, record: Mapping[str, Any]) -> str:
    """Who acquired the lease that was released to a standby outside of the run. Raises `Refused`."""
    holder = str(record.get("holder") or "")
    if choice.active is None or holder in ("", choice.active.node):
        raise Refused(
            f"{tag} was released to {choice.standby.node}, which has not taken it; see its checker's log. Another node may have it by "
            "holdfast.ha.switchover"
        )
    return holder


def rolled_back(tag: str, node: str, cause: str, *, freed: Mapping[str, Any], released: Mapping[str, Any], unfenced: Sequence[str] | None) -> str:
    """What a person is told after a rollback.

    :param freed: The result of the Elastic IP's disassociation; ``released``: of the lease's release.
    :param unfenced: The old holders if a fence was due and did not succeed; ``None`` if none was due, or it succeeded.
    """
    told = f"{tag} could not be brought into service on {node}, and is now in service nowhere: {cause}"
    told += f"; and its Elastic IP was not disassociated: {freed['msg']}" if "msg" in freed else ""
    told += f"; and the lease was not released: {released['msg']}" if "msg" in released else ""
    if unfenced is None:
        return told
    old = ",".join(unfenced) or "OLD_NODE"
    return (
        f"{told}; {old} was not fenced: see to the cause, or make sure that {old} is off; then run holdfast.ha.switchover -e tag={tag} -e to={node}, "
        f"with -e powered_off={old} if it is off"
    )
