# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a hand-over: their order, what each situation needs, and that a run which is repeated from any point completes what was begun."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle import handover
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import Choice, Report, Wish, choose
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.handover import Activation, LeaseOptions, Operation, Step

A = Report(node="node-a", host="node-a", holder="node-a", held=True, recorded=True, watched=True)
B = Report(node="node-b", host="node-b", holder="node-a", watched=True, ttl=10.0)
THERE = Choice("node-a", A, B)
TO_OWN_RUN = replace(THERE, standby=replace(B, takes_over=True))
GONE = Choice("node-a", None, B)
WEB: dict[str, Any] = {
    "tag": "web",
    "address": "10.1.0.10/32",
    "fence": "source_dest_check",
    "ec2": {"route_tables": "all", "elastic_ip": "198.51.100.7"},
    "dependents": [{"name": "app", "service": "app.service"}],
    "probe": {"targets": ["10.1.0.1"]},
}
S = Step


def steps_of(choice: Choice, host: str, operation: Operation = Operation.FAILOVER, **changes: Any) -> tuple[Step, ...]:
    given: dict[str, Any] = {"check": False, "forks": 5, **changes}
    return handover.steps(operation, choice, host, **given)


@pytest.mark.parametrize(
    ("choice", "active", "standby"),
    [
        (THERE, (S.STOP_DEPENDENTS, S.TRANSFER, S.RECORD), (S.PREPARE, S.TRANSFER, S.ACTIVATE, S.RECORD)),
        (TO_OWN_RUN, (S.STOP_DEPENDENTS, S.TRANSFER, S.RECORD), (S.PREPARE, S.ACTIVATE, S.RECORD)),
        (GONE, (), (S.PREPARE, S.TRANSFER, S.ACTIVATE, S.RECORD)),
        (replace(GONE, standby=replace(B, takes_over=True)), (), (S.PREPARE, S.TRANSFER, S.ACTIVATE, S.RECORD)),
    ],
)
def test_the_steps_of_each_node(choice: Choice, active: tuple[Step, ...], standby: tuple[Step, ...]) -> None:
    assert (steps_of(choice, "node-a"), steps_of(choice, "node-b")) == (active, standby)
    assert steps_of(choice, "node-c") == ()


def test_a_node_without_a_checker_removes_the_address_by_itself() -> None:
    found = steps_of(replace(THERE, active=replace(A, watched=False)), "node-a")
    assert found.index(S.REMOVE_ADDRESS) < found.index(S.TRANSFER)


def test_with_one_fork_the_active_node_comes_first() -> None:
    assert S.TRANSFER_FIRST in steps_of(THERE, "node-a", forks=1)
    assert S.TRANSFER not in steps_of(THERE, "node-a", forks=1)
    assert S.TRANSFER in steps_of(THERE, "node-b", forks=1)


def test_check_mode_brings_nothing_into_service() -> None:
    assert S.ACTIVATE not in steps_of(THERE, "node-b", check=True)
    assert steps_of(TO_OWN_RUN, "node-b", check=True) == (S.PREPARE, S.TRANSFER, S.RECORD)


def test_a_standby_that_is_not_in_the_run_is_waited_for() -> None:
    heard = replace(THERE, standby=Report(node="node-b"))
    assert steps_of(heard, "node-a", elastic_ip=True)[-2:] == (S.DISASSOCIATE, S.WAIT_FOR_STANDBY)
    assert S.WAIT_FOR_STANDBY not in steps_of(heard, "node-a", check=True)
    assert S.WAIT_FOR_STANDBY not in steps_of(heard, "node-a", Operation.RELEASE)


@pytest.mark.parametrize(
    ("choice", "held", "joins"),
    [
        (TO_OWN_RUN, {}, True),
        (THERE, {"changed": True}, False),
        (THERE, {"changed": False}, True),
        (GONE, {"changed": False}, False),
        (replace(GONE, standby=replace(B, takes_over=True)), {"changed": True}, False),
    ],
)
def test_two_runs_never_start_the_dependents(choice: Choice, held: dict[str, Any], joins: bool) -> None:
    """The checker of the standby has the lease already, and a run of its own for what follows."""
    assert handover.joins(choice, held) is joins


