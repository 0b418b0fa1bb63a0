# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a resource, through what the modules look and plan with: at the kernel, at those that are to answer a probe, at EC2."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.dependents import INACTIVE
from ansible_collections.holdfast.ha.plugins.module_utils._checker.machine_values import ADDRESS, DEPENDENTS, LINK, STRAY, Look
from ansible_collections.holdfast.ha.plugins.module_utils._command import Runner
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, HoldfastError, NotFound, ProbeFailed, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._model import Association, Ec2Parts, Eip, Health, LocalEni, Route, RouteState
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import targets_of, verify
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import address_faults, address_health
from ansible_collections.holdfast.ha.plugins.module_utils._resource.learned import Effective
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probing import probe_from, probe_of

if TYPE_CHECKING:  # boto3 is loaded only where EC2 is asked
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import RouteWish
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import EipAction, EipWish
    from ansible_collections.holdfast.ha.plugins.module_utils._model import Eni, RouteTable

#: Seconds for which it is remembered which network interface is behind a link: it changes only with the hardware.
_REMEMBERED = 3600.0
#: So many wrong route tables are named; of more only the number is told.
_MOST_TOLD = 5
#: Seconds for which a standby believes that EC2 would let it take over, and the most resources for which it asks within so many seconds.
_ALLOWED_FOR, _MOST_ASKED, _ASKED_WITHIN = 3600.0, 10, 20.0


def look_at_kernel(known: Effective, net: NetState, *, held: bool, elsewhere: bool) -> Look:
    """Whether it is where it should be, on a link that is up; on a standby nowhere. ``elsewhere``: another node holds the lease."""
    if not held and not elsewhere:
        return Look("kernel", Health.HEALTHY)
    health, reasons = address_health(replace(known, in_service=held), net)
    if health is Health.HEALTHY:
        return Look("kernel", health)
    if not held:
        return Look("kernel", health, (STRAY,), reasons)
    link = net.find(known.interface)
    down = link is None or not link.up
    missing = bool(address_faults(known.address, known.interface, net))
    return Look("kernel", health, ((LINK,) if down else ()) + ((ADDRESS,) if missing else ()), reasons)


def look_at_dependents(states: Mapping[str, str], *, meant_to_run: bool) -> Look | None:
    """Whether the dependents that are units run, on the node where the resource is in service; ``None`` where there are none.

    :param states: ActiveState by unit.
    :param meant_to_run: Nobody has stopped them, or is about to.
    """
    if not states:
        return None
    dead = tuple(f"{unit} is {state}" for unit, state in states.items() if state in INACTIVE)
    if dead and meant_to_run:
        return Look("dependents", Health.FAILED, (DEPENDENTS,), dead)
    others = tuple(f"{unit} is {state}" for unit, state in states.items() if state not in (*INACTIVE, "active", "reloading"))
    if dead or others:
        return Look("dependents", Health.UNKNOWN, (), (*(f"{one}: it was stopped on purpose" for one in dead), *others))
    return Look("dependents", Health.HEALTHY)


def look_by_probe(known: Effective, net: NetState, run: Runner, *, answered: bool) -> Look | None:
    """Whether those answer that should; ``None`` where that says nothing: no target is set, and the broadcast ping was never ``answered``."""
    link = net.find(known.interface)
    if known.resource is None or link is None:
        return None
    address = probe_from(known, link)
    probe = probe_of(known, address, known.resource.probe)
    try:
        targets_of(address, probe)
        verify(run, address, link.name, probe)
    except BadInput:
        return None
    except ProbeFailed as error:
        return Look("probe", Health.FAILED, ("probe",), (error.message,)) if probe.targets or answered else None
    except HoldfastError as error:
        return Look("probe", Health.UNKNOWN, (), (error.message,))
    return Look("probe", Health.HEALTHY)


