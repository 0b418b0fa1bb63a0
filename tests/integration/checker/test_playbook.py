# SPDX-License-Identifier: GPL-3.0-or-later
"""The trigger playbook with real ansible-playbook processes, cold and armed. The playbooks are the tests' own, the plugins the collection's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.dispatcher import Order, Outcome, Triggers, parse_triggers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from harness.module import TREE
from lab.waiting import until

from .conftest import Kept
from .test_leash import alive

ROOT = Path(__file__).resolve().parents[3]
#: Plenty for one ansible-playbook on a busy machine.
PATIENCE = 120.0
ORDER = Order("web", "recover", "it is broken", ("routes", "address"))
#: The task of the collection's own playbook that takes the order in a run that waits.
FIRST = next(
    one for one in yaml.safe_load((ROOT / "playbooks/recover.yml").read_text())[0]["tasks"] if "holdfast_armed_socket" in str(one.get("when"))
)


class Place:
    """A tree with the collection's plugins and the playbooks of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        collection = folder / "ansible_collections/holdfast/ha"
        collection.mkdir(parents=True)
        for name in ("plugins", "roles", "meta", "galaxy.yml"):
            (collection / name).symlink_to(ROOT / name)
        self.playbooks = collection / "playbooks"
        self.playbooks.mkdir()
        self.variables = folder / "variables.json"
        self.variables.touch(mode=0o600)
        self.variables.write_text(json.dumps({"where": str(folder), "greeting": "first"}))
        self.resources = folder / "resources"
        self.resources.mkdir()

    def write(self, name: str, *tasks: dict[str, Any]) -> None:
        """A playbook that begins as recover does."""
        (self.playbooks / f"{name}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [FIRST, *tasks]}]))

    def left(self, name: str) -> str:
        """What a playbook wrote; empty while it has not."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""


NOTE = {
    "name": "Note what this run knows",
    "ansible.builtin.copy": {
        "dest": "{{ where }}/note",
        "content": "{{ tag }} {{ holdfast_reason }} {{ holdfast_faults | join(',') }} {{ greeting }} {{ ansible_python_interpreter }}",
    },
}
#: A task with children in sessions of their own that ignore SIGTERM, which never ends.
HANG = {
    "name": "Hang",
    "ansible.builtin.shell": (
        "echo $$ > {{ where }}/pids; setsid sh -c 'trap \"\" TERM; echo $$ >> {{ where }}/pids; while :; do sleep 1; done' & sleep 600"
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "local"))
    return Place(tmp_path)


Make = Callable[..., Triggers]


@pytest.fixture
def make(place: Place, log: Kept) -> Iterator[Make]:
    made: list[Triggers] = []

    def build(*more: dict[str, Any], **changes: Any) -> Triggers:
        command = str(Path(sys.executable).with_name("ansible-playbook"))
        raw = [{"type": "playbook", "command": command, "variables": str(place.variables), "timeout": PATIENCE, **changes}, *more]
        one = Triggers(parse_triggers(raw, "triggers"), log, folder=place.folder / "run", definitions=place.resources)
        made.append(one)
        return one

    yield build
    for one in made:
        one.close()


def go(triggers: Triggers, order: Order = ORDER, cancel: threading.Event | None = None) -> Outcome:
    return triggers.run(order, cancel or threading.Event())


def waiting(triggers: Triggers, other_than: int | None = None) -> dict[str, Any]:
    """The armed run, once it waits."""

    def look() -> dict[str, Any] | None:
        armed: dict[str, Any] = triggers.describe()["armed"]
        return armed if armed["waiting"] and armed["pid"] != other_than else None

    found = until(look, PATIENCE, "no run was armed")
    assert found is not None
    return found


def test_a_cold_run_knows_its_order_and_its_end(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", NOTE)
    outcome = go(make())
    assert outcome.ok, outcome
    assert (outcome.trigger, outcome.message, outcome.final) == ("playbook", "", True)
    assert place.left("note") == f"web it is broken routes,address first {sys.executable}"
    assert log.names == ["run started", "run ended"]
    assert outcome.changes == ("Note what this run knows",)
    assert go(make()).changes == (), "nothing was left to change"
    (started, _second) = log.of("run started")
    assert started["armed"] is False


#: What a machine has that was a controller, or got it with its image. A user's file is read where there is none in /etc/ansible, and counts as much.
FOREIGN = {
    "a callback that is missing": "[defaults]\nstdout_callback = community.general.yaml\n",
    "a vault password that is missing": "[defaults]\nvault_password_file = ~/.vault_pass\n",
    "a strategy that is missing": "[defaults]\nstrategy = mitogen_linear\n",
    "a limit for every task": "[defaults]\ntask_timeout = 1\n",
    "another user": "[defaults]\nremote_user = ansible\n[privilege_escalation]\nbecome = True\nbecome_method = community.general.doas\n",
}


@pytest.mark.parametrize("armed", [False, True], ids=["cold", "armed"])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_the_configuration_of_the_host_does_not_matter(
    place: Place, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, armed: bool
) -> None:
    (tmp_path / ".ansible.cfg").write_text(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    place.write("recover", {"name": "Take longer than a second", "ansible.builtin.pause": {"seconds": 1.5}}, NOTE)
    triggers = make(armed=armed)
    if armed:
        triggers.arm()
        waiting(triggers)
    outcome = go(triggers)
    assert outcome.ok, outcome
    assert place.left("note")


def test_a_failure_is_told_in_the_words_of_the_module(place: Place, make: Make) -> None:
    recovered = {"block": [{"ansible.builtin.fail": {"msg": "this one is rescued"}}], "rescue": [NOTE]}
    place.write("recover", recovered)
    assert go(make()).ok
    place.write("recover", recovered, {"name": "Point the routes", "ansible.builtin.fail": {"msg": "the table\nrefuses"}})
    outcome = go(make())
    assert not outcome.ok
    assert outcome.message == "Point the routes: the table refuses"
    place.write("recover", {"name": "Hide", "ansible.builtin.fail": {"msg": "hush"}, "no_log": True})
    hidden = go(make())
    assert not hidden.ok
    assert "hush" not in hidden.message


def test_a_playbook_that_cannot_be_read_and_one_that_is_missing(place: Place, make: Make) -> None:
    (place.playbooks / "recover.yml").write_text("- hosts: all\n  tasks: [{no_such_module_at_all: {}}]\n")
    outcome = go(make())
    assert not outcome.ok
    assert "no_such_module_at_all" in outcome.message, outcome
    outcome = go(make(), Order("web", "switchover", "failback", variables={"to": "node-b"}))
    assert not outcome.ok
    assert "holdfast.ha.switchover" in outcome.message, outcome


def test_without_ansible_the_next_trigger_is_asked(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", NOTE)
    second = {"type": "playbook", "command": str(Path(sys.executable).with_name("ansible-playbook")), "variables": str(place.variables)}
    outcome = go(make(second, command="/nonexistent/ansible-playbook"))
    assert outcome.ok
    (failure,) = log.of("trigger failed")
    assert failure["reason"] == "playbook: /nonexistent/ansible-playbook cannot be run; install ansible-core there, or see triggers.command"[10:]


def test_a_run_that_hangs_is_killed_with_its_children(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", HANG)
    triggers = make(timeout=300)
    cancel = threading.Event()
    seen: list[int] = []

    def look() -> None:
        until(lambda: len(place.left("pids").split()) == 2, PATIENCE, "the task did not hang")
        (started,) = log.of("run started")
        seen.extend([started["pid"], *below(started["pid"])])
        cancel.set()

    helper = threading.Thread(target=look)
    helper.start()
    outcome = go(triggers, cancel=cancel)
    helper.join()
    hanging = [int(pid) for pid in place.left("pids").split()]
    assert set(hanging) <= set(seen)
    assert [pid for pid in seen if alive(pid)] == []
    assert not outcome.ok
    assert "was called off" in outcome.message
    assert log.names[:2] == ["run started", "run killed"]


def test_a_run_that_takes_too_long_is_killed(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", {"name": "Sleep", "ansible.builtin.command": "sleep 600"})
    outcome = go(make(timeout=2))
    assert not outcome.ok
    assert "did not end within 2 s" in outcome.message
    (started,) = log.of("run started")
    assert not alive(started["pid"])


#: What a hook prints, and what hangs after it.
CHATTY = {"name": "Talk", "ansible.builtin.debug": {"msg": "PASSWORD-42"}}
STUCK = {"name": "Hang on", "ansible.builtin.shell": "echo >{{ where }}/begun; sleep 600"}


def test_what_a_killed_run_has_printed_is_logged_nowhere(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", CHATTY, STUCK)
    outcome = go(make(timeout=6))
    assert "did not end within 6 s" in outcome.message
    assert place.left("begun")
    assert [one["task"] for one in log.of("run killed")] == ["Hang on"]
    assert "PASSWORD-42" not in json.dumps(log.events) + outcome.message


def test_what_a_run_has_printed_that_somebody_killed_is_logged_nowhere(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", CHATTY, STUCK)

    def kill() -> None:
        until(lambda: place.left("begun"), PATIENCE, "it does not begin")
        os.kill(min(below(log.of("run started")[0]["pid"])), signal.SIGKILL)

    helper = threading.Thread(target=kill)
    helper.start()
    outcome = go(make())
    helper.join()
    assert not outcome.ok
    assert "ended with 137 in the task Hang on" in outcome.message
    assert "PASSWORD-42" not in json.dumps(log.events) + outcome.message


def test_an_armed_run_takes_its_order_and_the_next_one_is_armed_behind_it(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", NOTE)
    triggers = make(armed=True)
    triggers.arm()
    armed = waiting(triggers)
    assert armed["version"] == "0.1.0"
    assert armed["memory"] > 10_000_000
    assert place.left("note") == ""
    outcome = go(triggers)
    assert outcome.ok, outcome
    assert place.left("note") == f"web it is broken routes,address first {sys.executable}"
    (started,) = log.of("run started")
    assert (started["armed"], started["pid"]) == (True, armed["pid"])
    until(lambda: not alive(armed["pid"]), PATIENCE, "the run that is over did not go away")
    waiting(triggers, other_than=armed["pid"])
    triggers.close()
    assert triggers.describe()["armed"]["pid"] is None


def test_an_order_given_while_it_still_starts_is_not_lost(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", NOTE)
    triggers = make(armed=True)
    triggers.arm()
    until(lambda: triggers.describe()["armed"]["pid"], PATIENCE, "nothing was started")
    assert go(triggers).ok
    assert log.of("run started")[0]["armed"] is True
    assert place.left("note").startswith("web ")


def test_other_playbooks_are_run_cold_and_leave_the_armed_run_alone(place: Place, make: Make, log: Kept) -> None:
    place.write("recover", NOTE)
    place.write("switchover", {"name": "Note", "ansible.builtin.copy": {"dest": "{{ where }}/switched", "content": "{{ tag }} to {{ to }}"}})
    triggers = make(armed=True)
    triggers.arm()
    armed = waiting(triggers)
    assert go(triggers, Order("web", "switchover", "failback", variables={"to": "node-b"})).ok
    assert place.left("switched") == "web to node-b"
    assert triggers.describe()["armed"]["pid"] == armed["pid"]


@pytest.mark.parametrize("what", ["variables", "resources", "killed"])
def test_what_no_longer_fits_is_armed_anew(place: Place, make: Make, what: str) -> None:
    place.write("recover", NOTE)
    triggers = make(armed=True)
    triggers.arm()
    old = waiting(triggers)["pid"]
    tree = [old, *below(old)]
    if what == "variables":
        place.variables.write_text(json.dumps({"where": str(place.folder), "greeting": "second"}))
    elif what == "resources":
        (place.resources / "web.json").write_text("{}")
    else:
        os.kill(old, signal.SIGKILL)
    assert go(triggers).ok
    assert place.left("note").split()[5] == ("second" if what == "variables" else "first"), "an order went to a run that had read something else"
    waiting(triggers, other_than=old)
    until(lambda: not any(map(alive, tree)), PATIENCE, "the old run stayed")


def test_an_armed_run_does_not_outlive_the_checker(place: Place) -> None:
    place.write("recover", NOTE)
    script = f"""
import time
from pathlib import Path
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.dispatcher import Triggers, parse_triggers
command = {str(Path(sys.executable).with_name("ansible-playbook"))!r}
raw = [{{"type": "playbook", "command": command, "variables": {str(place.variables)!r}, "armed": True}}]
triggers = Triggers(parse_triggers(raw, "t"), print, folder=Path({str(place.folder / "run")!r}), definitions=Path({str(place.resources)!r}))
triggers.arm()
while not triggers.describe()["armed"]["waiting"]:
    time.sleep(0.05)
print(triggers.describe()["armed"]["pid"], flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TREE)}) as checker:
        assert checker.stdout is not None
        top = int(checker.stdout.readline())
        tree = [top, *below(top)]
        assert len(tree) >= 3, "leash, ansible-playbook and its worker"
        begin = time.monotonic()
        checker.kill()
    until(lambda: not any(map(alive, tree)), 20, "something outlived the checker")
    assert time.monotonic() - begin < 20
    assert place.left("note") == ""


