# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease modules as Ansible runs them, on a real etcd and on the lab's DynamoDB."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd import EtcdStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import Gateway
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store
from ansible_collections.holdfast.ha.tests.integration.lease.servers import Etcd, free_port
from harness.module import run_module, twelve_steps
from lab.control import ControlPlane, Fault
from lab.python39 import Python39

SECRET = "wJalrXUtnFEMIverysecret"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as control:
        DynamoDbStore(control.client("dynamodb"), "leases").create(pause=lambda _: time.sleep(0.05))
        yield control


def dynamodb(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    who = plane.admin_credentials
    keys = {"access_key": who.access_key, "secret_key": who.secret_key}
    return {"type": "dynamodb", "table": "leases", "region": plane.region, "endpoint_url": plane.endpoint_url, **keys, **more}


@pytest.fixture(params=["etcd", "dynamodb"])
def store(request: pytest.FixtureRequest, etcd: Etcd, plane: ControlPlane) -> tuple[dict[str, Any], Store]:
    """The option ``store`` and a store client past the module."""
    if request.param == "etcd":
        return {"type": "etcd", "endpoints": etcd.endpoints}, EtcdStore(Gateway(etcd.endpoints, timeout=2))
    return dynamodb(plane), DynamoDbStore(plane.client("dynamodb"), "leases")


def write(client: Store, tag: str, record: Record) -> None:
    key = f"web-prod/{tag}"
    assert client.write(key, client.read(key).token, record) is not None


def lease(tag: str, holder: str, store: dict[str, Any], *, check: bool = False, **more: Any) -> dict[str, Any]:
    return run_module("lease", {"cluster": "web-prod", "tag": tag, "holder": holder, "store": store, **more}, check=check)


def test_twelve_steps(store: tuple[dict[str, Any], Store]) -> None:
    setting, client = store
    write(client, "twelve", Record("", 7, "seed.1"))
    last: list[dict[str, Any]] = []

    def run(args: dict[str, Any], check: bool) -> dict[str, Any]:
        more = {name: value for name, value in args.items() if name != "holder"}
        last.append(lease("twelve", args["holder"], setting, check=check, **more))
        return last[-1]

    def snapshot() -> object:
        record = client.read("web-prod/twelve").record
        assert record is not None
        return record.holder, record.epoch, record.handoff_to

    twelve_steps(
        run,
        snapshot,
        create={"holder": "node-a"},
        change={"holder": "node-a", "state": "released", "handoff_to": "node-b"},
        remove={"holder": "node-b", "state": "held"},
    )
    assert [(answer["holder"], answer["epoch"]) for answer in last[:4]] == [("node-a", 8)] * 4
    foreseen, _looked, acquired, foreseen_again, renewed = last[:5]
    assert [foreseen["expires_in"], foreseen_again["expires_in"]] == [None, None]
    assert 6 < acquired["expires_in"] <= 7.8
    assert 6 < renewed["expires_in"] <= 7.8
    assert snapshot() == ("node-b", 9, "")


@pytest.mark.python39
def test_a_renewal_prolongs_and_is_no_change(store: tuple[dict[str, Any], Store]) -> None:
    setting, client = store
    write(client, "renew", Record("node-a", 7, "seed.1", ttl=10))
    before = client.read("web-prod/renew").record
    foreseen = lease("renew", "node-a", setting, check=True)
    assert (foreseen["changed"], foreseen["expires_in"]) == (False, None)
    assert client.read("web-prod/renew").record == before
    answer = lease("renew", "node-a", setting, ttl=20)
    after = client.read("web-prod/renew").record
    assert (answer["changed"], answer["holder"], answer["epoch"]) == (False, "node-a", 7)
    assert 16 < answer["expires_in"] <= 20 * 0.98 - 2
    assert after is not None
    assert (after.epoch, after.ttl) == (7, 20)
    assert after.nonce != "seed.1"


def test_another_holds_it(store: tuple[dict[str, Any], Store]) -> None:
    setting, client = store
    write(client, "other", Record("node-b", 7, "seed.1"))
    answer = lease("other", "node-a", setting)
    assert answer["failed"]
    assert answer["msg"].startswith("the lease web-prod/other is held by node-b (epoch 7); release it there, or set wait to at least 12")
    assert (answer["holder"], answer["epoch"]) == ("node-b", 7)
    assert lease("other", "node-a", setting, state="released")["changed"] is False
    assert "cannot be handed off to node-c" in lease("other", "node-a", setting, state="released", handoff_to="node-c")["msg"]
    record = client.read("web-prod/other").record
    assert record == Record("node-b", 7, "seed.1")


def test_waiting_for_a_holder_that_is_gone_and_for_one_that_lives(etcd: Etcd) -> None:
    client = EtcdStore(Gateway(etcd.endpoints, timeout=2))
    setting = {"type": "etcd", "endpoints": etcd.endpoints}
    write(client, "gone", Record("node-b", 7, "seed.1", ttl=1))
    short = lease("gone", "node-a", setting, ttl=8.2, wait=1)
    assert short["msg"].startswith("the lease web-prod/gone was not free within 1 s: node-b holds it (epoch 7); release it there")
    begin = time.monotonic()
    answer = lease("gone", "node-a", setting, ttl=8.2, wait=20)
    assert (answer["failed"], answer["changed"], answer["holder"], answer["epoch"]) == (False, True, "node-a", 8)
    assert time.monotonic() - begin > 8.2 * 1.02


def test_a_release_of_what_another_machine_renewed(store: tuple[dict[str, Any], Store]) -> None:
    """Its address cannot be seen from here, so whoever took the lease might not be alone with it."""
    setting, client = store
    write(client, "far", Record("node-a", 7, "seed.1"))
    answer = lease("far", "node-a", setting, state="released")
    assert "was renewed on another machine than this one" in answer["msg"]
    assert "release it on node-a, or let it run out" in answer["msg"]
    assert client.read("web-prod/far").record == Record("node-a", 7, "seed.1")
    absent = lease("far", "node-a", setting, state="released", by_checker=True)
    assert "no checker on this host watches the lease web-prod/far, so nothing is done about it" in absent["msg"]
    assert not lease("far", "node-a", setting)["failed"]
    assert lease("far", "node-a", setting, state="released")["changed"] is True, "this machine renewed it"
    write(client, "left", Record("node-a", 7, "seed.1"))
    named = lease("left", "node-a", setting, state="released", handoff_to="-", address="192.0.2.10")
    assert "was renewed on another machine" in named["msg"]
    assert lease("left", "node-a", setting, state="released", handoff_to="-")["changed"] is True, "nobody takes it on his own"


def test_whom_it_was_taken_from(etcd: Etcd) -> None:
    client = EtcdStore(Gateway(etcd.endpoints, timeout=2))
    setting = {"type": "etcd", "endpoints": etcd.endpoints}
    write(client, "from", Record("", 7, "seed.1"))
    assert lease("from", "node-a", setting)["taken_from"] == ""
    write(client, "from", Record("node-b", 8, "seed.2", ttl=1))
    assert lease("from", "node-a", setting, ttl=8.2, wait=20)["taken_from"] == "node-b"
    assert lease("from", "node-a", setting)["taken_from"] == "", "it was held already"


def test_a_lease_without_a_record_is_watched_first(store: tuple[dict[str, Any], Store]) -> None:
    setting, client = store
    answer = lease("fresh", "node-a", setting)
    assert answer["msg"].startswith("the lease web-prod/fresh has no record yet; as somebody may have deleted it")
    assert lease("fresh", "node-a", setting, state="released")["changed"] is False
    assert client.read("web-prod/fresh").record is None
    info = run_module("lease_info", {"cluster": "web-prod", "tag": "fresh", "store": setting})
    assert (info["changed"], info["record"]) == (False, None)


@pytest.mark.python39
def test_info(store: tuple[dict[str, Any], Store]) -> None:
    setting, client = store
    write(client, "info", Record("", 7, "seed.1", "node-c", 12.5))
    info = run_module("lease_info", {"cluster": "web-prod", "tag": "info", "store": setting})
    assert info["record"] == {"holder": "", "epoch": 7, "nonce": "seed.1", "handoff_to": "node-c", "ttl": 12.5, "unfenced": []}


def test_a_lost_reply_is_settled_by_the_nonce(plane: ControlPlane) -> None:
    client = DynamoDbStore(plane.client("dynamodb"), "leases")
    write(client, "lost", Record("", 7, "seed.1"))
    plane.faults.inject(Fault("lost_reply", "dynamodb:PutItem", times=1))
    before = len(plane.calls.all("PutItem"))
    answer = lease("lost", "node-a", dynamodb(plane))
    plane.faults.clear()
    assert (answer["failed"], answer["changed"], answer["holder"], answer["epoch"]) == (False, True, "node-a", 8)
    assert len(plane.calls.all("PutItem")) == before + 1


def test_lease_store(plane: ControlPlane, etcd: Etcd) -> None:
    admin = plane.client("dynamodb")

    def snapshot() -> object:
        return {name: admin.describe_table(TableName=name)["Table"]["KeySchema"] for name in admin.list_tables()["TableNames"]}

    created = {"store": dynamodb(plane, table="made-by-module")}
    another = {"store": dynamodb(plane, table="made-again")}
    twelve_steps(lambda args, check: run_module("lease_store", args, check=check), snapshot, created, another, None)
    made = admin.describe_table(TableName="made-by-module")["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["DeletionProtectionEnabled"], "who deletes the table takes every service of the cluster down"
    assert run_module("lease_store", created)["table_arn"] == made["TableArn"]
    for setting in ({"type": "etcd", "endpoints": etcd.endpoints}, {"type": "none"}):
        answer = run_module("lease_store", {"store": setting})
        assert (answer["failed"], answer["changed"], answer["ready"]) == (False, False, True)


def test_a_botocore_that_cannot_protect_the_table_from_deletion(plane: ControlPlane, python_39: Python39) -> None:
    """That of Debian 11. The table is made all the same, and whoever made it learns what is left to do."""
    setting = {"store": dynamodb(plane, table="by-old-boto")}
    first, second = (run_module("lease_store", setting, python=str(python_39.with_ansible)) for _time in range(2))
    assert (first["failed"], first["changed"], first["ready"]) == (False, True, True)
    (warning,) = map(str, first["warnings"])
    assert "by-old-boto was created without deletion protection" in warning
    assert "aws dynamodb update-table --table-name by-old-boto --deletion-protection-enabled" in warning
    assert (second["changed"], "warnings" in second) == (False, False)


def test_a_table_for_something_else_is_refused(plane: ControlPlane) -> None:
    plane.client("dynamodb").create_table(
        TableName="foreign",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    setting = dynamodb(plane, table="foreign")
    assert "its key is not the text attribute lease" in run_module("lease_store", {"store": setting})["msg"]
    assert "is no lease table" in lease("t", "node-a", setting)["msg"]


def test_corrupt_records_say_what_to_do(plane: ControlPlane, etcd: Etcd) -> None:
    plane.client("dynamodb").put_item(TableName="leases", Item={"lease": {"S": "web-prod/bad"}, "holder": {"S": "node-b"}, "epoch": {"S": "x"}})
    answer = lease("bad", "node-a", dynamodb(plane), wait=60)
    assert "epoch is 'x'" in answer["msg"]
    assert "aws dynamodb delete-item --table-name leases --key" in answer["msg"]
    key = base64.b64encode(b"/holdfast/web-prod/bad").decode()
    etcd.call("/v3/kv/put", {"key": key, "value": base64.b64encode(b"hello").decode()})
    assert "etcdctl del /holdfast/web-prod/bad" in lease("bad", "node-a", {"type": "etcd", "endpoints": etcd.endpoints})["msg"]


Settings = Callable[[ControlPlane, Etcd], dict[str, Any]]


@pytest.mark.parametrize(
    ("setting", "more", "message"),
    [
        (
            lambda p, e: dynamodb(p),
            {"ttl": 5},
            "R + 2C + 1 = 2 + 2*1.5 + 1 = 6 s is more than T(1-rho) - D - stop_budget = 5*0.98 - 2 - 0 = 2.9 s",
        ),
        (lambda p, e: dynamodb(p), {"ttl": -1}, "timing: ttl = -1 is out of range"),
        (lambda p, e: dynamodb(p), {"wait": -1}, "wait: give seconds from 0"),
        (lambda p, e: dynamodb(p), {"tag": "../etc"}, "tag: '../etc' is not a tag"),
        (lambda p, e: dynamodb(p), {"cluster": "A b"}, "cluster: 'A b' is not a tag"),
        (lambda p, e: dynamodb(p), {"holder": "a/b"}, "holder: 'a/b' is not a node's name"),
        (lambda p, e: dynamodb(p), {"handoff_to": "node-b"}, "handoff_to: it names the other node"),
        (lambda p, e: {"type": "none"}, {}, "store: type none keeps no leases"),
        (lambda p, e: {}, {}, "missing required arguments: type found in store"),
        (lambda p, e: dynamodb(p, table=None), {}, "store.table: a store of type dynamodb needs it"),
        (
            lambda p, e: dynamodb(p, table="no-such-table"),
            {},
            "table no-such-table does not exist in eu-central-1; create it with lease_store",
        ),
        (lambda p, e: dynamodb(p, secret_key=SECRET), {}, "GetItem: AWS does not accept these credentials"),
        (lambda p, e: dynamodb(p, endpoint_url=f"http://127.0.0.1:{free_port()}"), {}, "GetItem: cannot reach http://127.0.0.1:"),
        (lambda p, e: dynamodb(p, endpoints=["http://127.0.0.1:1"]), {}, "store.endpoints: a store of type dynamodb has no such setting"),
        (lambda p, e: {"type": "etcd", "endpoints": []}, {}, "store.endpoints: this has to be a list of URLs"),
        (lambda p, e: {"type": "etcd", "endpoints": ["10.0.0.5:2379"]}, {}, "store.endpoints: this has to be a list of URLs"),
        (lambda p, e: {"type": "etcd", "endpoints": [f"http://u:{SECRET}@h:1"]}, {}, "store.endpoints: this has to be a list of URLs"),
        (lambda p, e: {"type": "etcd", "endpoints": e.endpoints, "username": "root"}, {}, "store.username: username and password belong together"),
        (
            lambda p, e: {"type": "etcd", "endpoints": e.endpoints, "username": "root", "password": SECRET},
            {},
            "etcd does not accept the user and password",
        ),
        (lambda p, e: {"type": "etcd", "endpoints": [f"http://127.0.0.1:{free_port()}"]}, {}, "etcd cannot be reached: http://127.0.0.1:"),
    ],
)
def test_refused_in_one_line(plane: ControlPlane, etcd: Etcd, setting: Settings, more: dict[str, Any], message: str) -> None:
    args = {"cluster": "web-prod", "tag": "refused", "holder": "node-a", "store": setting(plane, etcd), "wait": 60, **more}
    begin = time.monotonic()
    answer = run_module("lease", args, env={"AWS_EC2_METADATA_DISABLED": "true"})
    assert answer["failed"]
    assert not answer.get("changed")
    assert message in answer["msg"]
    assert time.monotonic() - begin < 20
    if "endpoints" not in more and "u:" not in str(args["store"].get("endpoints")):
        assert SECRET not in json.dumps(answer)
