# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lkipbu on a node with a checker: every row of scenarios.md D with its failures, and its exact output."""

from __future__ import annotations

import json
import time

import pytest

from lab.waiting import until

from .small import HOST, OWN, STATE, TAG, SmallNode


def four_lines(primary: str, backup: str, state: str = "up") -> str:
    return f"IP address: {HOST}\nNetmask: 255.255.252.0\nPrimary interface: {primary} ({state})\nBackup interface: {backup}\n"


def fails(small: SmallNode, words: str, cause: str, status: int = 1) -> None:
    """The command fails in one line, and nothing has changed by it."""
    before = (small.run("sh", "-c", "cat /var/lib/holdfast/*.json", check=False).stdout, sorted(small.places()))
    done = small.lkipbu(words)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.startswith("lkipbu: ")
    assert cause in done.stderr, done.stderr
    assert (small.run("sh", "-c", "cat /var/lib/holdfast/*.json", check=False).stdout, sorted(small.places())) == before


def works(small: SmallNode, words: str) -> None:
    done = small.lkipbu(words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


@pytest.mark.scenario("D5")
def test_the_four_lines(small: SmallNode) -> None:
    small.reset(watched=False, backup_interface="eth1")
    shown = small.lkipbu(f"-s -t {TAG}")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, four_lines("eth0", "eth1"), "")
    small.namespace.ip("link set eth0 down")
    assert small.lkipbu(f"-s -t {TAG}").stdout == four_lines("eth0", "eth1", "down")
    fails(small, "-s -t mail", "no resource mail")


@pytest.mark.scenario("D1", "D2")
def test_add_and_remove(small: SmallNode) -> None:
    small.reset(watched=False)
    assert small.lkipbu(f"-s -t {TAG}").stdout == four_lines("eth0", "none")
    fails(small, f"-r -t {TAG} -f eth1", "eth1 is not the backup interface of web, it has none")
    fails(small, f"-a -t {TAG} -f eth9", "eth9")
    fails(small, f"-a -t {TAG} -f eth0", "eth0 is the primary interface")
    works(small, f"-a -t {TAG} -f eth1")
    assert small.recorded() == ("eth0", "eth1")
    assert small.lkipbu(f"-s -t {TAG}").stdout == four_lines("eth0", "eth1")
    fails(small, f"-a -t {TAG} -f eth1", "has the backup interface eth1 already")
    fails(small, f"-a -t {TAG} -f lo", "has the backup interface eth1 already")
    fails(small, f"-r -t {TAG} -f eth0", "eth0 is not the backup interface of web, eth1 is")
    fails(small, f"-r -t {TAG} -f eth9", "eth9 is not the backup interface of web, eth1 is")
    works(small, f"-r -t {TAG} -f eth1")
    assert small.recorded() == ("eth0", None)
    for words in ("-a -t mail -f eth1", "-r -t mail -f eth1", "-m -t mail"):
        fails(small, words, "no resource mail")


def test_a_move_needs_a_backup(small: SmallNode) -> None:
    small.reset(watched=False)
    fails(small, f"-m -t {TAG}", "web has no backup interface")


@pytest.mark.scenario("D4")
def test_a_move_out_of_service_swaps_the_two_values_and_nothing_else(small: SmallNode) -> None:
    small.reset(watched=False, backup_interface="eth1")
    works(small, f"-m -t {TAG}")
    assert small.recorded() == ("eth1", "eth0")
    assert small.places() == {}
    works(small, f"-m -t {TAG}")
    assert small.recorded() == ("eth0", "eth1")


@pytest.mark.scenario("D3", "C7")
def test_a_move_in_service(small: SmallNode) -> None:
    """The address goes to the backup, is verified, and lives there no longer than its lease; nothing brings it back."""
    small.reset(backup_interface="eth1")
    assert list(small.places()) == ["eth0"]
    works(small, f"-m -t {TAG}")
    assert list(small.places()) == ["eth1"]
    assert small.recorded() == ("eth1", "eth0")
    assert small.router.run("ping", "-c", "1", "-W", "2", HOST).returncode == 0
    end = time.monotonic() + 6  # longer than any one lease of this profile
    while time.monotonic() < end:
        assert list(small.places()) == ["eth1"]
        assert 0 <= small.places()["eth1"] <= 4, "it would outlive its lease"
        time.sleep(0.1)
    works(small, f"-m -t {TAG}")
    assert list(small.places()) == ["eth0"]
    assert small.recorded() == ("eth0", "eth1")


@pytest.mark.scenario("D3")
def test_a_move_that_nothing_answers_is_undone(small: SmallNode) -> None:
    small.reset(backup_interface="eth1")
    small.router.ip("link set eth1 nomaster")  # the link is up, and leads nowhere
    fails(small, f"-m -t {TAG}", "eth0")
    assert list(small.places()) == ["eth0"]
    assert 0 <= small.places()["eth0"] <= 4
    assert small.recorded() == ("eth0", "eth1")


