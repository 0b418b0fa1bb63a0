# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook through ansible-runner, the engine inside AWX and automation controller, and read the events that these show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.netns import Namespace

_ROOT = Path(__file__).resolve().parents[2]
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class RunnerJob:
    """What the engine left behind. ``status``: successful, failed, timeout. ``events``: in order, as AWX keeps them."""

    status: str
    events: tuple[Mapping[str, Any], ...]
    output: str

    def tasks(self, kind: str) -> list[str]:
        """The names of the tasks with an event of that kind, such as ``runner_on_ok``, without the role's."""
        return [str(event["event_data"]["task"]).rsplit(" : ", maxsplit=1)[-1] for event in self.events if event["event"] == kind]

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something."""
        done = [event["event_data"] for event in self.events if event["event"] == "runner_on_ok"]
        return [str(data["task"]).rsplit(" : ", maxsplit=1)[-1] for data in done if data["res"].get("changed")]

    def assert_whole(self) -> None:
        """Fails unless AWX could show the run: no event is missing, each task has its results, and the recap is the last one and adds up."""
        kinds = [str(event["event"]) for event in self.events]
        assert [event["counter"] for event in self.events] == list(range(1, len(kinds) + 1)), "events are missing or out of order"
        assert kinds[0] == "playbook_on_start"
        assert kinds[-1] == "playbook_on_stats"
        assert kinds.index("playbook_on_play_start") < kinds.index("playbook_on_task_start")
        begun = {
            event["uuid"]: at
            for at, event in enumerate(self.events)
            if event["event"] in ("playbook_on_task_start", "playbook_on_handler_task_start")
        }
        results = ("runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable")
        ends = [(at, event) for at, event in enumerate(self.events) if event["event"] in results]
        assert all(begun[event["parent_uuid"]] < at for at, event in ends), "a result without a task"
        good = [event["event_data"] for _at, event in ends if event["event"] == "runner_on_ok"]
        told = Counter(data["host"] for data in good if data["res"].get("changed"))
        hidden = Counter(data["host"] for data in good if "censored" in data["res"] and "changed" not in data["res"])  # no_log hides that too
        assert all(told[host] <= self.stats["changed"].get(host, 0) <= told[host] + hidden[host] for host in self.stats["ok"]), (
            "the recap tells of other changes"
        )
        seen = Counter(data["host"] for data in good)
        assert all(seen[host] <= number for host, number in self.stats["ok"].items()), "the recap misses tasks"  # includes count there as well

    @property
    def stats(self) -> Mapping[str, Any]:
        """The recap: a mapping of hosts for each of ok, changed, failures, dark."""
        return next(dict(event["event_data"]) for event in self.events if event["event"] == "playbook_on_stats")


def run_job(
    playbook: str,
    variables: Mapping[str, Any],
    *,
    folder: Path,
    where: Namespace,
    environment: Mapping[str, str],
    inventory: Mapping[str, Any] | None = None,
    words: str = "",
    limit: int = 300,
) -> RunnerJob:
    """Run ``holdfast.ha.PLAYBOOK`` as a job; its events have to be whole.

    :param folder: Becomes the job's private data folder.
    :param inventory: As JSON; by default the machine itself, without SSH.
    :param words: More of ansible-playbook's arguments, as one text.
    :param limit: Seconds that it may take.
    """
    here = {"all": {"hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}
    for name, content in (
        ("inventory/hosts.json", inventory or here),
        ("env/extravars", variables),
        ("env/envvars", {"ANSIBLE_COLLECTIONS_PATH": str(_ROOT / ".tree"), "ANSIBLE_HOST_KEY_CHECKING": "0", "ANSIBLE_PIPELINING": "1"}),
        ("env/settings", {"idle_timeout": 120, "job_timeout": limit}),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (folder / "project").mkdir(exist_ok=True)
    argv = [str(_BIN / "ansible-runner"), "run", str(folder), "--playbook", f"holdfast.ha.{playbook}", "--ident", playbook, "--quiet"]
    argv += [f"--cmdline={words}"] if words else []
    path_of_tools = f"{_BIN}:{environment.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    done = subprocess.run(
        where.command(argv), env={**environment, "PATH": path_of_tools}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    left = folder / "artifacts" / playbook
    assert (left / "status").exists(), done.stdout + done.stderr
    events = [json.loads(path.read_text()) for path in (left / "job_events").glob("[0-9]*.json")]
    output = (left / "stdout").read_text() + done.stderr
    job = RunnerJob((left / "status").read_text().strip(), tuple(sorted(events, key=lambda event: int(event["counter"]))), output)
    assert job.status in ("successful", "failed"), f"it ended by {job.status}: {output[-2000:]}"
    job.assert_whole()
    return job
