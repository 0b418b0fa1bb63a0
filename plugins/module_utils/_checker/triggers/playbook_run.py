# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ansible-playbook on this node, cold or started in advance: how it is started, what it tells, how it ends.

The callback plugin holdfast.ha.checker tells over a socket which tasks fail and when the playbook is over. So the end is known before the process
has gone, and a failure is told in the words of the module rather than found in printed text.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order, PlaybookTrigger
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.supervised_process import SupervisedProcess

#: The name of the variable that tells the callback plugin which descriptor it has.
REPORT = "HOLDFAST_RUN_REPORT"
_LONGEST_LINE, _LONGEST_MESSAGE = 65536, 500
_MOST_CHANGES = 100
#: Seconds that ansible-playbook has to go away in once its playbook is over.
_PARTING = 10.0
_LAUNCH_FAILED = 127
#: Exit codes above it stand for a signal.
_SIGNALED = 128
_TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \**$")
#: The first half of a mark that begins a template, also where marks overlap; and a header that makes any text a template.
_TEMPLATE_MARK, _TEMPLATE_HEADER = re.compile(r"\{(?=[{%#])"), "#jinja2:"


def write_configuration(folder: Path, name: str, text: str) -> Path | None:
    """An ansible.cfg for runs of the checker alone: the host's own is meant for something else, and may name what is not there.

    ``None`` if it cannot be written: then the host's own counts.
    """
    path = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    with open(handle, "w", encoding="ascii") as file:
        file.write(text)
    return path


def argv_of(settings: PlaybookTrigger, playbook: str, variables: Mapping[str, Any]) -> list[str]:
    """The command line of a local run."""
    words = [settings.command, "-i", "localhost,", "-c", "local", "-e", f"@{settings.variables}"]
    return [*words, "-e", json.dumps({**variables, "ansible_python_interpreter": sys.executable}), f"holdfast.ha.{playbook}"]


def variables_of(order: Order) -> dict[str, Any]:
    """The extra variables of a cold run, without templates: Ansible evaluates extra variables, and a text may repeat the words of a server."""
    more = {name: _plain(value) for name, value in order.variables.items()}
    return {"tag": _plain(order.tag), "holdfast_reason": _plain(order.reason), "holdfast_faults": [_plain(one) for one in order.faults], **more}


def _plain(text: str) -> str:
    """``text`` with a blank in the middle of each mark of a template, and before the header of one."""
    text = _TEMPLATE_MARK.sub("{ ", text)
    return f" {text}" if text.startswith(_TEMPLATE_HEADER) else text


