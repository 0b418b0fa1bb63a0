# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebooks, run by ansible-rulebook itself: an order of the checker's trigger ``webhook`` becomes a run of the playbook, or a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster
from lab.awx import TOKEN, AwxServer, Controller
from lab.faults import strike
from lab.netns import Inside
from lab.waiting import until

_ROOT = Path(__file__).resolve().parents[3]
_RULEBOOK = _ROOT / ".nox/eda/bin/ansible-rulebook"
#: One token for both sides of the webhook.
_TOKEN = "eda-token-4f0c"
pytestmark = pytest.mark.skipif(not _RULEBOOK.exists(), reason="ansible-rulebook is not there: install Java 17, then run `nox -s eda`")

#: Sends orders as the checker does, from within a namespace; prints what became of each.
_SEND = """
import json, sys, threading
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import CannotStart, Order, parse_triggers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.webhook import WebhookRunner
told = json.load(sys.stdin)
runner = WebhookRunner(parse_triggers([told["trigger"]], "test")[0], told["cluster"], "node-a")
for order in told["orders"]:
    try:
        outcome = runner.run(Order(**order), threading.Event())
        print(json.dumps([outcome.ok, outcome.message]))
    except CannotStart as error:
        print(json.dumps([False, str(error)]))
"""


@dataclass
class Rulebook:
    """One that runs. ``said`` grows as it goes."""

    where: Inside
    folder: Path
    port: int

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def send(self, *orders: Mapping[str, Any], token: str = _TOKEN, cluster: str = "web-prod") -> list[list[Any]]:
        """What became of each order, as the checker sees it."""
        token_file = self.folder / "token"
        token_file.write_text(token)
        token_file.chmod(0o600)
        trigger = {
            "type": "webhook",
            "url": f"https://localhost:{self.port}/endpoint",
            "token_file": str(token_file),
            "ca_cert": f"{self.folder}/cert.pem",
        }
        done = subprocess.run(
            self.where.command([sys.executable, "-c", _SEND]),
            input=json.dumps({"trigger": {**trigger, "timeout": 60}, "orders": orders, "cluster": cluster}),
            env={**os.environ, "PYTHONPATH": str(_ROOT / ".tree")},
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ready(self) -> bool:
        return f":{self.port} " in self.where.run("ss", "-Hltn").stdout


@contextmanager
def rulebook(name: str, where: Inside, folder: Path, *words: str, environment: Mapping[str, str]) -> Iterator[Rulebook]:
    """``holdfast.ha.NAME`` listens; ended with the context."""
    fresh = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost")
    extensions = ("-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign")
    subprocess.run(["openssl", *fresh, *extensions], cwd=folder, check=True, capture_output=True)
    with where.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    files = {f"holdfast_eda_{name}file": f"{folder}/{name}.pem" for name in ("cert", "key")}
    variables = {"holdfast_cluster": "web-prod", "holdfast_eda_host": "localhost", "holdfast_eda_port": port, "holdfast_eda_token": _TOKEN, **files}
    (folder / "variables.yml").write_text(json.dumps(variables))
    argv = [str(_RULEBOOK), "--rulebook", f"holdfast.ha.{name}", "--vars", f"{folder}/variables.yml", *words]
    settings = {
        **environment,
        "PATH": f"{_RULEBOOK.parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(_ROOT / ".tree"),
        "ANSIBLE_HOST_KEY_CHECKING": "0",
        "ANSIBLE_PIPELINING": "1",
        "EDA_JOB_TEMPLATE_REFRESH_DELAY": "0.2",
    }
    running = Rulebook(where, folder, port)
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            where.command(argv), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=settings, start_new_session=True
        )
        try:
            until(lambda: running.ready() or process.poll() is not None, 120, "the rulebook does not listen")
            assert process.poll() is None, running.said
            yield running
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_order_of_the_checker_becomes_a_recovery(cluster: Cluster, tmp_path: Path) -> None:
    lab = cluster.lab
    inventory = lab.inventory()
    inventory["all"]["vars"]["holdfast_resources"] = [cluster.web, cluster.web6]
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    trap = tmp_path / "trap"
    template = "{{ lookup('pipe', 'touch " + str(trap) + "') }}"
    where = lab.router.namespace
    with rulebook("holdfast", where, tmp_path, "--inventory", f"{tmp_path}/inventory.json", environment=cluster.node_a.environment) as running:
        refused = running.send({"tag": "web", "playbook": "recover", "reason": "no right to"}, token="another")
        assert [ok for ok, _message in refused] == [False]
        assert "HTTP 401" in refused[0][1]
        strike(cluster.lab, "sdc-on")
        elsewhere = running.send({"tag": "web", "playbook": "recover", "reason": "a resource of the same name"}, cluster="web-test")
        assert [ok for ok, _message in elsewhere] == [True], "the token is valid, so the order is taken, and ignored"

        told = running.send(
            {"tag": template, "playbook": "recover", "reason": "a template in place of a tag"},
            {"tag": "web\n", "playbook": "recover", "reason": "a tag with more behind it"},
            {"tag": "web", "playbook": "erase", "reason": "no playbook of ours"},
            {"tag": "web", "playbook": "recover", "reason": template, "faults": ["source_dest_check"]},
            {"tag": "web", "playbook": "recover", "reason": "the same again", "faults": ["source_dest_check"]},
        )

        assert [ok for ok, _message in told] == [True] * 5
        until(lambda: "PLAY RECAP" in running.said, 180, "no playbook has run")
        assert cluster.changes() == {}
        assert running.said.count("PLAY [Recover]") == 1, running.said
        assert not trap.exists()
        assert _TOKEN not in running.said


