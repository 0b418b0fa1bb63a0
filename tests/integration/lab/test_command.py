# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command as a person uses it, and that nothing of a lab stays behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.residence import LabError, Residence, remove_abandoned
from lab.vpc import Lab
from lab.waiting import until

_TESTS = Path(__file__).resolve().parents[2]
PREFIX = f"c{os.getpid()}-"
_MACHINES = ("router", "outside", "node-a", "node-b", "client-c")
_HOLD = "import sys, time\nfrom lab.vpc import Lab\nwith Lab(sys.argv[1], with_ssh=True):\n    print('ready', flush=True)\n    time.sleep(60)\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def lab_command(*argv: str, prefix: str = PREFIX, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(_TESTS / "holdfast-lab"), "--prefix", prefix, *argv], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "HOLDFAST_PYTHON": sys.executable})  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert not check or done.returncode == 0, done.stderr
    return done


def traces(prefix: str) -> list[str]:
    """All that a lab of this prefix leaves to be seen: namespaces, files, processes."""
    folders = (Path("/run/netns"), Path("/run/holdfast-lab"))
    found = [str(path) for folder in folders if folder.is_dir() for path in folder.glob(f"{prefix.rstrip('-')}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if prefix in words or f"/run/holdfast-lab/{prefix.rstrip('-')}/" in words:
            found.append(words.replace("\0", " "))
    return found


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    begin = time.monotonic()
    lab_command("up", "--tables", "12")
    took = time.monotonic() - begin
    yield PREFIX
    lab_command("down")
    assert traces(PREFIX) == []
    assert took < 15, f"bringing it up took {took:.1f} s"


def test_status_reads_like_a_table(running):
    text = lab_command("status").stdout
    assert "10.1.0.10/32 is on node-a eth0" in text
    assert next(line.split()[:3] for line in text.splitlines() if line.startswith("node-b  ")) == ["node-b", "eth0", "up"]
    assert "203.0.113.5  node-a eth0  10.0.1.11" in text
    assert "and 24 entries of other tables like the first" in text
    assert "Faults: none" in text


def test_inventory_leads_to_the_nodes_from_this_machine(running):
    told = json.loads(lab_command("inventory").stdout)["all"]
    ways = told["vars"]
    assert sorted(told["hosts"]) == ["node-a", "node-b"]
    for name, host in told["hosts"].items():
        argv = [ways["ansible_ssh_executable"], *ways["ansible_ssh_common_args"].split(), f"root@{host['ansible_host']}", "hostname"]
        assert subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout == f"{name}\n"
    assert (ways["lab_address"], ways["lab_elastic_ip"]) == ("10.1.0.10/32", "203.0.113.5")


def test_the_administrator_may_do_what_a_node_may_not(running):
    look = ("exec", "{who}", sys.executable, "-c", "import boto3; print(len(boto3.client('dynamodb').list_tables()['TableNames']))")
    seen = {who: exec_quietly(*(word.format(who=who) for word in look)) for who in ("administrator", "node-a")}
    assert (seen["administrator"].returncode, seen["administrator"].stdout) == (0, "0\n")
    assert "AccessDenied" in seen["node-a"].stderr


def exec_quietly(*argv: str) -> subprocess.CompletedProcess[str]:
    """As `lab_command`, for a program that may end with a traceback of its own."""
    words = [str(_TESTS / "holdfast-lab"), "--prefix", PREFIX, *argv]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "HOLDFAST_PYTHON": sys.executable})


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ("wrong-route", "node-b eth0  active"),
        ("eip-taken", "203.0.113.5  node-b eth0  10.0.2.21"),
        ("address-deleted", "10.1.0.10/32 is on no node"),
        ("primary-dead", "node-a    eth0  no carrier"),
        ("api-silent", "Faults: api: silent *"),
        ("imds-silent", "metadata of node-a: silent"),
    ],
)
def test_a_fault_shows_in_the_status(running, fault, shown):
    assert shown not in lab_command("status").stdout
    said = lab_command("fault", fault).stdout
    assert said.count("\n") == 1
    assert shown in lab_command("status").stdout
    lab_command("fault", "restore")
    assert shown not in lab_command("status").stdout