@dataclass(frozen=True)
class Ec2Sight:
    """What EC2 shows of a resource. ``error``: why it could not be asked. ``refusal``: on a standby, why a takeover would fail there.

    ``elastic_ip_on``: the private address of this node that the Elastic IP is associated with. ``lacking``: what is wrong and no run can repair.
    """

    error: str = ""
    refusal: str = ""
    faults: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    routes_right: int | None = None
    routes_total: int | None = None
    source_dest_check: bool | None = None
    elastic_ip: str | None = None
    elastic_ip_right: bool | None = None
    elastic_ip_on: str | None = None

    def with_fault(self, fault: str, *reasons: str) -> Ec2Sight:
        """With one more thing that is wrong."""
        return replace(self, faults=(*self.faults, fault), reasons=(*self.reasons, *reasons))

    @property
    def look(self) -> Look:
        """For the machine: what could not be asked is not known, whatever was wrong before. What no run can repair is no fault, so none begins."""
        if self.error:
            return Look("ec2", Health.UNKNOWN, (), (f"EC2 could not be asked: {self.error}",))
        if self.lacking and not self.faults:
            return Look("ec2", Health.UNKNOWN, (), self.lacking)
        return Look("ec2", Health.FAILED if self.faults else Health.HEALTHY, self.faults, (*self.reasons, *self.lacking))

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


