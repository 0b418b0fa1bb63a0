# SPDX-License-Identifier: GPL-3.0-or-later
"""Timing, records and store settings: what is accepted, what is refused and in which words; and the plan of the lease module."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.plugins.doc_fragments._store import ModuleDocFragment
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease import timing as timing_module
from ansible_collections.holdfast.ha.plugins.module_utils._lease.plan import Hold, Observed, Release, Wanted, plan_lease, simulate_lease
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import (
    NOBODY,
    CorruptRecord,
    NewerRecord,
    Record,
    lease_key,
    parse_node,
    parse_record,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import SETTINGS, parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import KERNEL_DELAY, PROFILES, Timing
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease import store_argument


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_profiles_keep_the_rule(name: str) -> None:
    timing = PROFILES[name].validate()
    assert timing.renew + 2 * timing.call + 1 <= timing.ttl * (1 - timing.rho) - timing.margin
    assert timing.window + max(KERNEL_DELAY, timing.margin - timing.window) - timing.reserve <= timing.margin + 1e-9
    assert timing.hold - timing.call - timing.reserve >= 2, "an address always gets two seconds"


def test_what_may_make_an_address_late_comes_off_its_lifetime() -> None:
    dice, seen = random.Random(3), set()
    for _number in range(2000):
        drawn = Timing(dice.uniform(3, 30), dice.uniform(0.1, 3), dice.uniform(0.1, 2), dice.uniform(0.1, 4), stop_budget=dice.choice([0, 1, 5]))
        try:
            timing = drawn.validate()
        except BadInput:
            continue
        late = timing.window + KERNEL_DELAY - timing.reserve
        assert late <= timing.margin + 1e-9, f"two holders with {timing}"
        needed = late + timing.reserve - timing.margin
        if timing.reserve > max(0.0, needed) + 1e-9:  # more than has to be: only what leaves time for a renewal that fails once
            assert timing.hold - timing.stop_budget - timing.reserve >= timing.renew + 2 * timing.call + 1
        seen.add("all of it" if late < 1e-9 else "a part" if timing.reserve else "nothing")
    assert seen == {"all of it", "a part", "nothing"}


@pytest.mark.parametrize(
    "timing",
    [
        Timing(ttl=8.1),
        Timing(renew=4),
        Timing(call=2.5),
        Timing(margin=4),
        Timing(rho=0.2, margin=2.1),
        Timing(stop_budget=1.9),
        Timing(ttl=0),
        Timing(rho=-0.1),
        Timing(call=float("nan")),
        Timing(ttl=float("inf")),
        Timing(ttl=1e9),
        Timing(rho=0.5),
    ],
)
def test_timing_that_breaks_the_rule_is_refused(timing: Timing) -> None:
    with pytest.raises(BadInput, match=r"^timing: "):
        timing.validate()


def test_the_least_ttl_that_is_named_is_enough() -> None:
    with pytest.raises(BadInput) as caught:
        Timing(ttl=5, stop_budget=3).validate()
    least = float(str(caught.value).rpartition("at least ")[2].split(",")[0])
    assert Timing(ttl=least, stop_budget=3).validate()
    with pytest.raises(BadInput):
        Timing(ttl=least - 0.2, stop_budget=3).validate()


GOOD = {"holder": "n1", "epoch": 7, "nonce": "a.b.1", "valid_for": 10}


@pytest.mark.parametrize("record", [Record("n1", 7, "a.b.1"), Record("", 7, "a.b.1", "n2", 2.5), Record("", 1, "x"), Record("", 7, "a", NOBODY)])
def test_records_survive_a_store(record: Record) -> None:
    assert parse_record(record.as_dict(), "k", "r") == record
    assert "" not in record.as_dict().values()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epoch": 0}, "epoch is '0'"),
        ({"epoch": -3}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"epoch": "7"}, "epoch"),
        ({"epoch": 2**60}, "epoch"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": "a\nb"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"holder": "a b"}, "holder is 'a b'"),
        ({"holder": 5}, "holder"),
        ({"holder": "-"}, "holder is '-'"),
        ({"handoff_to": "n2"}, "held and handed off at once"),
        ({"valid_for": 0}, "valid_for"),
        ({"valid_for": float("nan")}, "valid_for"),
        ({"version": 0}, "version is '0'"),
        ({"version": "2"}, "version"),
        ({"version": True}, "version"),
    ],
)
def test_corrupt_records_name_the_problem_and_the_remedy(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(CorruptRecord) as caught:
        parse_record({**GOOD, **change}, "c/t in table x", "delete it so")
    assert problem in str(caught.value)
    assert "c/t in table x" in str(caught.value)
    assert "(delete it so)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_a_later_release_adds_locks_nobody_out() -> None:
    assert parse_record({**GOOD, "fenced": "n2", "more": {"a": [1]}}, "k", "r") == Record("n1", 7, "a.b.1", ttl=10.0)
    assert parse_record({**GOOD, "version": 1}, "k", "r") == Record("n1", 7, "a.b.1", ttl=10.0)


def test_a_record_of_a_form_that_is_not_known_yet_is_not_said_to_be_damaged() -> None:
    """A person who deleted it would take the lease from a node that is well."""
    with pytest.raises(NewerRecord, match=r"has version 2, .* install on this node the release") as caught:
        parse_record({"version": 2, "who": "n1"}, "k", "delete it so")
    assert "delete" not in caught.value.message


def test_keys_and_names() -> None:
    assert lease_key("web-prod", "web") == "web-prod/web"
    for cluster, tag in (("a/b", "web"), ("web", ""), ("web", "../x"), ("", "web")):
        with pytest.raises(BadInput):
            lease_key(cluster, tag)
    assert parse_node("ip-10-0-0-5.eu-central-1.compute.internal", "holder")
    for name in ("", "-a", "a b", "a;b", "a" * 300, "a\n"):
        with pytest.raises(BadInput):
            parse_node(name, "holder")


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "none"},
        {"type": "dynamodb", "table": "holdfast"},
        {"type": "dynamodb", "table": "holdfast", "region": None, "endpoint_url": "http://127.0.0.1:8000", "validate_certs": False},
        {"type": "etcd", "endpoints": ["https://10.0.0.5:2379", "https://[fd00::5]:2379"], "ca_cert": "/ca.pem", "username": "u", "password": "p"},
        {"type": "etcd", "endpoints": ["http://127.0.0.1:2379", "http://[::1]:1", "http://localhost"], "username": "u", "password": "p"},
        {"type": "etcd", "endpoints": ["http://etcd-1.example.org:2379/gateway", "http://etcd_2.", "http://xn--bcher-kva.example"]},
    ],
)
def test_stores(raw: dict[str, Any]) -> None:
    assert parse_store(raw).type == raw["type"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "store: no store is set"),
        ("dynamodb", "store: no store is set"),
        ({}, "store: no store is set"),
        ({"table": "x"}, "store.type: 'None' is not a type of store"),
        ({"type": "consul"}, "store.type: 'consul' is not a type of store"),
        ({"type": ["etcd"]}, "store.type"),
        ({"type": "none", "table": "holdfast"}, "store.table: a store of type none has no such setting"),
        ({"type": "dynamodb"}, "store.table: a store of type dynamodb needs it"),
        ({"type": "dynamodb", "table": 5}, "store.table: this has to be a text"),
        ({"type": "dynamodb", "table": "a b"}, "store.table: 'a b' is not a table's name"),
        ({"type": "dynamodb", "table": "abc", "validate_certs": "no"}, "store.validate_certs: this has to be true or false"),
        ({"type": "dynamodb", "table": "abc", "endpoint_url": "localhost"}, "store.endpoint_url: this has to be a URL"),
        ({"type": "etcd", "endpoints": "https://a:1"}, "store.endpoints: this has to be a list of URLs"),
        ({"type": "etcd", "endpoints": ["https://u:hidden@a:1"]}, "store.endpoints: this has to be a list of URLs"),
        ({"type": "etcd", "endpoints": ["https://a:99999"]}, "store.endpoints"),
        ({"type": "etcd", "endpoints": ["https://a:1"], "password": "hidden"}, "store.username: username and password belong together"),
        ({"type": "etcd", "endpoints": ["https://a:1"], "cert": "/x"}, "store.cert: cert and key belong together"),
        ({"type": "etcd", "endpoints": ["http://a:1"], "ca_cert": "/x"}, "store.endpoints: certificates are set"),
        ({"type": "etcd", "endpoints": ["https://a:1"], "pass\nword": "hidden"}, "store.pass"),
        *(
            (
                {"type": "etcd", "endpoints": [url, "https://a:1"], "username": "u", "password": "hidden"},
                "store.endpoints: the password would go over",
            )
            for url in ("http://10.0.0.5:2379", "http://etcd.example.org:2379", "http://localhost.example.org:2379", "http://[fd00::5]:2379")
        ),
        *(
            ({"type": "etcd", "endpoints": [url]}, "store.endpoints: this has to be a list of URLs")
            for url in (
                "http://a..b:2379",
                "http://.a:2379",
                "http://-a:2379",
                f"http://{'a' * 64}:2379",
                "http://" + "a." * 130 + "b:2379",
                "http://h:2379/é",
                "http://b\xfccher.example:2379",
                "http://h:2379/a b",
                "http://h:0",
                "http://h:x",
                "http://:2379",
                "http://[fd00::5:2379",
                "http://a%20b:2379",
                "http://h?x=1",
                "http://h#x",
                "ftp://h",
                "h:2379",
            )
        ),
        ({"type": "dynamodb", "table": "abc", "endpoint_url": "http://a..b:8000"}, "store.endpoint_url: this has to be a URL"),
    ],
)
def test_stores_that_are_refused(raw: object, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_store(raw)
    assert str(caught.value).startswith(message)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    assert "hidden" not in repr(parse_store({"type": "etcd", "endpoints": ["https://a:1"], "username": "u", "password": "hidden"}))


def test_documentation_matches_the_settings() -> None:
    """One truth: the argument spec is made from the settings, and the documentation says the same."""
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["store"]["suboptions"]
    spec = store_argument()["store"]["options"]
    assert set(documented) == set(spec) == {"type"}.union(*SETTINGS.values())
    for name, option in spec.items():
        assert documented[name]["type"] == option["type"], name
        assert documented[name].get("elements") == option.get("elements"), name
        assert documented[name].get("required", False) == option.get("required", False), name
    assert documented["type"]["choices"] == spec["type"]["choices"]
    assert {name for name, option in spec.items() if option.get("no_log")} == {"access_key", "secret_key", "session_token", "password", "external_id"}


HELD, FREE, KEPT, SHUT = Record("n1", 7, "a"), Record("", 7, "a"), Record("", 7, "a", "n2"), Record("", 7, "a", NOBODY)


@pytest.mark.parametrize(
    ("wanted", "record", "planned"),
    [
        (Wanted("k", "n1", True), HELD, (Hold("k", "n1", True),)),
        (Wanted("k", "n1", True), FREE, (Hold("k", "n1", True),)),
        (Wanted("k", "n2", True), KEPT, (Hold("k", "n2", True),)),
        (Wanted("k", "n3", True), KEPT, None),
        (Wanted("k", "n3", True), SHUT, (Hold("k", "n3", True),)),
        (Wanted("k", "n1", False, NOBODY), HELD, (Release("k", NOBODY),)),
        (Wanted("k", "n2", False, NOBODY), HELD, ()),
        (Wanted("k", "n2", True), HELD, None),
        (Wanted("k", "n2", True, wait=1), HELD, (Hold("k", "n2", False),)),
        (Wanted("k", "n1", True), None, None),
        (Wanted("k", "n1", True, wait=1), None, (Hold("k", "n1", False),)),
        (Wanted("k", "n1", False), HELD, (Release("k"),)),
        (Wanted("k", "n1", False, "n2"), HELD, (Release("k", "n2"),)),
        (Wanted("k", "n1", False, "n2"), KEPT, ()),
        (Wanted("k", "n1", False, "n3"), KEPT, None),
        (Wanted("k", "n1", False), FREE, ()),
        (Wanted("k", "n1", False), None, ()),
        (Wanted("k", "n2", False), HELD, ()),
        (Wanted("k", "n2", False, "n1"), HELD, ()),
        (Wanted("k", "n2", False, "n3"), HELD, None),
        (Wanted("k", "n2", False, "n3"), None, None),
    ],
)
def test_plan(wanted: Wanted, record: Record | None, planned: tuple[Any, ...] | None) -> None:
    state = Observed(record)
    if planned is None:
        with pytest.raises(Refused):
            plan_lease(wanted, state, Timing())
        return
    assert plan_lease(wanted, state, Timing()) == planned
    done = simulate_lease(state, planned)
    assert plan_lease(wanted, done, Timing()) == ()
    if planned and done.record and record and isinstance(planned[0], Hold):
        assert done.record.epoch == record.epoch + (record.holder != wanted.holder)


@pytest.mark.parametrize(("unseen", "cause"), [({"elsewhere": True}, "on another machine"), ({"places": ("eth0",)}, "still on eth0")])
def test_a_release_that_nobody_can_answer_for(unseen: dict[str, Any], cause: str) -> None:
    """Only of what is held: nothing is refused where there is nothing to release."""
    with pytest.raises(Refused, match=cause):
        plan_lease(Wanted("k", "n1", False), Observed(HELD, **unseen), Timing())
    assert plan_lease(Wanted("k", "n2", False), Observed(HELD, **unseen), Timing()) == ()
    assert plan_lease(Wanted("k", "n1", True), Observed(HELD, **unseen), Timing()) == (Hold("k", "n1", True),)


def test_the_date_gives_the_first_epoch_and_decides_nothing() -> None:
    clocks = ("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.CLOCK_REALTIME")
    uses = []
    for path in sorted(Path(timing_module.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in clocks:
                uses.append(f"{path.name}: {ast.unparse(node)}")
    assert uses == ["keeper.py: time.time"]