def test_faults_are_listed_and_unknown_ones_refused(running):
    listed = {line.split()[0] for line in lab_command("fault").stdout.splitlines()}
    assert {"wrong-route", "route-blackhole", "eip-taken", "sdc-on", "address-deleted", "wrong-prefix", "link-down", "primary-dead"} <= listed
    assert {"throttle", "http500", "lost-reply", "stale", "deny", "expired", "api-silent", "clear"} <= listed
    done = lab_command("fault", "nonsense", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no fault 'nonsense'" in done.stderr


def test_exec_runs_on_a_machine_with_its_environment(running):
    assert lab_command("exec", "node-b", "sh", "-c", "hostname; echo $AWS_ENDPOINT_URL").stdout == "node-b\nhttp://198.18.0.1\n"
    assert lab_command("exec", "node-b", "sh", "-c", "exit 7", check=False).returncode == 7
    assert "there is no machine" in lab_command("exec", "nobody", "true", check=False).stderr


def test_probe(running):
    assert '"answered_by": ["node-a 0"]' in lab_command("probe", "outside", "--seconds", "0.3").stdout


def test_a_second_lab_of_the_same_name_is_refused_and_another_lives_beside_it(running):
    done = lab_command("up", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "runs already" in done.stderr
    other = f"d{os.getpid()}-"
    with Lab(other) as lab, lab.prober("client-c") as prober:
        prober.wait_until_answered(2)
        assert '"answered_by": ["node-a 0"]' in lab_command("probe", "--seconds", "0.3").stdout
    assert traces(other) == []
    assert traces(PREFIX) != []


def test_without_a_lab_each_command_says_so():
    for argv in (("status",), ("fault", "sdc-on"), ("exec", "node-a", "true"), ("probe",)):
        done = lab_command(*argv, prefix="absent-", check=False)
        assert (done.returncode, done.stderr) == (1, "holdfast-lab: no lab is running: start one with `up`\n")
    assert lab_command("down", prefix="absent-").stdout == "there was no lab\n"


@pytest.mark.parametrize("prefix", ["", "../x", "A", "x" * 17, "a b", "-x"])
def test_a_bad_prefix_is_refused(prefix):
    with pytest.raises(LabError, match="prefix"):
        Residence(prefix)


def test_without_root_it_says_what_it_needs():
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--", "/usr/bin/python3", "-B", "-m", "lab", "up"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(_TESTS), "PATH": os.environ["PATH"]}, cwd="/", timeout=30)  # fmt: skip
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip("this checkout cannot be read by others")
    assert (done.returncode, done.stderr) == (1, "holdfast-lab: the lab makes network namespaces and needs root: run it with sudo\n")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind(ending):
    prefix = f"e{os.getpid()}-"
    environment = {**os.environ, "PYTHONPATH": str(_TESTS)}
    # a shell starts a background job with SIGINT ignored, and every child of the job inherits that
    argv = ["env", "--default-signal=INT", sys.executable, "-c", _HOLD, prefix]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            listed = [
                subprocess.run(["ip", "netns", "pids", prefix + name], capture_output=True, text=True, check=False).stdout for name in _MACHINES
            ]
            inside = [int(pid) for text in listed for pid in text.split()]
            assert len(inside) >= len(_MACHINES) + 4  # each its holder, the nodes their service and sshd as well
            holder.send_signal(ending)
            holder.wait(timeout=20)
        finally:
            holder.kill()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in inside), 5, "its processes live on")
    if ending == signal.SIGKILL:
        assert traces(prefix) != [], "nobody could remove the names"
        with Lab(prefix):  # the next run finds the place taken by nobody, and removes them
            pass
    assert traces(prefix) == []


def killed_lab(prefix: str) -> str:
    """A lab whose process was killed; returns the prefix."""
    lab_command("up", prefix=prefix)
    owner = Residence(prefix).owner()
    assert owner is not None
    os.kill(owner, signal.SIGKILL)
    until(lambda: Residence(prefix).owner() is None, 5, "the killed lab still holds its lock")
    return prefix


def test_down_removes_what_a_killed_lab_left():
    prefix = killed_lab(f"f{os.getpid()}-")
    assert "no lab is running" in lab_command("status", prefix=prefix, check=False).stderr
    assert traces(prefix) != []
    assert lab_command("down", prefix=prefix).stdout == "the lab is gone\n"
    assert traces(prefix) == []


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_lab_that_runs_stays(running):
    prefix = killed_lab(f"h{os.getpid()}-")
    assert prefix in remove_abandoned()
    assert traces(prefix) == []
    assert "10.1.0.10/32 is on node-a" in lab_command("status").stdout


def test_a_bring_up_that_fails_leaves_nothing(monkeypatch):
    prefix = f"g{os.getpid()}-"

    def fail(_lab: Lab) -> None:
        raise RuntimeError("no services today")

    monkeypatch.setattr(Lab, "_start_services", fail)
    with pytest.raises(RuntimeError, match="no services today"), Lab(prefix):
        pass
    assert traces(prefix) == []
