# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demonstration runs a playbook, and tells of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lab.playbook import PlaybookRun, run_playbook
from lab.prober import Prober, Report
from lab.progress import PATIENCE
from lab.vpc import Lab

CLIENTS = ("client-c", "outside")
#: How long a client may take to notice that something broke, or that it works again, in seconds.
NOTICE, BACK = 3.0, 5.0


def say(line: str) -> None:
    """Print a line now: whoever watches should not wait for a buffer to fill."""
    print(line)
    sys.stdout.flush()


@contextmanager
def reminding(what: str) -> Iterator[Callable[[str], None]]:
    """Tell every two seconds what goes on; what is yielded changes that."""
    over, now = threading.Event(), [what]

    def remind() -> None:
        while not over.wait(PATIENCE):
            say(f"            ... {now[0]}")

    teller = threading.Thread(target=remind, daemon=True)
    teller.start()
    try:
        yield lambda fresh: now.__setitem__(0, fresh)
    finally:
        over.set()
        teller.join()


def on_the_node(lab: Lab, name: str, resource: Mapping[str, Any]) -> PlaybookRun:
    """A playbook on node-a itself, without SSH; without leases, as for a single node."""
    say(f"  repair    ansible-playbook holdfast.ha.{name}, on node-a")
    node = lab.node_a
    with reminding("ansible-playbook starts") as now:
        return run_playbook(
            name, {"holdfast_resources": [resource]}, where=node.namespace, environment=node.environment, began=lambda task: now(_short(task))
        )


def as_administrator(lab: Lab, name: str, variables: Mapping[str, Any]) -> PlaybookRun:
    """A playbook that is run once, with all rights on AWS."""
    say(f"  run       ansible-playbook holdfast.ha.{name}, with an administrator's credentials")
    keys = lab.control.admin_credentials
    environment = {**lab.node_a.environment, "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    with reminding("ansible-playbook starts"):
        return run_playbook(name, variables, where=lab.router.namespace, environment=environment)


def _short(task: str) -> str:
    return task.rpartition(" : ")[2]


def show_run(run: PlaybookRun) -> PlaybookRun:
    """Tell what a run changed, and how it ended."""
    several = len({task.host for task in run.tasks}) > 1
    for task in run.changed:
        say(f"  changed   {f'{task.host}: ' if several else ''}{_short(task.task)}")
    ended = "done" if run.status == 0 else f"FAILED: {run.message or run.other.strip()[-300:]}"
    say(f"  {ended:9} after {run.seconds:.1f} s")
    return run


def start_clients(lab: Lab) -> dict[str, Prober]:
    """Both ask from now on, and have been answered."""
    probers = {name: lab.prober(name).start() for name in CLIENTS}
    for prober in probers.values():
        prober.wait_until_answered(BACK)
    return probers


def outage(report: Report, node: str) -> str:
    """How long a client did without answers of that node."""
    wrong = [answer for answer in report.answers if answer.node != node]
    if wrong:
        return f"{(wrong[-1].answered - wrong[0].asked) * 1000:,.0f} ms of answers from {wrong[0].node}"
    return f"{report.longest_ms:,.0f} ms" if report.outages else "none"