@pytest.mark.parametrize(
    ("choice", "host", "wait", "options"),
    [
        (THERE, "node-a", 0, LeaseOptions("released", "node-b", 30)),
        (THERE, "node-b", 0, LeaseOptions("held", "", 30)),
        (GONE, "node-b", 0, LeaseOptions("held", "", 17)),
        (GONE, "node-b", 60, LeaseOptions("held", "", 60)),
        (replace(GONE, standby=replace(B, ttl=0)), "node-b", 0, LeaseOptions("held", "", 41)),
        (replace(GONE, standby=replace(B, ttl=100)), "node-b", 0, LeaseOptions("held", "", 125)),
    ],
)
def test_how_the_lease_is_transferred(choice: Choice, host: str, wait: float, options: LeaseOptions) -> None:
    assert handover.lease_options(choice, host, wait) == options


def test_one_half_alone() -> None:
    released = handover.release_here(A, "web", "node-b")
    assert (released.active, released.standby.node, released.standby.host) == (A, "node-b", "")
    assert handover.take_over_here(B, "web") == Choice("node-a", None, B)
    with pytest.raises(Refused, match=r"^web could not be looked at on node-a, so nothing was released: no reply$"):
        handover.release_here(replace(A, trouble="no reply"), "web", "")
    with pytest.raises(Refused, match=r"^node-b is not ready to take web over: eth0 is down, EC2: denied$"):
        handover.take_over_here(replace(B, reasons=("eth0 is down", "EC2: denied")), "web")


# --- takeover ---------------------------------------------------------------------------------------------------------


PROBE = {"targets": ["10.1.0.1"]}


def activated(resource: dict[str, Any] | None = None, **changes: Any) -> Activation:
    given: dict[str, Any] = {"held": {}, "shown": {}, "checker": {}, "expired": False, "powered_off": [""], "joined": False, **changes}
    given["held"] = {"renewed_by": "checker", "changed": True, "taken_from": "", **given["held"]}
    return handover.activate(resource or WEB, "node-b", **given)


ALL = (S.ADDRESS, S.EC2, S.START_DEPENDENTS, S.PROBE)
FENCED = (S.FENCE, S.ADDRESS, S.VERIFY_LEASE, S.EC2, S.START_DEPENDENTS, S.PROBE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Activation(ALL, (), PROBE)),
        ({"held": {"taken_from": "node-a"}}, Activation(FENCED, ("node-a",), PROBE)),
        ({"held": {"taken_from": "node-a,node-c"}, "powered_off": ["node-a"]}, Activation(FENCED, ("node-c",), PROBE)),
        (
            {"held": {"taken_from": "node-a"}, "powered_off": ["node-a"]},
            Activation((S.ADDRESS, S.VERIFY_LEASE, S.EC2, S.START_DEPENDENTS, S.PROBE), (), PROBE),
        ),
        # The lease is held already: an earlier run, or the checker, has taken it and did not fence.
        ({"held": {"changed": False}, "checker": {"over": "node-a"}}, Activation(FENCED, ("node-a",), PROBE)),
        ({"checker": {"over": "node-a"}, "shown": {"recorded": True}}, Activation(ALL, (), PROBE)),
        ({"expired": True}, Activation(FENCED, (), PROBE)),
        ({"joined": True, "shown": {"recorded": True}}, Activation((S.ADDRESS, S.EC2, S.PROBE), (), PROBE)),
        ({"joined": True}, Activation(ALL, (), PROBE)),
        ({"held": {"changed": False}}, Activation((S.ADDRESS, S.VERIFY_LEASE, S.EC2, S.START_DEPENDENTS, S.PROBE), (), PROBE)),
        ({"resource": {**WEB, "fence": "none"}, "held": {"taken_from": "node-a"}}, Activation(FENCED[1:], ("node-a",), PROBE)),
        ({"resource": {"tag": "web", "address": "10.1.0.10/24"}, "held": {"taken_from": "node-a"}}, Activation((S.ADDRESS,), ("node-a",))),
    ],
)
def test_what_is_left_to_do_on_the_node_that_holds_the_lease(changes: dict[str, Any], expected: Activation) -> None:
    assert activated(**changes) == expected


