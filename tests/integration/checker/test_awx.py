# SPDX-License-Identifier: GPL-3.0-or-later
"""The triggers awx and webhook against a controller that speaks AWX's REST contract, over real HTTP and TLS."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.awx import AwxRunner
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.dispatcher import Order, Outcome, Triggers, parse_triggers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import AwxTrigger, CannotStart
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from lab.awx import TOKEN, AwxServer, Controller, certificate_of
from lab.waiting import until

from .conftest import Kept

ORDER = Order("web", "recover", "the route leads elsewhere", ("routes",))


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def server(controller: Controller) -> Iterator[AwxServer]:
    with AwxServer(controller) as made:
        yield made


Start = Callable[..., Outcome]


@pytest.fixture
def start(server: AwxServer, log: Kept, secret: Callable[[str], str]) -> Start:
    """Runs the order with the trigger awx and, behind it, a webhook that takes everything."""

    def run(order: Order = ORDER, cancel: threading.Event | None = None, **changes: Any) -> Outcome:
        awx = {"type": "awx", "url": server.url, "job_template": 7, "token_file": secret(TOKEN + "\n"), "poll": 0.05, **changes}
        with AwxServer(Controller(prefix="")) as other:
            other.controller.status = 202
            raw = [awx, {"type": "webhook", "url": f"{other.url}/endpoint"}]
            outcome = Triggers(parse_triggers(raw, "triggers"), log, cluster="prod", node="node-a").run(order, cancel or threading.Event())
            log.posts = other.controller.requests
        assert TOKEN not in json.dumps(log.events) + outcome.message
        return outcome

    return run


def test_a_job_is_launched_and_followed_to_its_end(start: Start, controller: Controller, log: Kept) -> None:
    outcome = start()
    assert outcome.ok, outcome
    assert (outcome.trigger, outcome.final) == ("awx", True)
    method, path, body = controller.requests[0]
    assert (method, path) == ("POST", "/api/v2/job_templates/7/launch/")
    assert body["extra_vars"].pop("holdfast_order").startswith("web-")
    assert body == {"extra_vars": {"tag": "web", "holdfast_reason": ORDER.reason, "holdfast_faults": ["routes"]}}
    assert [path for _method, path, _body in controller.requests[1:]] == ["/api/v2/jobs/100/"] * 4
    assert set(controller.authorizations) == {f"Bearer {TOKEN}"}
    assert log.names == ["run started", "run ended"]


def test_a_reason_that_looks_like_a_template_is_a_text(start: Start, controller: Controller) -> None:
    assert start(Order("web", "recover", "said {{ lookup('pipe', 'id') }} {% if x %}")).ok
    assert controller.requests[0][2]["extra_vars"]["holdfast_reason"] == "said { { lookup('pipe', 'id') }} { % if x %}"


FAULTS = ("address", "source_dest_check", "routes", "elastic_ip")


def test_the_survey_has_a_question_for_whatever_the_checker_sends(start: Start, controller: Controller) -> None:
    """The template prompts for no variables, so it drops what is no question; and it refuses an answer that a question does not allow."""
    order = Order("a-tag-of-as-many-characters-as-there-may-be"[:40], "recover", "ä reason: \n" * 40, FAULTS, {"holdfast_expired": "true"})
    assert start(order).trigger == "awx"
    (given,) = controller.given.values()
    assert (given["tag"], given["holdfast_faults"], given["holdfast_expired"]) == (order.tag, list(FAULTS), "true")
    assert start(replace(ORDER, reason="", faults=())).trigger == "awx"
    assert controller.given[101]["holdfast_expired"] == "false"


def test_a_template_that_prompts_for_variables_serves_too(start: Start, controller: Controller) -> None:
    controller.survey, controller.asks_for_variables = [], True
    assert start().trigger == "awx"


def test_a_template_by_name_and_a_url_with_a_path(start: Start, controller: Controller, server: AwxServer) -> None:
    assert start(job_template="recover++Default").ok
    assert controller.requests[0][1] == "/api/v2/job_templates/recover++Default/launch/"
    controller.prefix = "/gateway/controller"
    assert start(url=f"{server.url}/gateway/controller/").ok


def test_a_job_that_fails_is_the_answer(start: Start, controller: Controller, log: Kept) -> None:
    controller.course, controller.explanation = ("running", "failed"), "no host matched"
    outcome = start()
    assert (outcome.ok, outcome.trigger) == (False, "awx")
    assert outcome.message == "job 100 ended as failed: no host matched"
    assert "trigger failed" not in log.names, "the next trigger must not run what has run"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"launch_status": 400}, "HTTP 400"),
        ({"status": 401}, "does not accept the token"),
        ({"launch_status": 403}, "the role Execute on the job template"),
        ({"templates": {}}, "see url and job_template"),
        ({"launch_status": 415}, "HTTP 415"),
        ({"launch_status": 429, "retry_after": "60"}, "asked too often"),
        ({"status": 500}, "trouble of its own"),
        ({"status": 503}, "HTTP 503"),
        ({"status": 302}, "https://elsewhere.example.org/login); give that URL"),
        ({"survey": [{"variable": "approval", "type": "text", "required": True}]}, "'approval' value missing"),
        ({"survey": []}, "ignores holdfast_faults, holdfast_order, holdfast_reason, tag: its survey has no question for that"),
        ({"gibberish": True}, "names no job"),
        ({"token": "another"}, "does not accept the token"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_controller_that_refuses_lets_the_next_trigger_run(
    start: Start, controller: Controller, log: Kept, changes: dict[str, Any], told: str
) -> None:
    for name, value in changes.items():
        setattr(controller, name, value)
    outcome = start()
    assert (outcome.ok, outcome.trigger, outcome.final) == (True, "webhook", False)
    (failure,) = log.of("trigger failed")
    assert failure["trigger"] == "awx"
    assert told in failure["reason"], failure
    assert "secret" not in failure["reason"]
    assert log.posts[0][2] == {
        "source": "holdfast.ha",
        "cluster": "prod",
        "node": "node-a",
        "tag": "web",
        "playbook": "recover",
        "reason": ORDER.reason,
        "faults": ["routes"],
        "variables": {},
    }
    if not controller.survey:
        assert controller.canceled == [100], "a job that does not know its resource must not go on"


def test_a_controller_that_is_down_slow_or_never_ends_its_reply(
    start: Start, controller: Controller, log: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.awx._CALL", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert start(url=f"http://127.0.0.1:{port}").trigger == "webhook"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert start(url=f"http://127.0.0.1:{mute.getsockname()[1]}").trigger == "webhook"
    controller.slow = 60
    assert start().trigger == "webhook"
    controller.slow, controller.drip = 0, True
    begin = time.monotonic()
    assert start().trigger == "webhook"
    assert time.monotonic() - begin < 20, "a reply that never ends has to be cut off"
    assert [one["reason"].partition(": ")[2] for one in log.of("trigger failed")] == ["Connection refused", *["no reply within 0.5 s"] * 3]


def test_trouble_while_a_job_runs_is_outlasted(start: Start, controller: Controller) -> None:
    controller.poll_status = 503

    def recover() -> None:
        until(lambda: sum(path.endswith("/jobs/100/") for _method, path, _body in list(controller.requests)) >= 3, 20, "it did not ask again")
        controller.poll_status = 0

    helper = threading.Thread(target=recover)
    helper.start()
    outcome = start()
    helper.join()
    assert (outcome.ok, outcome.trigger) == (True, "awx")


def test_a_job_that_is_lost_sight_of_counts_as_not_started(server: AwxServer, controller: Controller, secret: Callable[[str], str]) -> None:
    (settings,) = parse_triggers(
        [{"type": "awx", "url": server.url, "job_template": 7, "token_file": secret(TOKEN), "poll": 0.05, "timeout": 60}], "triggers"
    )
    assert isinstance(settings, AwxTrigger)
    controller.poll_status = 404
    with pytest.raises(CannotStart, match="lost sight of job 100"):
        AwxRunner(settings, lost=0.3).run(ORDER, threading.Event())
    assert controller.canceled == [100]


@pytest.fixture
def hasty(server: AwxServer, secret: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> AwxRunner:
    """Gives a call a third of a second."""
    monkeypatch.setattr("ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.awx._CALL", 0.3)
    monkeypatch.setattr("ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.awx._SEARCH", 1.0)
    raw = {"type": "awx", "url": server.url, "job_template": 7, "token_file": secret(TOKEN), "poll": 0.05, "timeout": 60}
    (settings,) = parse_triggers([raw], "triggers")
    assert isinstance(settings, AwxTrigger)
    return AwxRunner(settings)


def test_a_job_whose_launch_was_not_answered_is_found_and_followed(hasty: AwxRunner, controller: Controller) -> None:
    """The next trigger would run beside it."""
    controller._launch("7", {"extra_vars": {"tag": "web", "holdfast_order": "web-of-somebody-else"}})
    controller.mute_launch = True
    outcome = hasty.run(ORDER, threading.Event())
    assert (outcome.ok, outcome.trigger) == (True, "awx")
    assert controller.looks == {100: 0, 101: 4}
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    outcome = hasty.run(ORDER, cancel)
    assert (outcome.ok, controller.canceled) == (False, [102]), "called off before it was answered"


def test_a_launch_that_was_not_answered_and_left_no_job_counts_as_not_started(hasty: AwxRunner, controller: Controller) -> None:
    controller.mute_launch, controller.launch_status = True, 500
    with pytest.raises(CannotStart, match="no reply within"):
        hasty.run(ORDER, threading.Event())


@pytest.mark.parametrize(
    "changes",
    [{"status": 302, "location": "http://[x"}, {"status": 429, "retry_after": "\u00b2"}, {"status": 429, "retry_after": "9" * 400}],
    ids=["location", "digit", "number"],
)
def test_an_odd_reply_is_one_more_reason_to_ask_the_next(start: Start, controller: Controller, log: Kept, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(controller, name, value)
    assert start().trigger == "webhook"
    assert "defect" not in log.names


def test_a_host_that_cannot_be_is_refused_with_the_settings(start: Start) -> None:
    with pytest.raises(BadInput, match="this has to be a URL"):
        start(url="https://awx..example.org")


def test_a_job_that_hangs_is_canceled(start: Start, controller: Controller) -> None:
    controller.course = ("running",)
    outcome = start(timeout=1)
    assert (outcome.ok, outcome.trigger) == (False, "awx")
    assert outcome.message == "job 100 was canceled: it did not end within 1 s"
    assert controller.canceled == [100]


def test_a_job_that_is_called_off_is_canceled_at_once(start: Start, controller: Controller) -> None:
    controller.course = ("running",)
    cancel = threading.Event()
    threading.Thread(target=lambda: (until(lambda: controller.looks.get(100), 20, "no job"), cancel.set())).start()
    outcome = start(cancel=cancel, poll=30)
    assert not outcome.ok
    assert "it was called off" in outcome.message
    assert controller.canceled == [100]
    assert outcome.seconds < 20


def test_a_playbook_that_the_template_is_not_for(start: Start, controller: Controller) -> None:
    assert start(Order("web", "switchover", "failback", variables={"to": "node-b"})).trigger == "webhook"
    assert controller.requests == []


def test_neither_stops_dependents(start: Start, controller: Controller, log: Kept) -> None:
    """Somebody waits for the end of that, which a webhook does not tell. So the order goes to neither of them."""
    outcome = start(Order("web", "dependents", "the resource leaves this node", variables={"state": "stopped"}))
    assert not outcome.ok
    assert (controller.requests, log.posts, log.names) == ([], [], [])
    assert "webhook: it does not run dependents; add a trigger of type playbook" in outcome.message


def test_nobody_who_could_run_it(log: Kept) -> None:
    outcome = Triggers((), log).run(ORDER, threading.Event())
    assert (outcome.ok, outcome.message) == (False, "no trigger is set; give the role holdfast.ha.monitor at least one")


@pytest.mark.parametrize("what", ["mode", "link", "missing", "empty", "blank"])
def test_a_token_file_that_cannot_be_used(start: Start, controller: Controller, log: Kept, tmp_path: Path, what: str) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text({"empty": "", "blank": "two words"}.get(what, TOKEN))
    if what == "mode":
        path.chmod(0o640)
    elif what == "link":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "token")
    elif what == "missing":
        path.unlink()
    assert start(token_file=str(path)).trigger == "webhook"
    assert str(path) in log.of("trigger failed")[0]["reason"]
    assert controller.requests == [], "nothing may be sent without the token"


def test_a_token_is_read_anew(start: Start, controller: Controller, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(TOKEN)
    assert start(token_file=str(path)).trigger == "awx"
    controller.token = "renewed"
    path.write_text("renewed\n")
    assert start(token_file=str(path)).trigger == "awx"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate_of(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def test_tls_is_verified(start: Start, certificate: tuple[Path, Path], log: Kept) -> None:
    with AwxServer(Controller(), certificate=certificate[0], key=certificate[1]) as server:
        assert start(url=server.url).trigger == "webhook"
        assert "its certificate is not trusted" in log.of("trigger failed")[0]["reason"]
        assert server.controller.requests == [], "the token must not go to somebody who is not known"
        assert start(url=server.url, ca_cert=str(certificate[0])).trigger == "awx"
        by_address = server.url.replace("localhost", "127.0.0.1")
        assert start(url=by_address, ca_cert=str(certificate[0])).trigger == "webhook"
        assert start(url=by_address, validate_certs=False).trigger == "awx"


def test_the_token_is_in_no_argument_list_and_no_environment(start: Start, controller: Controller) -> None:
    controller.course = ("running",)
    seen: list[bytes] = []

    def look() -> None:
        until(lambda: controller.looks.get(100), 20, "no job")
        for name in os.listdir("/proc"):
            for part in ("cmdline", "environ", "comm"):
                try:
                    seen.append(Path("/proc", name, part).read_bytes() if name.isdigit() else b"")
                except OSError:
                    continue
        controller.course = ("successful",)

    helper = threading.Thread(target=look)
    helper.start()
    assert start().ok
    helper.join()
    assert len(seen) > 3
    assert not any(TOKEN.encode() in text for text in seen)
