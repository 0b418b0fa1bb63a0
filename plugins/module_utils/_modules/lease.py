# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules lease and lease_info do: hold, release or look at one lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask, status_of
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotConverged
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, text_table
from ansible_collections.holdfast.ha.plugins.module_utils._lease.cluster_pin import kept_pin
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import ClusterPin
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, identity, new_state, open_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.plan import Change, Hold, Observed, Release, Wanted, plan_lease, simulate_lease
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record, lease_key, parse_handoff, parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Intent, Released
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import SETTINGS, parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store as Files

#: Seconds in which a release has to be confirmed, and an acquisition of a lease that is free.
_PATIENCE = 10.0
#: From one try to reach a checker to the next, while it starts or executes itself anew.
_AGAIN = 0.2
_LONGEST_WAIT = 86400.0
_SECRET = ("access_key", "secret_key", "session_token", "password", "external_id")
_KINDS = {"text": "str", "url": "str", "bool": "bool", "urls": "list"}


def store_argument() -> dict[str, Any]:
    """The option ``store`` as AnsibleModule takes it, made from `store.SETTINGS`; doc_fragments/_store.py documents it."""
    options: dict[str, Any] = {"type": {"type": "str", "choices": sorted(SETTINGS), "required": True}}
    for settings in SETTINGS.values():
        for name, wanted in settings.items():
            options[name] = {"type": _KINDS[wanted.lstrip("*")]}
            if options[name]["type"] == "list":
                options[name]["elements"] = "str"
            if name in ("aws_ca_bundle", "ca_cert", "cert", "key"):
                options[name]["type"] = "path"
            if name in _SECRET or name == "key":
                options[name]["no_log"] = name != "key"  # a path is none
    return {"store": {"type": "dict", "required": True, "options": options}}