def test_a_lease_that_nobody_renews_is_not_used() -> None:
    with pytest.raises(Refused) as raised:
        activated(held={"renewed_by": "nobody", "expires_in": 7.2, "taken_from": "node-a"})
    assert raised.value.message == (
        "no checker renews the lease of web on node-b, so it would be lost in 7.2 s; start holdfast-checker.service there"
    )
    assert raised.value.returns["plan"] == {"steps": FENCED, "unfenced": ("node-a",), "probe": PROBE}, "the rollback tells that the fence is due"


DOWN = {"primary_interface": "eth0", "primary_state": "down"}


def test_another_interface_is_tried_and_a_node_without_any_keeps_the_lease() -> None:
    found = handover.address_failed("no carrier", {**DOWN, "backup_interface": "eth1", "backup_state": "up"}, "eth0")
    assert (found.spare, found.down) == ("eth1", "")
    for shown, down in [({**DOWN, "backup_interface": "eth1"}, "eth0 and eth1 are down"), ({**DOWN, "primary_switched_off": True}, "eth0 is down")]:
        with pytest.raises(Refused, match=r"^no carrier$") as raised:
            handover.address_failed("no carrier", shown, "eth0")
        assert raised.value.returns["plan"] == {"spare": "", "down": down}
    with pytest.raises(Refused, match=r"^another host has it$") as raised:
        handover.address_failed("another host has it", {"primary_interface": "eth0", "primary_state": "up", "backup_state": "up"}, "eth0")
    assert raised.value.returns["plan"] == {"spare": "", "down": ""}, "it is rolled back"


def test_a_checker_that_moved_the_address_meanwhile_is_followed() -> None:
    moved = {"primary_interface": "eth1", "primary_state": "up", "backup_interface": "eth0", "backup_state": "down"}
    assert handover.address_failed("no carrier", moved, "eth0") == handover.WithoutAddress("", "")
    with pytest.raises(Refused, match=r"^no carrier$"):
        handover.address_failed("no carrier", {**moved, "primary_state": "down"}, "eth0")


def test_ec2_that_does_not_answer_is_postponed_and_a_denial_is_not() -> None:
    silent, denied = {"transient": True, "denied": False}, {"transient": False, "denied": True}
    assert handover.ec2_failed("no reply", [silent]) == "no reply"
    for errors in ([], [denied], [silent, denied]):
        with pytest.raises(Refused, match=r"^no reply$"):
            handover.ec2_failed("no reply", errors)


# --- what a person is told --------------------------------------------------------------------------------------------


def test_the_cause_of_a_loop_is_that_of_its_first_failed_item() -> None:
    assert handover.cause_of({"msg": "no reply"}) == "no reply"
    items = [{"failed": False}, {"failed": True, "msg": "denied"}]
    assert handover.cause_of({"msg": "One or more items failed", "results": items}) == "denied"
    assert handover.cause_of({}) == "see above"


@pytest.mark.parametrize("hosts", [["node-a", "node-b"], ["node-b"]])
def test_nothing_is_released_without_the_standby(hosts: list[str]) -> None:
    handover.standby_prepared("web", B, hosts)
    handover.standby_reached(B, hosts)
    handover.standby_reached(replace(B, host=""), [])  # it is not in the run, so the lease is handed over
    with pytest.raises(Refused, match=r"^node-b could not prepare for web, so nothing was released; see its error above$"):
        handover.standby_prepared("web", B, ["node-a"])
    with pytest.raises(Refused, match=r"^node-b can no longer be reached, so nothing was released$"):
        handover.standby_reached(B, ["node-a"])