def environment_of(report: int, configuration: Path | None) -> dict[str, str]:
    """This process's environment without what would make Ansible ask, colour or look elsewhere."""
    left_out = ("ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_FORCE_COLOR", "ANSIBLE_CALLBACKS_ENABLED", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    callbacks = [name for name in os.environ.get("ANSIBLE_CALLBACKS_ENABLED", "").split(",") if name]
    ours = {
        "ANSIBLE_CALLBACKS_ENABLED": ",".join([*callbacks, "holdfast.ha.checker"]),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
        REPORT: str(report),
    }
    if configuration is not None and "ANSIBLE_CONFIG" not in kept:  # which the role `monitor` can set
        ours["ANSIBLE_CONFIG"] = str(configuration)
    return {**kept, **ours}


class Run:
    """A process that runs one playbook. Raises `OSError` where none can be made.

    :param armed: Its first task waits for `hand_over`.
    :param configuration: An ansible.cfg for it.
    """

    def __init__(
        self, settings: PlaybookTrigger, playbook: str, variables: Mapping[str, Any], *, armed: bool = False, configuration: Path | None = None
    ):
        self._line, theirs = socket.socketpair()
        with theirs:
            told = {**variables, **({"holdfast_armed_socket": theirs.fileno()} if armed else {})}
            self._process = SupervisedProcess(
                argv_of(settings, playbook, told), environment_of(theirs.fileno(), configuration), give=(theirs.fileno(),)
            )
        self.waiting = threading.Event()
        self._over = threading.Event()
        self._failures: list[str] = []
        self._changes: list[str] = []
        self._summary: dict[str, Any] | None = None
        threading.Thread(target=self._listen, name=f"reports of {playbook}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The top of its process tree."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still do something."""
        return self._process.exit_code is None

    def hand_over(self, order: Order) -> bool:
        """Let an armed run begin, now or as soon as Ansible is up. False where it is gone."""
        line = json.dumps({"tag": order.tag, "reason": order.reason, "faults": list(order.faults)})
        try:
            self._line.sendall(line.encode() + b"\n")
        except OSError:
            return False
        return self.alive

    def wait(self, seconds: float, cancel: threading.Event) -> bool:
        """Whether the playbook, or the process, has ended within ``seconds`` and before ``cancel`` is set."""
        end = time.monotonic() + seconds
        while not self._over.is_set():
            left = end - time.monotonic()
            if left <= 0 or cancel.is_set():
                return False
            if not self._over.wait(min(left, 0.05)) and not self.alive:
                self._over.wait(1.0)  # what it said last is on its way
                break
        return True

    def kill(self) -> None:
        """End it with all that it started."""
        self._process.end()
        self._hang_up()

    @property
    def told_its_end(self) -> bool:
        """Whether the playbook came to its end, well or not; after `wait`."""
        return self._summary is not None

    def result(self) -> tuple[bool, str]:
        """Whether it went well, and one line that says why not; after `wait`."""
        if self._summary is None:
            code = self._process.wait(_PARTING)
            if code == 0:
                return False, "ansible-playbook ended and its playbook had not; is the callback plugin holdfast.ha.checker there?"
            tail = self._process.tail()
            if self.last_task() and (code is None or code > _SIGNALED):  # what a hook has printed goes into no log
                return False, cut(f"ansible-playbook ended with {code} in the task {self.last_task()}")
            said = next((line for line in reversed(tail) if line.startswith(("ERROR!", "[ERROR]"))), tail[-1] if tail else "it said nothing")
            return False, cut(f"ansible-playbook ended with {code}: {said}")
        threading.Thread(target=self._part, name="end of a run", daemon=True).start()
        if self._summary.get("ok") is True:
            return True, ""
        return False, cut(self._failures[-1] if self._failures else "the playbook failed, and no task says why; see its output")

    def changes(self) -> tuple[str, ...]:
        """The tasks that changed something, in their order."""
        return tuple(self._changes)

    @property
    def missing(self) -> bool:
        """Whether there is no such program; after `wait`."""
        return self._summary is None and self._process.wait(_PARTING) == _LAUNCH_FAILED

    def last_task(self) -> str:
        """The name of the last task that its output shows; empty where there is none. The rest of the output may hold anything that a hook prints."""
        names = [found[1] for line in self._process.tail() if (found := _TASK.match(line))]
        return cut(names[-1]) if names else ""

    def _part(self) -> None:
        if self._process.wait(_PARTING) is None:
            self._process.end()
        self._hang_up()

    def _hang_up(self) -> None:
        """End the line for good: a worker that is left over, since its leash was killed, waits at the other end."""
        try:
            self._line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is over already
        self._line.close()

    def _listen(self) -> None:
        """Until the playbook's end, or until nobody holds the other end of the line any more."""
        try:
            with self._line.makefile("rb") as lines:
                while True:
                    line = lines.readline(_LONGEST_LINE)
                    if not line:
                        break
                    self._hear(line)
        except OSError:
            pass  # killed
        self._over.set()

    def _hear(self, line: bytes) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            return
        if not isinstance(told, dict):
            return
        if told.get("waiting"):
            self.waiting.set()
        if "changed" in told and len(self._changes) < _MOST_CHANGES:
            self._changes.append(cut(str(told["changed"])))
        if "failed" in told:
            self._failures.append(str(told["failed"]))
        if "end" in told and isinstance(told["end"], dict):
            self._summary = told["end"]
            self._over.set()


def cut(text: str) -> str:
    """One line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
