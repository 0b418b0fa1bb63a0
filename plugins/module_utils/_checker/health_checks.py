# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a resource, through what the modules look and plan with: at the kernel, at those that are to answer a probe, at EC2."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotFound, ProbeFailed, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts, Eni, Health, LocalEni, RouteTable
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import (
    Ec2CheckResult,
    desired_elastic_ip,
    desired_routes,
    judge,
    plan_elastic_ip,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import CheckResult
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import verify
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import targets_of
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import probe_from, probe_of

#: Seconds for which it is remembered which network interface is behind a link: it changes only with the hardware.
_REMEMBERED = 3600.0
#: Seconds for which a standby believes that EC2 would let it take over, and the most resources for which it asks within so many seconds.
_ALLOWED_FOR, _MOST_ASKED, _ASKED_WITHIN = 3600.0, 10, 20.0


def look_by_probe(known: EffectiveResource, net: NetState, *, answered: bool) -> CheckResult | None:
    """Whether those answer that should; ``None`` where that says nothing: no target is set, and the broadcast ping was never ``answered``."""
    link = net.find(known.interface)
    if known.resource is None or link is None:
        return None
    address = probe_from(known, link)
    probe = probe_of(known, link, known.resource.probe)
    try:
        targets_of(address, probe)
        verify(address, link.name, probe)
    except BadInput:
        return None
    except ProbeFailed as error:
        return CheckResult("probe", Health.FAILED, (Fault.PROBE,), (error.message,)) if probe.targets or answered else None
    except HoldfastError as error:
        return CheckResult("probe", Health.UNKNOWN, (), (error.message,))
    return CheckResult("probe", Health.HEALTHY)


@dataclass
class _Read:
    """What one call showed, or why it did not; ``began``: when it was made."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = float("-inf")
    value: Any = None
    error: HoldfastError | None = None


class Ec2HealthChecker:
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

    def look(self, known: EffectiveResource, parts: Ec2Parts, *, active: bool, since: float | None = None) -> Ec2CheckResult:
        """What is wrong; for a standby whether EC2 answers this node, and would let it take over. Never raises `HoldfastError`.

        :param since: What another resource has asked for since then is as good as asking again; by default only what is asked for from now on.
        """
        try:
            return self._look(known, parts, active=active, since=self._clock() if since is None else since)
        except HoldfastError as error:
            return Ec2CheckResult(error.message, elastic_ip=parts.elastic_ip)

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

    def _look(self, known: EffectiveResource, parts: Ec2Parts, *, active: bool, since: float) -> Ec2CheckResult:
        client = self.client(parts)
        here = self._eni(known.interface)
        eni = self.interface(parts, here.id, since)
        if not active:
            return Ec2CheckResult(elastic_ip=parts.elastic_ip, refusal=self._refusal(client, known, parts, here, eni, since))
        return judge(known, parts, here, eni, self._tables(client, parts, here, since))

    def _tables(self, client: Any, parts: Ec2Parts, here: LocalEni, since: float) -> tuple[RouteTable, ...] | None:
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe

        ids, vpc = parts.route_tables, parts.extra.get("vpc_id") or here.vpc_id
        if ids is None:
            return None
        which, wanted = (vpc, {"vpc_id": vpc}) if ids == ("all",) else (ids, {"ids": ids})
        found: tuple[RouteTable, ...] = self._read((id(client), which), since, lambda: observe.route_tables(client, **wanted))
        return found

    def _refusal(self, client: Any, known: EffectiveResource, parts: Ec2Parts, here: LocalEni, eni: Eni, since: float) -> str:
        """Why a takeover would fail here. What the interface shows is looked at each time, all else once an hour, or again while it fails."""
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe, plan, plan_interface
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.rehearse import denial

        key = (id(client), known.address, parts.route_tables, parts.elastic_ip, eni.id)
        try:
            if parts.elastic_ip is not None:
                plan_elastic_ip(known, parts, parts.elastic_ip, eni)
            if not self._may_ask(key):
                return self._refusals.get(key, (0.0, ""))[1]
            actions: list[Any] = list(plan_interface.plan_source_dest_check(False, eni))
            tables = self._tables(client, parts, here, since)
            if tables is not None:
                actions += plan.plan_routes(desired_routes(known, parts, here, eni), tables)
            if parts.elastic_ip is not None:
                eip = observe.elastic_ip(client, public_ip=parts.elastic_ip)
                actions += plan_interface.plan_eip(desired_elastic_ip(known, parts, eni), plan_interface.EipState(eip, eni))
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