class LeaseTask:
    """Hold or release, as a `Reconciler`.

    A renewal of a lease that its holder has already changes neither holder nor epoch: it is not reported as a change. Where the checker
    of this host watches the lease it is asked to do it, since one process renews (DESIGN.md section 6).
    """

    def __init__(
        self, params: Mapping[str, Any], run: Runner, clock: Callable[[], float] = boottime, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._run, self._clock, self._pause = run, clock, pause
        self._key = lease_key(params["cluster"], params["tag"])
        holder = parse_node(params["holder"], "holder")
        handoff_to = parse_handoff(params["handoff_to"] or "")
        self._wanted = Wanted(self._key, holder, params["state"] == "held", handoff_to, float(params["wait"]))
        if handoff_to and (self._wanted.held or handoff_to == holder):
            raise BadInput("handoff_to: it names the other node that is to follow, so it goes with state=released", path="handoff_to")
        if not 0 <= self._wanted.wait <= _LONGEST_WAIT:
            raise BadInput(f"wait: give seconds from 0 to {_LONGEST_WAIT:g}", path="wait")
        self._timing = Timing(ttl=float(params["ttl"])).validate()
        self._store = open_store(parse_store(params["store"]), self._timing, _kept_cluster())
        self._keeper = Keeper(self._store, self._key, new_state(identity(holder, trusting=True), self._timing), clock)
        self._cluster, self._tag = params["cluster"], params["tag"]
        self._address = None if params["address"] is None else Address.parse_loosely(params["address"], "address")
        self._over = ""
        self._checker = self._awaited() if params["by_checker"] else status_of(self._cluster, self._tag)
        if self._checker is not None and self._checker["node"] != holder:
            node = self._checker["node"]
            here = f"holder: the checker of this host is {node}, not {holder}; if {holder} is this host, set holdfast_node to {node}"
            raise BadInput(f"{here}, otherwise run this on {holder}", path="holder")

    def _awaited(self) -> dict[str, Any]:
        """The checker's status; it may be executing itself anew, which takes a moment. Raises `NoChecker`."""
        give_up = self._clock() + _PATIENCE
        while (found := status_of(self._cluster, self._tag)) is None:
            if self._clock() >= give_up:
                raise NoChecker(
                    f"no checker on this host watches the lease {self._key}, so nothing is done about it (by_checker); "
                    "start holdfast-checker.service, or see to its configuration"
                )
            self._pause(_AGAIN)
        return found

    def observe(self) -> Observed:
        """Read the record."""
        record = self._store.read(self._key).record
        if self._checker is not None:
            return Observed(record, bool(self._checker["held"]) and record is not None and record.holder == self._wanted.holder)
        held = self._keeper.state.held
        renewed = held is not None and record is not None and record.holder == self._wanted.holder and record.epoch == held.epoch
        if self._wanted.held or record is None or record.holder != self._wanted.holder or self._stays_up:
            return Observed(record, renewed)
        here = replace(self._keeper.state.me, trusting=False).owns(record)
        return Observed(record, renewed, not here, self._places())

    @property
    def _stays_up(self) -> bool:
        """Whether the address need not have gone: that of a lease which nobody is to take on his own, unless it was named."""
        return self._address is None and self._wanted.handoff_to == NOBODY

    def _places(self) -> tuple[str, ...]:
        """Where the address is on this host."""
        if self._stays_up:
            return ()
        address = self._address
        if address is None:
            definition = Files().definition(self._tag)
            if definition is None:
                return ()
            address = definition.address
        return tuple(dict.fromkeys(link.name for link, _held in NetState(observe_links(self._run)).places(address)))

    def plan(self, state: Observed) -> tuple[Change, ...]:
        """See `plan_lease`."""
        return plan_lease(self._wanted, state, self._timing)

    def simulate(self, state: Observed, actions: tuple[Change, ...]) -> Observed:
        """See `simulate_lease`."""
        return simulate_lease(state, actions)

    def apply(self, actions: tuple[Change, ...]) -> tuple[Attempt[Change], ...]:
        """Carry out the one action."""
        return tuple(Attempt(action, self._try(action)) for action in actions)

    def _try(self, action: Change) -> HoldfastError | None:
        try:
            if self._checker is not None:
                self._checker = {**self._checker, **self._ask(action)}
                self._over = str(self._checker.get("over") or "")
            elif isinstance(action, Hold):
                self._acquire(max(self._wanted.wait, _PATIENCE if action.free else 0.0))
            else:
                self._release(action)
        except HoldfastError as error:
            return error
        return None

    def _ask(self, action: Change) -> Mapping[str, Any]:
        if isinstance(action, Hold):
            return ask("acquire", tag=self._tag, wait=self._wanted.wait)
        return ask("release", tag=self._tag, handoff_to=action.handoff_to)

    def _acquire(self, patience: float) -> None:
        """The standby's rule within this run. Raises what kept it from the lease."""
        give_up = self._clock() + patience
        self._keeper.tell(Intent.CLAIM)
        while self._keeper.state.held is None:
            if status_of(self._cluster, self._tag) is not None:  # it may have acknowledged the holder, which this run does not know
                raise NotConverged(f"a checker was started on this host, and it alone may take the lease {self._key} now; run this again")
            for action in self._keeper.turn():
                if isinstance(action, Demote):
                    raise NotConverged(f"the lease {self._key} could not be held: {action.reason}; run it again")
            if self._keeper.state.held is None:
                self._rest(give_up, self._not_held)
        self._over = ",".join(self._keeper.state.held.unfenced)

    def _release(self, action: Release) -> None:
        give_up = self._clock() + _PATIENCE
        self._keeper.tell(Intent.RELEASE, action.handoff_to)
        while not any(isinstance(done, Released) for done in self._keeper.turn()):
            if status_of(self._cluster, self._tag) is not None:  # it may have put the address up
                raise NotConverged(f"a checker was started on this host, and it alone may release the lease {self._key} now; run this again")
            if self._places():
                raise NotConverged(f"the address of the lease {self._key} came back to this host while it was to be released; run this again")
            self._rest(give_up, lambda: NotConverged(f"the release of {self._key} was not confirmed in {_PATIENCE:g} s; it may follow; run it again"))

    def _rest(self, give_up: float, refusal: Callable[[], HoldfastError]) -> None:
        """Wait until there is something to do. Raises when the time is up, or for a trouble that waiting does not cure."""
        error, now = self._keeper.error, self._clock()
        if error is not None and not (error.retryable or error.ambiguous):
            raise error
        if now >= give_up:
            raise error or refusal()
        self._pause(max(0.0, min(self._keeper.state.due, give_up) - now))

    def _not_held(self) -> HoldfastError:
        seen = self._keeper.state.seen
        record = seen.record if seen else None
        who = f"{record.holder} holds it (epoch {record.epoch})" if record and record.holder else "it is reserved, or its record is missing"
        return NotConverged(f"the lease {self._key} was not free within {self._wanted.wait:g} s: {who}; release it there, or wait longer")

    def table(self, state: Observed) -> str:
        """One row."""
        record = state.record
        if record is None:
            return text_table(("lease", "holder", "epoch", "handed to"), [(self._key, "-", "-", "-")])
        return text_table(("lease", "holder", "epoch", "handed to"), [(self._key, record.holder or "-", record.epoch, record.handoff_to or "-")])

    def result(self, run: Run[Observed, Change]) -> dict[str, object]:
        """``changed`` speaks of holder, epoch and hand-off."""
        before, after, held = run.before.record, run.after.record, self._keeper.state.held
        left = None if held is None else round(max(0.0, held.deadline - self._clock()), 1)
        if self._checker is not None:
            left = self._checker["expires_in"]
        same = _shown(before) == _shown(after)
        return {
            "changed": run.changed and not same,
            "holder": after.holder if after else "",
            "epoch": after.epoch if after else None,
            "expires_in": left,
            "renewed_by": "checker" if self._checker is not None and left is not None else None,
            "taken_from": self._over if not same and after is not None and after.holder == self._wanted.holder else "",
        }


def _kept_cluster() -> ClusterPin:
    """The etcd cluster that the checker of this host has its leases in, where there is one. A module remembers nothing itself."""
    return kept_pin(Files().states)


def _shown(record: Record | None) -> tuple[str, int, str] | None:
    return None if record is None else (record.holder, record.epoch, record.handoff_to)


def lease_info(params: Mapping[str, Any]) -> dict[str, object]:
    """The record as it is now, and what the checker of this host says. Raises `HoldfastError`."""
    checker = status_of(params["cluster"], params["tag"])
    key, timing = lease_key(params["cluster"], params["tag"]), Timing()
    record = open_store(parse_store(params["store"]), timing, _kept_cluster()).read(key).record
    if record is None:
        return {"record": None, "checker": checker}
    shown = {"holder": record.holder, "epoch": record.epoch, "nonce": record.nonce, "handoff_to": record.handoff_to, "ttl": record.ttl}
    shown["unfenced"] = list(record.unfenced)
    return {"record": shown, "checker": checker}
