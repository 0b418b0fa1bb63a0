# SPDX-License-Identifier: GPL-3.0-or-later
"""Under ansible-runner, the engine of AWX: the playbooks do what they do under ansible-playbook, and every event is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster
from harness.runner import RunnerJob, run_job
from lab.faults import strike


def job(cluster: Cluster, playbook: str, folder: Path, **variables: Any) -> RunnerJob:
    """On node-a itself."""
    node = cluster.node_a
    told = {"holdfast_resources": [cluster.web, cluster.web6], "holdfast_node": "node-a", **variables}
    return run_job(playbook, told, folder=folder, where=node.namespace, environment=node.environment)


def test_local_recovery_as_a_job(cluster: Cluster, tmp_path: Path) -> None:
    strike(cluster.lab, "wrong-route")

    done = job(cluster, "local_recovery", tmp_path)

    assert done.status == "successful", done.output
    assert cluster.changes() == {}
    assert set(done.changed) == {"Let route table entries and Elastic IP lead here"}
    assert done.stats["changed"] == {"localhost": 2}
    cluster.assert_served()


def test_controller_inventory_and_status(cluster: Cluster, tmp_path: Path) -> None:
    lab = cluster.lab
    told = {"holdfast_resources": [cluster.web]}
    done = run_job("status", told, folder=tmp_path, where=lab.router.namespace, environment=cluster.node_a.environment, inventory=lab.inventory())

    assert done.status == "successful", done.output
    shown = next(event for event in done.events if event["event"] == "runner_on_ok" and "Show the status" in event["event_data"]["task"])
    assert [line.split()[:3] for line in shown["event_data"]["res"]["msg"][1:3]] == [["web", "node-a", "yes"], ["web", "node-b", "no"]]
    assert cluster.changes() == {}


def test_backup_interface_as_a_survey_gives_it(cluster: Cluster, tmp_path: Path) -> None:
    shown = job(cluster, "backup_interface", tmp_path / "show", tag="web", operation="show", interface="")
    assert shown.status == "successful", shown.output
    assert shown.changed == []

    refused = job(cluster, "backup_interface", tmp_path / "add", tag="web", operation="add", interface="eth7")
    assert refused.status == "failed"
    failed = [event["event_data"]["res"]["msg"] for event in refused.events if event["event"] == "runner_on_failed"]
    assert len(failed) == 1
    assert "eth7" in failed[0]
    assert cluster.changes() == {}


def test_prepare_aws_makes_the_table_and_shows_the_policy(cluster: Cluster, tmp_path: Path) -> None:
    lab = cluster.lab
    keys = lab.control.admin_credentials
    login = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    environment = {**cluster.node_a.environment, **login}
    told = {"holdfast_store": {"type": "dynamodb", "table": "of-a-job", "region": lab.place.region}, "holdfast_resources": [cluster.web]}

    done = run_job("prepare_aws", told, folder=tmp_path, where=lab.router.namespace, environment=environment)

    assert done.status == "successful", done.output
    assert done.changed == ["Create the lease table"]
    client = lab.control.client("dynamodb")
    assert client.describe_table(TableName="of-a-job")["Table"]["TableStatus"] == "ACTIVE"
    said = [event["event_data"] for event in done.events if event["event"] == "runner_on_ok"]
    shown = next(data["res"]["msg"] for data in said if data["task"].startswith("Show"))
    rights = {action for one in shown["Statement"] for action in one["Action"]}
    assert {"ec2:ReplaceRoute", "ec2:AssociateAddress", "dynamodb:GetItem", "dynamodb:PutItem"} <= rights
    assert "dynamodb:UpdateItem" not in rights
    assert keys.secret_key not in done.output
    client.update_table(TableName="of-a-job", DeletionProtectionEnabled=False)
    client.delete_table(TableName="of-a-job")