@pytest.mark.parametrize("number", ["0", "12345", "nonsense"])
def test_the_wait_refuses_what_is_not_the_checkers_socket(place: Place, number: str) -> None:
    place.write("recover", NOTE)
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "-e", f"@{place.variables}"]
    done = subprocess.run(
        [*argv, "-e", f"holdfast_armed_socket={number}", "holdfast.ha.recover"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "minimal"},
    )
    assert done.returncode == 2
    assert ("only the checker starts a run" in done.stdout) or ("nonsense" in done.stdout)
    assert place.left("note") == ""


#: Notes that it runs, and ends once a file is there.
HELD = {
    "name": "Wait to be let go",
    "ansible.builtin.shell": "touch {{ where }}/runs-{{ tag }}; until [ -e {{ where }}/go-{{ tag }} ]; do sleep 0.05; done",
    "changed_when": True,
}


def test_recoveries_take_turns_and_nothing_else_waits_for_them(place: Place, make: Make, log: Kept) -> None:
    """Two at a time, in their order; one that is called off gives its place up; what has a deadline does not stand in line."""
    place.write("recover", HELD)
    place.write("dependents", {"name": "Say so", "ansible.builtin.debug": {"msg": "done"}})
    triggers, cancels = make(), {name: threading.Event() for name in "abcd"}
    outcomes: dict[str, Outcome] = {}

    def order(name: str) -> threading.Thread:
        def run() -> None:
            outcomes[name] = go(triggers, Order(name, "recover", "it is broken"), cancels[name])

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def of(event: str, tag: str) -> list[dict[str, Any]]:
        return [one for one in log.of(event) if one["tag"] == tag]

    threads = {}
    for name in "abcd":
        threads[name] = order(name)
        if name in "ab":
            until(partial(of, "run started", name), PATIENCE, f"{name} does not start")
        else:
            until(partial(of, "run waits", name), PATIENCE, f"{name} does not wait")
    assert [(one["tag"], one["ahead"]) for one in log.of("run waits")] == [("c", 1), ("d", 2)]
    until(lambda: place.left("runs-a") == place.left("runs-b") == "" and (place.folder / "runs-b").exists(), PATIENCE, "they do not run")
    assert go(triggers, Order("a", "dependents", "the node is stopped")).ok
    cancels["c"].set()
    threads["c"].join(PATIENCE)
    assert (outcomes["c"].ok, outcomes["c"].message) == (False, "the playbook recover was called off before it began")
    assert not any(one["tag"] in "cd" for one in log.of("run started"))
    (place.folder / "go-a").touch()
    until((place.folder / "runs-d").exists, PATIENCE, "the next one does not get its turn")
    for name in "bd":
        (place.folder / f"go-{name}").touch()
    for thread in threads.values():
        thread.join(PATIENCE)
    assert [outcomes[name].ok for name in "abd"] == [True] * 3
    assert [one["tag"] for one in log.of("run started")] == ["a", "b", "a", "d"]