@dataclass
class _Read:
    """What one call showed, or why it did not; ``began``: when it was made."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = float("-inf")
    value: Any = None
    error: HoldfastError | None = None


class Ec2Eyes:
    """Looks at EC2 for all resources of this node; threads may share it. Two API calls a look, whatever the number of tables below one page; and
    resources that look at the same moment share what they need of each other's calls.

    :param aws: Options of EC2 calls, as ``holdfast_aws``.
    :param clock: Seconds.
    :param made: Is given each client, for example to count its calls.
    """

    def __init__(self, aws: Mapping[str, Any], clock: Callable[[], float], made: Callable[[Any], None] = lambda client: None) -> None:
        self._aws, self._clock, self._made = aws, clock, made
        self._lock = threading.Lock()
        self._clients: dict[Any, Any] = {}
        self._enis: dict[str, tuple[float, str | None, LocalEni]] = {}
        self._reads: dict[Any, _Read] = {}
        self._next = float("-inf")
        self._refusals: dict[Any, tuple[float, str]] = {}
        self._asked: list[float] = []

    def next_look(self, interval: float) -> float:
        """When all resources look again: about ``interval`` seconds from now, at the same moment for all of them and not for all nodes."""
        with self._lock:
            now = self._clock()
            if now >= self._next:
                self._next = now + interval * random.uniform(0.8, 1.0)
            return self._next

    def look(self, known: Effective, parts: Ec2Parts, *, active: bool, since: float | None = None) -> Ec2Sight:
        """What is wrong; for a standby whether EC2 answers this node, and would let it take over. Never raises `HoldfastError`.

        :param since: What another resource has asked for since then is as good as asking again; by default only what is asked for from now on.
        """
        try:
            return self._look(known, parts, active=active, since=self._clock() if since is None else since)
        except HoldfastError as error:
            return Ec2Sight(error.message, elastic_ip=parts.elastic_ip)

    def interface(self, parts: Ec2Parts, eni_id: str, since: float) -> Eni:
        """One network interface, asked for after ``since`` by whichever resource. Raises `HoldfastError`."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe

        client = self.client(parts)
        found: Eni = self._read((id(client), eni_id), since, lambda: observe.network_interface(client, eni_id))
        return found

    def gateway(self, link: str) -> str | None:
        """The VPC's router in the subnet of a link, where that is known by now."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.local import gateway

        remembered = self._enis.get(link)
        return gateway(remembered[2]) if remembered is not None else None

    def _look(self, known: Effective, parts: Ec2Parts, *, active: bool, since: float) -> Ec2Sight:
        client = self.client(parts)
        here = self._eni(known.interface)
        eni = self.interface(parts, here.id, since)
        if not active:
            return Ec2Sight(elastic_ip=parts.elastic_ip, refusal=self._refusal(client, known, parts, here, eni, since))
        return judge(known, parts, here, eni, self._tables(client, parts, here, since))

    def _tables(self, client: Any, parts: Ec2Parts, here: LocalEni, since: float) -> tuple[RouteTable, ...] | None:
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe

        ids, vpc = parts.route_tables, parts.extra.get("vpc_id") or here.vpc_id
        if ids is None:
            return None
        which, wanted = (vpc, {"vpc_id": vpc}) if ids == ("all",) else (ids, {"ids": ids})
        found: tuple[RouteTable, ...] = self._read((id(client), which), since, lambda: observe.route_tables(client, **wanted))
        return found

    def _refusal(self, client: Any, known: Effective, parts: Ec2Parts, here: LocalEni, eni: Eni, since: float) -> str:
        """Why a takeover would fail here. What the interface shows is looked at each time, all else once an hour, or again while it fails."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe, plan, plan_interface
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.rehearse import denial

        key = (id(client), known.address, parts.route_tables, parts.elastic_ip, eni.id)
        try:
            if parts.elastic_ip is not None:
                _plan_elastic_ip(known, parts, parts.elastic_ip, eni)
            if not self._may_ask(key):
                return self._refusals.get(key, (0.0, ""))[1]
            actions: list[Any] = list(plan_interface.plan_source_dest_check(False, eni))
            tables = self._tables(client, parts, here, since)
            if tables is not None:
                actions += plan.plan_routes(_route_wish(known, parts, here, eni), tables)
            if parts.elastic_ip is not None:
                eip = observe.elastic_ip(client, public_ip=parts.elastic_ip)
                actions += plan_interface.plan_eip(_eip_wish(known, parts, eni), plan_interface.EipState(eip, eni))
            refusal = denial(client, actions)
        except (BadInput, NotFound, Refused) as error:
            refusal = error.message
        self._refusals[key] = self._clock(), refusal
        return refusal

    def _may_ask(self, key: Any) -> bool:
        """Whether it is time to ask EC2 what it would allow: many resources at once would have it throttle all calls of the account."""
        with self._lock:
            now = self._clock()
            self._asked = [at for at in self._asked if at > now - _ASKED_WITHIN]
            asked_at, refusal = self._refusals.get(key, (float("-inf"), ""))
            due = (refusal != "" or now - asked_at >= _ALLOWED_FOR) and len(self._asked) < _MOST_ASKED
            if due:
                self._asked.append(now)
            return due

    def _read(self, key: Any, since: float, read: Callable[[], Any]) -> Any:
        """What ``read`` returns or raises, or did in another thread after ``since``."""
        with self._lock:
            kept = self._reads.setdefault(key, _Read())
        with kept.lock:
            if kept.began < since:
                began, value, failure = self._clock(), None, None
                try:
                    value = read()
                except HoldfastError as error:
                    failure = error
                kept.began, kept.value, kept.error = began, value, failure  # not after a defect: then the next one asks anew
            if kept.error is not None:
                raise kept.error
            return kept.value

    def client(self, parts: Ec2Parts) -> Any:
        """The client of EC2 for these options; a kept one where there is one. Raises `HoldfastError`."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import BOTO3_IMPORT_ERROR, AwsOptions, ec2_client
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds

        if BOTO3_IMPORT_ERROR is not None:
            raise BadInput("the Python library boto3 is missing on this host; install it")
        options = AwsOptions.from_params({**self._aws, **own_options(parts)})
        with self._lock:
            if options not in self._clients:
                self._clients[options] = ec2_client(options, Imds().region)
                self._made(self._clients[options])
            return self._clients[options]

    def _eni(self, link: str) -> LocalEni:
        """The network interface behind a link, by instance metadata, which is not asked each time."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds, mac_of
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.local import choose

        with self._lock:
            mac, now = mac_of(link), self._clock()
            known = self._enis.get(link)
            if known is None or known[1] != mac or now - known[0] > _REMEMBERED:
                imds = Imds()
                try:
                    enis = imds.interfaces(mac)
                finally:
                    imds.close()
                for eni in enis:
                    if eni.interface is not None:
                        self._enis[eni.interface] = (now, eni.mac, eni)
                self._enis[link] = (now, mac, choose(enis, link, mac))
            return self._enis[link][2]


