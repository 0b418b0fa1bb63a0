# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the unit that dependents are bound to: it ends when the lease is over, without the checker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import centiseconds
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from lab.netns import Namespace

PROGRAM = Path(__file__).resolve().parents[3] / "roles/monitor/files/holdfast-lease"
FILE = "/run/holdfast/web.deadline"


@pytest.fixture(scope="module")
def node() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Namespace(f"lu{os.getpid()}-a") as made:
        yield made


def write(node: Namespace, text: str) -> None:
    node.run("sh", "-c", f"cat > {FILE}.new && mv {FILE}.new {FILE}", input=text)


@pytest.mark.parametrize("text", ["", "0\n", "garbage\n", "-5\n", "99999999999x\n", centiseconds(None), centiseconds(-3.0)])
def test_without_a_lease_nothing_starts(node: Namespace, text: str) -> None:
    write(node, text)
    done = node.run(str(PROGRAM), "check", "web", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the lease of web is not held on this node" in done.stderr
    assert node.run(str(PROGRAM), "wait", "web").returncode == 0


def test_a_file_that_is_missing_is_no_lease(node: Namespace) -> None:
    node.run("rm", "-f", FILE)
    assert node.run(str(PROGRAM), "check", "web", check=False).returncode == 1


def test_it_ends_at_the_deadline_that_was_written_last(node: Namespace) -> None:
    write(node, centiseconds(boottime() + 1.0))
    node.run(str(PROGRAM), "check", "web")
    with node.spawn(str(PROGRAM), "wait", "web") as process:
        time.sleep(0.5)
        last = boottime() + 2.0
        write(node, centiseconds(last))
        assert process.wait(timeout=10) == 0
        late = boottime() - last
    print(f"it ended {late * 1000:.0f} ms after the deadline")
    assert -0.011 <= late < 1.0


def test_a_lease_that_is_given_up_is_noticed_at_the_next_deadline(node: Namespace) -> None:
    write(node, centiseconds(boottime() + 1.0))
    with node.spawn(str(PROGRAM), "wait", "web") as process:
        write(node, centiseconds(None))
        begin = time.monotonic()
        assert process.wait(timeout=10) == 0
    assert time.monotonic() - begin < 2.0


def test_wrong_words(node: Namespace) -> None:
    done = node.run(str(PROGRAM), "watch", "web", check=False)
    assert (done.returncode, done.stderr) == (2, "usage: holdfast-lease check|wait TAG\n")
