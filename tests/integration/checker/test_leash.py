# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs on the leash: nothing of them outlives what they were started by, whatever they do about sessions and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.supervised_process import SupervisedProcess
from harness.module import TREE
from lab.waiting import until

#: A program that starts another one in a session of its own, which starts a third that ignores SIGTERM; each writes its process id.
STUBBORN = """
import os, signal, subprocess, sys, time
depth = int(sys.argv[1])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if depth:
    subprocess.Popen([sys.executable, __file__, str(depth - 1)], start_new_session=True)
print(os.getpid(), flush=True)
if depth == 2 and len(sys.argv) > 2:
    sys.exit(7)
time.sleep(300)
"""


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    path = tmp_path / "stubborn.py"
    path.write_text(STUBBORN)
    return path


def pids(run: SupervisedProcess) -> list[int]:
    """Of the three processes, once all have told."""
    return [int(line) for line in until(lambda: run.tail() if len(run.tail()) == 3 else (), 20, "not all three processes came up")]


def test_what_ignores_sigterm_in_a_session_of_its_own_is_ended_too(stubborn: Path) -> None:
    run = SupervisedProcess([sys.executable, str(stubborn), "2"], os.environ, grace=0.3)
    started = pids(run)
    assert all(map(alive, started))
    run.end()
    assert [pid for pid in started if alive(pid)] == []
    assert not alive(run.pid)
    assert run.exit_code == 143


def test_a_program_that_obeys_is_not_kept_waiting() -> None:
    run = SupervisedProcess(["sleep", "300"], os.environ, grace=60)
    begin = time.monotonic()
    run.end()
    assert time.monotonic() - begin < 30


def test_a_program_that_is_stopped_is_ended(stubborn: Path) -> None:
    run = SupervisedProcess([sys.executable, str(stubborn), "2"], os.environ, grace=0.2)
    started = pids(run)
    for pid in started:
        os.kill(pid, signal.SIGSTOP)
    run.end()
    assert [pid for pid in started if alive(pid)] == []


def test_nothing_outlives_a_checker_that_is_killed(stubborn: Path) -> None:
    script = f"""
import os, sys, time
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.supervised_process import SupervisedProcess
run = SupervisedProcess([sys.executable, {str(stubborn)!r}, "2"], os.environ, grace=0.3)
while len(run.tail()) < 3:
    time.sleep(0.02)
print(run.pid, *run.tail(), flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TREE)}) as checker:
        assert checker.stdout is not None
        started = [int(word) for word in checker.stdout.readline().split()]
        assert len(started) == 4
        assert all(map(alive, started))
        checker.kill()
    until(lambda: not any(map(alive, started)), 20, "something outlived the checker")


def test_when_the_leash_itself_is_killed_the_program_goes_too() -> None:
    run = SupervisedProcess(["sleep", "300"], os.environ)
    program = until(lambda: below(run.pid), 10, "the program did not start")
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, program)), 10, "the program outlived its leash")


def test_what_a_program_leaves_behind_when_it_ends_by_itself_stays(stubborn: Path) -> None:
    run = SupervisedProcess([sys.executable, str(stubborn), "2", "end"], os.environ)
    started = pids(run)
    try:
        assert run.wait(20) == 7
        assert [alive(pid) for pid in sorted(started)] == [False, True, True]
    finally:
        for pid in started:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_output_is_bounded_and_its_end_kept() -> None:
    run = SupervisedProcess(
        [sys.executable, "-c", "print('x' * 5_000_000)\nfor n in range(100_000): print('line', n)\nprint('end', end='')"], os.environ
    )
    assert run.wait(60) == 0
    assert len(run.tail()) == 40
    assert run.tail()[-2:] == ("line 99999", "end")
    assert max(map(len, run.tail())) <= 1000


def test_standard_input_and_exit_codes() -> None:
    run = SupervisedProcess(["cat"], os.environ, stdin=b"one\ntwo\n")
    assert run.wait(20) == 0
    assert run.tail() == ("one", "two")
    nothing = SupervisedProcess(["cat"], os.environ)
    assert nothing.wait(20) == 0
    missing = SupervisedProcess(["/nonexistent/program"], os.environ)
    assert missing.wait(20) == 127
    assert missing.tail() == ("/nonexistent/program: No such file or directory",)
    killed = SupervisedProcess(["sh", "-c", "kill -9 $$"], os.environ)
    assert killed.wait(20) == 128 + 9


def test_ending_is_safe_from_several_threads() -> None:
    run = SupervisedProcess(["sleep", "300"], os.environ, grace=0.2)
    enders = [threading.Thread(target=run.end) for _number in range(4)]
    for one in enders:
        one.start()
    for one in enders:
        one.join(30)
    assert run.exit_code == 143
    run.end()