def test_without_a_checker_nothing_under_a_lease_is_moved(small: SmallNode) -> None:
    small.reset(backup_interface="eth1")
    assert small.checker is not None
    small.checker.kill()
    done = small.lkipbu(f"-m -t {TAG}")
    assert done.returncode == 1
    assert "systemctl start holdfast-checker" in done.stderr
    until(lambda: small.places() == {}, 10, "the address outlived its lease")
    assert small.lkipbu(f"-m -t {TAG}").returncode == 1
    assert small.places() == {}
    works(small, f"-r -t {TAG} -f eth1")
    works(small, f"-a -t {TAG} -f eth1")


@pytest.mark.scenario("D6")
def test_on_another_machine(small: SmallNode) -> None:
    small.reset(watched=False)
    there = small.router

    def elsewhere(words: str) -> tuple[int, str, str]:
        done = small.lkipbu(words, where=there)
        return done.returncode, done.stdout, done.stderr

    for machine in (OWN, f"root@{OWN}"):
        assert elsewhere(f"-d {machine} -s -t {TAG}") == (0, four_lines("eth0", "none"), "")
    assert elsewhere(f"-d {OWN} -a -t {TAG} -f eth1") == (0, "", "")
    assert small.recorded() == ("eth0", "eth1")
    status, out, err = elsewhere(f"-d {OWN} -a -t {TAG} -f eth1")
    assert (status, out) == (1, "")
    assert err.startswith("lkipbu: web has the backup interface eth1 already")
    assert elsewhere(f"-d {OWN} -m -t {TAG}") == (0, "", "")
    assert small.recorded() == ("eth1", "eth0")
    assert elsewhere(f"-d {OWN} -r -t {TAG} -f eth0") == (0, "", "")
    assert elsewhere(f"-d {OWN} -s -t mail")[0] == 1


def test_a_machine_that_does_not_answer(small: SmallNode) -> None:
    small.reset(watched=False)
    done = small.router.run(*("ip", "route", "add", "unreachable", "192.0.2.7"), check=False)
    assert done.returncode == 0, done.stderr
    raw = small.router.run(*small.argv("lkipbu", "-d", "192.0.2.7", "-s", "-t", TAG), check=False, env=small.environment)
    assert raw.returncode == 1
    assert "192.0.2.7 could not be reached over SSH" in raw.stderr.splitlines()[-1]


def test_a_name_of_this_machine_needs_no_ssh(small: SmallNode) -> None:
    small.reset(watched=False)
    for machine in ("node-a", "localhost"):
        assert small.lkipbu(f"-d {machine} -s -t {TAG}").stdout == four_lines("eth0", "none")


@pytest.mark.parametrize("words", ["", "-x", "-a -t web", "-a -r -t web -f eth1", "-m -t web -f eth1", "-s -t Web", "-s -t web -d a;b"])
def test_wrong_calls(small: SmallNode, words: str) -> None:
    done = small.lkipbu(words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lkipbu: ")


def test_what_was_learned_lasts(small: SmallNode) -> None:
    """scenarios.md C7: a later start finds the address where it was last."""
    small.reset(backup_interface="eth1")
    works(small, f"-m -t {TAG}")
    small.stop_checker()
    assert small.places() == {}
    assert small.checker is not None
    small.checker.start()
    small.ask("acquire", tag=TAG, wait=60)
    small.ask("serve", tag=TAG)
    assert list(small.places()) == ["eth1"]
    assert json.loads(small.run("cat", STATE).stdout)["interface"] == "eth1"


def test_a_tag_with_dots_is_one_everywhere(small: SmallNode) -> None:
    """LifeKeeper's own tag of an address, as scripts have it."""
    tag = f"ip-{HOST}"
    small.reset(watched=False, checks={"grace": 0}, tag=tag, backup_interface="eth1", dependents=[{"name": "app", "service": "app.service"}])
    assert small.checker is not None
    try:
        small.checker.start()
        small.ask("acquire", tag=tag, wait=60)
        small.ask("serve", tag=tag)
        shown = small.lkipbu(f"-s -t {tag}")
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, four_lines("eth0", "eth1"), "")
        fails(small, f"-s -t ip-{OWN}", f"no resource ip-{OWN}")
        works(small, f"-r -t {tag} -f eth1")
        small.ask("pause", tag=tag)
        small.ask("resume", tag=tag)
        assert [one["tag"] for one in small.ask("status")["resources"]] == [tag]
        assert small.module("ip_resource_info", tag=tag)["resources"][0]["lease"]["held"]
        small.ask("release", tag=tag)
        assert HOST not in small.namespace.ip("addr show")
    finally:
        small.reset(watched=False)