class _WithTemplates(Controller):
    """Also tells which templates there are, and looks at jobs in lots, as ansible-rulebook asks for them."""

    def answer(self, method: str, path: str, authorization: str, content_type: str, body: bytes) -> tuple[int, Any]:
        if authorization == f"Bearer {self.token}" and method == "GET":
            if path.startswith("/api/v2/config/"):
                return 200, {"version": "24.6.1"}
            if path.startswith("/api/v2/unified_job_templates/"):
                asks = {"limit": False, "labels": False, "inventory": False, "variables": False}
                one = {"id": 7, "type": "job_template", "name": "Holdfast recover", "summary_fields": {"organization": {"name": "Default"}}}
                one["related"] = {"launch": "/api/v2/job_templates/7/launch/"}
                return 200, {"results": [{**one, **{f"ask_{name}_on_launch": yes for name, yes in asks.items()}}], "next": None}
            if path.startswith("/api/v2/jobs/?"):
                jobs = [{"id": job, "type": "job", "status": "successful", "created": "now", "artifacts": {}} for job in self.looks]
                return 200, {"count": len(jobs), "results": jobs, "next": None}
        return super().answer(method, path, authorization, content_type, body)


def test_order_of_the_checker_becomes_a_job(tmp_path: Path) -> None:
    controller = _WithTemplates()
    with AwxServer(controller) as awx:
        where = Inside("here", os.getpid())
        words = ("--controller-url", awx.url, "--controller-token", TOKEN)
        with rulebook("holdfast_controller", where, tmp_path, *words, environment={}) as running:
            order = {"tag": "web", "playbook": "recover", "reason": "its route is wrong", "faults": ["routes"]}
            assert [ok for ok, _message in running.send(order)] == [True]
            until(lambda: any(method == "POST" for method, _path, _content in controller.requests), 60, "no job was launched")
    launched = [content for method, _path, content in controller.requests if method == "POST"]
    assert [one["extra_vars"] for one in launched] == [{"tag": "web"}]
    assert [given["tag"] for given in controller.given.values()] == ["web"]