def test_what_was_not_released_is_not_taken_over() -> None:
    handover.released("web", "node-a", None)
    handover.released("web", "node-a", True)
    with pytest.raises(Refused, match=r"^node-a could not release web in order, so it stays there; see its error above$"):
        handover.released("web", "node-a", False)


def test_a_resource_that_did_not_start_on_the_standby() -> None:
    nobody = {"handoff_to": "-"}
    handover.joined("web", "node-b", {"held": True}, nobody)
    handover.joined("web", "node-b", {}, {"handoff_to": ""})
    with pytest.raises(Refused, match=r"^web was taken out of service meanwhile; see the events of node-b$"):
        handover.joined("web", "node-b", {"last_recovery": None}, nobody)
    with pytest.raises(Refused, match=r"^app died$"):
        handover.joined("web", "node-b", {"held": False, "last_recovery": {"message": "app died"}}, nobody)


def test_only_a_release_fails_by_its_elastic_ip() -> None:
    handover.not_freed(Operation.FAILOVER, "web", "node-a", "denied")
    with pytest.raises(Refused, match=r"^web was released by node-a, but its Elastic IP still leads there: denied$"):
        handover.not_freed(Operation.RELEASE, "web", "node-a", "denied")


def test_why_it_stays() -> None:
    assert handover.kept("web", "node-a", "app hangs", back={}, stopped=["b"]) == "web stays on node-a: app hangs"
    told = handover.kept("web", "node-a", "app hangs", back={"msg": "no lease"}, stopped=["b", "a"])
    assert told == (
        "web was not released in order by node-a (app hangs), and its address could not be put back there: no lease; so b, a stays stopped there"
    )


@pytest.mark.parametrize(
    ("choice", "cause", "quieted", "hosts", "more"),
    [
        (GONE, "node-a holds it", False, ["node-b"], "; node-a cannot be reached from here, yet it still renews its lease: see to the way to it"),
        (GONE, "etcd cannot be reached", False, ["node-b"], ""),
        (replace(GONE, holder="node-b"), "the checker of node-b is busy", False, ["node-b"], ""),
        (THERE, "node-a holds it", True, ["node-a", "node-b"], ""),
        (
            THERE,
            "node-a holds it",
            True,
            ["node-b"],
            "; node-a can no longer be reached, and what depends on web was stopped there: see to the way to it, then run "
            "holdfast.ha.dependents -e tag=web -e state=started, unless another node has it by then",
        ),
        (THERE, "node-a holds it", False, ["node-b"], ""),
    ],
)
def test_why_the_lease_was_not_acquired(choice: Choice, cause: str, quieted: bool, hosts: list[str], more: str) -> None:
    assert handover.not_acquired("web", choice, cause, quieted=quieted, hosts=hosts) == cause + more


def test_what_a_rollback_leaves() -> None:
    told = handover.rolled_back("web", "node-b", "app died", freed={}, released={}, unfenced=None)
    assert told == "web could not be brought into service on node-b, and is now in service nowhere: app died"
    told = handover.rolled_back("web", "node-b", "denied", freed={"msg": "no right"}, released={"msg": "no store"}, unfenced=["node-a"])
    assert "; and its Elastic IP was not disassociated: no right; and the lease was not released: no store; node-a was not fenced" in told
    assert told.endswith("then run holdfast.ha.switchover -e tag=web -e to=node-b, with -e powered_off=node-a if it is off")
    assert "OLD_NODE was not fenced" in handover.rolled_back("web", "node-b", "denied", freed={}, released={}, unfenced=[])


# --- interrupted after any step ---------------------------------------------------------------------------------------