def judge(known: Effective, parts: Ec2Parts, here: LocalEni, eni: Eni, tables: tuple[RouteTable, ...] | None) -> Ec2Sight:
    """What the plans of the modules would change. Raises `HoldfastError` where they refuse to look at it."""
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan_interface

    sight = Ec2Sight(elastic_ip=parts.elastic_ip)
    if tables is not None:
        sight = _judge_routes(sight, known, parts, here, eni, tables)
    elif not (known.resource is not None and any(one.tasks for one in known.resource.dependents)):  # such a one may assign the address
        undelivered = plan_interface.undelivered(known.address, here.vpc_cidrs, eni)
        sight = replace(sight, lacking=(undelivered,) if undelivered else ())
    return sight if parts.elastic_ip is None else _judge_elastic_ip(sight, known, parts, parts.elastic_ip, eni)


def _judge_routes(sight: Ec2Sight, known: Effective, parts: Ec2Parts, here: LocalEni, eni: Eni, tables: tuple[RouteTable, ...]) -> Ec2Sight:
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan, plan_interface

    destination = str(known.address.host_network)
    wish = _route_wish(known, parts, here, eni)
    found = ((table.id, plan.entry(table, destination)) for table in tables)
    entries = {table: one for table, one in found if one is not None and plan.may_replace(one, wish)}
    if plan_interface.plan_source_dest_check(False, eni):
        sight = sight.with_fault("source_dest_check", f"the source/destination check of {eni.id} is on")
    wrong = plan.plan_routes(wish, tables)
    if wrong:
        told = [f"{destination} in {action.route_table_id} {_leads(entries.get(action.route_table_id))}" for action in wrong[:_MOST_TOLD]]
        more = [f"and in {len(wrong) - _MOST_TOLD} more route tables"] if len(wrong) > _MOST_TOLD else []
        sight = sight.with_fault("routes", *told, *more)
    right, gone = sum(plan.is_right(one, wish) for one in entries.values()), plan.lost(wish, tables)
    sight = replace(sight, lacking=(plan.without_tables(gone),) if gone else ())
    return replace(sight, routes_right=right, routes_total=len(entries) + len(gone), source_dest_check=eni.source_dest_check)


def _route_wish(known: Effective, parts: Ec2Parts, here: LocalEni, eni: Eni) -> RouteWish:
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan

    ids = None if parts.route_tables == ("all",) else parts.route_tables
    vpc, missing = parts.extra.get("vpc_id") or here.vpc_id, parts.extra.get("missing", "fail")
    return plan.RouteWish((str(known.address.host_network),), eni.id, ids, vpc, missing)


def _leads(entry: Route | None) -> str:
    if entry is None:
        return "is missing"
    state = {RouteState.BLACKHOLE: ", a black hole", RouteState.FILTERED: ", and EC2 filters it"}.get(entry.state, "")
    return f"leads to {entry.target}{state}"


def _eip_wish(known: Effective, parts: Ec2Parts, eni: Eni) -> EipWish:
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan_interface

    own = next((one.private_ip for one in eni.addresses if one.private_ip == known.address.host), None)
    return plan_interface.EipWish(eni.id, parts.extra.get("private_ip_address") or own)


def _plan_elastic_ip(known: Effective, parts: Ec2Parts, public_ip: str, eni: Eni) -> tuple[EipAction, ...]:
    """By the interface alone: it shows what is associated with it, and where else the Elastic IP may be does not matter."""
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import plan_interface

    now = next((one for one in eni.addresses if one.public_ip == public_ip), None)
    held = None if now is None else Association(now.association_id or "", eni.id, now.private_ip)
    eip = Eip(public_ip, (now.allocation_id or "") if now else "", held)
    return plan_interface.plan_eip(_eip_wish(known, parts, eni), plan_interface.EipState(eip, eni))


def _judge_elastic_ip(sight: Ec2Sight, known: Effective, parts: Ec2Parts, public_ip: str, eni: Eni) -> Ec2Sight:
    cause = f"{public_ip} is not associated with {eni.id}"
    try:
        wrong = bool(_plan_elastic_ip(known, parts, public_ip, eni))
    except Refused as error:
        wrong, cause = True, error.message
    if wrong:
        return replace(sight.with_fault("elastic_ip", cause), elastic_ip_right=False)
    return replace(sight, elastic_ip_right=True, elastic_ip_on=next(one.private_ip for one in eni.addresses if one.public_ip == public_ip))