@dataclass
class World:
    """Two nodes and what belongs to the resource. Each change checks the invariant."""

    holder: str = "node-a"
    handed_to: str = ""
    over: str = ""
    address: set[str] = field(default_factory=lambda: {"node-a"})
    dependents: set[str] = field(default_factory=lambda: {"node-a"})
    ec2: str = "node-a"
    recorded: set[str] = field(default_factory=lambda: {"node-a"})
    fenced: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)

    def report(self, node: str) -> Report:
        held = self.holder == node
        return Report(node=node, host=node, holder=self.holder, held=held, recorded=node in self.recorded, watched=True)

    def do(self, node: str, step: Step, choice: Choice) -> None:
        """One step of the role, which leaves alone what is already so."""
        releases = choice.active is not None and choice.active.node == node
        if step is Step.STOP_DEPENDENTS:
            self.dependents.discard(node)
        elif step in (Step.TRANSFER, Step.TRANSFER_FIRST) and releases and self.holder == node:
            assert node not in self.dependents, "the address goes before the dependents have stopped"
            self.address.discard(node)
            self.holder, self.handed_to = "", choice.standby.node
        elif step is Step.TRANSFER and not releases and self.holder != node:
            assert self.holder == "" or self.holder in self.dead, "the lease is taken from a node that holds it"
            assert self.holder in self.dead or not self.address, "the lease goes to a second node while the address is up"
            self.holder, self.over = node, self.holder
        elif step is Step.FENCE:
            self.fenced.add(self.over)
        elif step is Step.ADDRESS:
            assert self.holder == node
            assert not self.over or self.over in self.fenced, "the address is up beside a node that was not fenced"
            self.address.add(node)
        elif step is Step.EC2:
            assert node in self.address
            self.ec2 = node
        elif step is Step.START_DEPENDENTS:
            assert self.ec2 == node
            assert not self.dependents - self.fenced - {node}, "dependents run twice"
            self.dependents.add(node)
        elif step is Step.RECORD:
            self.recorded.add(node) if node == choice.standby.node else self.recorded.discard(node)

    def run(self, to: str, interrupt: int) -> bool:
        """A switchover that is interrupted after so many steps; whether it came to its end."""
        alive = [name for name in ("node-a", "node-b") if name not in self.dead]
        choice = choose(Wish("web", to=to), alive[0], [self.report(name) for name in alive])
        plans = {name: handover.steps(Operation.FAILOVER, choice, name, check=False, forks=5) for name in alive}
        order = (Step.PREPARE, Step.STOP_DEPENDENTS, Step.TRANSFER, Step.ACTIVATE, Step.RECORD)
        done = 0
        for step, name in [(step, name) for step in order for name in sorted(alive, key=lambda name: name == choice.standby.node)]:
            if step not in plans[name]:
                continue
            parts = self.activation(name, choice) if step is Step.ACTIVATE else (step,)
            for part in parts:
                if done == interrupt:
                    return False
                self.do(name, part, choice)
                done += 1
        return True

    def activation(self, node: str, choice: Choice) -> tuple[Step, ...]:
        held = {"renewed_by": "checker", "changed": True, "taken_from": self.over}
        shown = {"recorded": node in self.recorded}
        return handover.activate(WEB, node, held=held, shown=shown, checker={"over": self.over}, expired=False, powered_off=[], joined=False).steps


@pytest.mark.parametrize("dead", [set(), {"node-a"}], ids=["both answer", "the active node is gone"])
@pytest.mark.parametrize("interrupt", range(14))
def test_a_run_that_is_repeated_from_any_point_completes_the_move(interrupt: int, dead: set[str]) -> None:
    world = World(dead=dead)
    ended = world.run("node-b", interrupt)
    assert ended is (interrupt >= (9 if dead else 10))
    assert world.run("node-b", 99)
    assert (world.holder, world.ec2, world.address - dead, world.dependents - dead) == ("node-b", "node-b", {"node-b"}, {"node-b"})
    assert world.fenced == dead
    assert "node-b" in world.recorded


@pytest.mark.parametrize("interrupt", range(10))
def test_a_person_may_go_back_from_any_point(interrupt: int) -> None:
    world = World()
    world.run("node-b", interrupt)
    assert world.run("node-a", 99)
    assert (world.holder, world.ec2, world.address, world.dependents) == ("node-a", "node-a", {"node-a"}, {"node-a"})
