# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands holdfast and lkipbu: what they take, what they ask the checker, and how they end."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._cli import main as cli
from ansible_collections.holdfast.ha.plugins.module_utils._cli.backup import CliContext, do_backup, do_elsewhere
from ansible_collections.holdfast.ha.plugins.module_utils._cli.lkipbu import Backup, backup, lkipbu_words, parse_lkipbu, parse_machine
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import encode
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotConverged, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._control.scripted import ABOUT, ONE, Scripted

ROOT = Path(__file__).resolve().parents[5]
#: What holds `ansible_collections`: in a checkout a folder of its own, in a proper tree what is above.
TREE = ROOT / ".tree" if (ROOT / ".tree").is_dir() else ROOT.parents[2]
MODULE = "ansible_collections.holdfast.ha.plugins.module_utils._cli.main"


@pytest.fixture
def checker(tmp_path: Path) -> Iterator[Scripted]:
    scripted = Scripted(tmp_path / "sock")
    scripted.start()
    yield scripted
    scripted.stop()
    scripted.join(5)


class Ended:
    """How a command ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 1, err


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls holdfast with a socket of the test's own."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Ended:
        try:
            status = cli.main(["--socket", str(tmp_path / "sock"), *words], "holdfast")
        except SystemExit as ending:  # --help
            status = int(str(ending.code))
        shown = capsys.readouterr()
        return Ended(status, shown.out, shown.err)

    return run


# --- the flags of lkipbu -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("-a -t web -f eth1", Backup("add", "web", "eth1", strict=True)),
        ("-t web -f eth1 -r", Backup("remove", "web", "eth1", strict=True)),
        ("-d node-b -a -t web -f eth1", Backup("add", "web", "eth1", "node-b", strict=True)),
        ("-at web -feth1.20", Backup("add", "web", "eth1.20", strict=True)),
        ("-m -t web", Backup("move", "web", strict=True)),
        ("-d root@10.0.0.2 -m -t web", Backup("move", "web", machine="root@10.0.0.2", strict=True)),
        ("-s -t web", Backup("show", "web", strict=True)),
        ("-d fd00::2 -s -t web", Backup("show", "web", machine="fd00::2", strict=True)),
    ],
)
def test_flags(words: str, meant: Backup) -> None:
    assert parse_lkipbu(words.split()) == meant


@pytest.mark.parametrize("order", [Backup("add", "web", "eth1"), Backup("remove", "web", "eth1"), Backup("move", "web"), Backup("show", "web")])
def test_what_is_called_there_means_the_same(order: Backup) -> None:
    again = parse_lkipbu(lkipbu_words(order))
    assert (again.op, again.tag, again.interface) == (order.op, order.tag, order.interface)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("", "the following arguments are required: -t"),
        ("-t web", "one of the arguments -a -r -m -s is required"),
        ("-a -r -t web -f eth1", "not allowed with"),
        ("-m -s -t web", "not allowed with"),
        ("-a -t web", "-a needs -f interface"),
        ("-r -t web", "-r needs -f interface"),
        ("-m -t web -f eth1", "-f does not go with -m"),
        ("-s -t web -f eth1", "-f does not go with -s"),
        ("-s -t web extra", "unrecognized arguments: extra"),
        ("-s -t", "argument -t: expected one argument"),
        ("-s -t Web", "is not a tag"),
        ("-s -t ../../etc/passwd", "is not a tag"),
        ("-a -t web -f ../eth1", "is not an interface name"),
        ("-s -t web -d -oProxyCommand=reboot", "argument -d: expected one argument"),
        ("-s -t web -d-oProxyCommand=reboot", "is not a server's name"),
        ("-s -t web -d a;reboot", "is not a server's name"),
        ("-s -t web -d $(reboot)", "is not a server's name"),
        ("-s -t web -d -a@node-b", "expected one argument"),
        ("-s -t web -d x@y@node-b", "is not a server's name"),
        ("-x", "required: -t"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(words: str, cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words.split(), "/usr/local/bin/lkipbu") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("lkipbu: ")
    assert cause in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["node b", "", "-node", "node-b\n", "a" * 300, "@node-b", "Root user@node-b", "node/b", "[fe80::1%eth0]"])
def test_not_a_machine(name: str) -> None:
    with pytest.raises(BadInput):
        parse_machine(name)


# --- on another machine ------------------------------------------------------------------------------------------------


def test_ssh_gets_an_argument_list_and_nothing_of_ours_is_an_option() -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 0

    assert do_elsewhere(backup("add", "web", "eth1", "node-b"), run) == 0
    (argv,) = seen
    assert argv[0] == "ssh"
    assert argv[argv.index("--") + 1 :] == ["node-b", "lkipbu -a -t web -f eth1"]
    assert "BatchMode=yes" in argv[: argv.index("--")]


def test_a_name_that_a_shell_would_read_is_quoted() -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 0

    do_elsewhere(Backup("add", "web", "eth$(reboot)", "node-b"), run)  # past every check, as if a kernel allowed it
    assert seen[0][-1] == "lkipbu -a -t web -f 'eth$(reboot)'"


@pytest.mark.parametrize(("status", "ours"), [(0, 0), (1, 1), (2, 2), (3, 1), (-15, 1)])
def test_the_status_of_the_other_side_is_ours(status: int, ours: int) -> None:
    assert do_elsewhere(backup("show", "web", None, "node-b"), lambda argv: status) == ours


@pytest.mark.parametrize(("status", "cause"), [(255, "could not be reached over SSH"), (127, "no command lkipbu")])
def test_what_ssh_could_not_do_is_told_with_what_to_do(status: int, cause: str) -> None:
    with pytest.raises(NotConverged, match=cause) as caught:
        do_elsewhere(backup("show", "web", None, "node-b"), lambda argv: status)
    assert "holdfast.ha." in caught.value.message


def test_ssh_is_not_installed(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = call("backup", "show", "web", "--on", "node-b")
    assert (ended.status, ended.out) == (1, "")
    assert "cannot start ssh" in ended.err


# --- on this node, without a checker -----------------------------------------------------------------------------------

LINKS = [
    {"ifname": name, "ifindex": number, "address": f"02:00:00:00:00:0{number}", "flags": flags, "addr_info": held}
    for number, name, flags, held in (
        (2, "eth0", ["UP", "LOWER_UP", "BROADCAST"], []),
        (3, "eth1", ["UP", "LOWER_UP", "BROADCAST"], []),
        (4, "eth2", ["UP", "BROADCAST"], []),
    )
]
DEFINITION = {"tag": "web", "address": "172.17.106.10/22", "interface": "eth0"}


class Node:
    """Files of a node in a folder, its links as `ip` shows them, and no checker."""

    def __init__(self, folder: Path) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.links = LINKS
        files = Store(folder / "resources", folder / "states")
        self.here = CliContext(self.out.append, self.err.append, self.run, folder / "sock", folder / "checker.json", files)
        files.definitions.mkdir()
        (files.definitions / "web.json").write_text(json.dumps(DEFINITION))

    def run(self, argv: Any) -> Completed:
        words = list(argv)
        assert words[0] == "ip"
        assert words[-1] in ("show", "list") or "show" in words, f"it changes the kernel: {words}"
        return Completed(0, json.dumps(self.links) if "address" in words else "[]", "")

    def do(self, op: str, interface: str | None = None, *, strict: bool = True) -> None:
        assert do_backup(backup(op, "web", interface, strict=strict), self.here) == 0

    def shown(self) -> str:
        self.out.clear()
        self.do("show")
        return "".join(self.out)

    def place(self, link: str, lifetime: int) -> None:
        """The address is on a link, for so many seconds."""
        held = {
            "family": "inet",
            "local": "172.17.106.10",
            "prefixlen": 22,
            "scope": "0",
            "valid_life_time": lifetime,
            "preferred_life_time": lifetime,
        }
        self.links = [{**one, "addr_info": [held]} if one["ifname"] == link else one for one in LINKS]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_four_lines(node: Node) -> None:
    assert node.shown() == "IP address: 172.17.106.10\nNetmask: 255.255.252.0\nPrimary interface: eth0 (up)\nBackup interface: none\n"
    node.do("add", "eth1")
    assert node.shown() == "IP address: 172.17.106.10\nNetmask: 255.255.252.0\nPrimary interface: eth0 (up)\nBackup interface: eth1\n"
    assert node.err == []


def test_add_and_remove_as_often_as_one_likes_but_not_with_lkipbu(node: Node) -> None:
    node.do("add", "eth1", strict=False)
    node.do("add", "eth1", strict=False)
    with pytest.raises(Refused, match="web has the backup interface eth1 already"):
        node.do("add", "eth1")
    for strict in (True, False):
        with pytest.raises(Refused, match="web has the backup interface eth1 already"):
            node.do("add", "eth2", strict=strict)
        with pytest.raises(Refused, match="eth2 is not the backup interface of web, eth1 is"):
            node.do("remove", "eth2", strict=strict)
    node.do("remove", "eth1")
    node.do("remove", "eth1", strict=False)
    with pytest.raises(Refused, match="eth1 is not the backup interface of web, it has none"):
        node.do("remove", "eth1")


def test_an_interface_that_does_not_exist(node: Node) -> None:
    with pytest.raises(NotFound, match="eth9"):
        node.do("add", "eth9")
    assert "Backup interface: none" in node.shown()


@pytest.mark.parametrize("op", ["add", "remove", "move", "show"])
def test_an_unknown_tag(node: Node, op: str) -> None:
    with pytest.raises(NotFound, match="no resource db"):
        do_backup(backup(op, "db", "eth1" if op in ("add", "remove") else None, strict=True), node.here)


def test_a_move_without_a_backup(node: Node) -> None:
    with pytest.raises(Refused, match="has no backup interface"):
        node.do("move")


def test_a_move_out_of_service_swaps_two_values(node: Node) -> None:
    node.do("add", "eth1")
    node.do("move")
    assert node.shown().splitlines()[2:] == ["Primary interface: eth1 (up)", "Backup interface: eth0"]
    assert node.err == []


def test_a_move_in_service_under_a_lease_needs_the_checker(node: Node) -> None:
    node.do("add", "eth1")
    node.place("eth0", 7)
    with pytest.raises(Refused, match="no checker runs here") as caught:
        node.do("move")
    assert "systemctl start holdfast-checker" in caught.value.message
    assert "Primary interface: eth0" in node.shown()


def test_a_node_set_up_for_leases_moves_nothing_by_itself(node: Node) -> None:
    """Also where the address has just run out: put up without a lifetime it would stay for ever."""
    node.do("add", "eth1")
    state = node.here.files.state("web")
    assert state is not None
    node.here.files.save(dataclasses.replace(state, in_service=True))
    node.here.config.write_text(json.dumps({"cluster": "c", "node": "node-a", "store": {"type": "dynamodb", "table": "holdfast"}}))
    node.here.config.chmod(0o600)
    with pytest.raises(Refused, match="no checker runs here"):
        node.do("move")


# --- on this node, with the checker ------------------------------------------------------------------------------------


def test_a_move_in_service_is_the_checkers_and_ec2_follows(node: Node, checker: Scripted) -> None:
    (node.here.files.definitions / "web.json").write_text(json.dumps({**DEFINITION, "backup_interface": "eth1", "ec2": {"route_tables": "all"}}))
    node.place("eth0", 7)
    node.do("move")
    assert [(one["op"], one["tag"]) for one in checker.asked] == [("move", "web"), ("recover", "web")]
    assert node.err == []


@pytest.mark.parametrize("reply", [{"last_recovery": {"ok": False, "message": "UnauthorizedOperation"}}, HoldfastError("UnauthorizedOperation")])
def test_what_did_not_follow_is_told(node: Node, checker: Scripted, reply: Any) -> None:
    (node.here.files.definitions / "web.json").write_text(json.dumps({**DEFINITION, "backup_interface": "eth1", "ec2": {"route_tables": "all"}}))
    node.place("eth0", 7)
    if isinstance(reply, dict):
        checker.says("recover", **reply)
    else:
        checker.replies["recover"] = encode({"ok": False, "kind": "not_converged", "message": reply.message})
    node.do("move")
    (line,) = node.err
    assert "the address has moved" in line
    assert "UnauthorizedOperation" in line


def test_a_move_that_the_checker_could_not_make_has_failed(node: Node, checker: Scripted) -> None:
    node.do("add", "eth1")
    node.place("eth0", 7)
    checker.replies["move"] = encode({"ok": False, "kind": "probe_failed", "message": "no answer on eth1; 172.17.106.10 is back on eth0"})
    with pytest.raises(HoldfastError, match="is back on eth0"):
        node.do("move")
    assert [one["op"] for one in checker.asked] == ["move"]


def test_a_move_off_ec2_has_nothing_that_follows(node: Node, checker: Scripted) -> None:
    node.do("add", "eth1")
    node.place("eth0", 7)
    node.do("move")
    assert [one["op"] for one in checker.asked] == ["move"]


# --- holdfast ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("status", {"op": "status"}),
        ("recover web", {"op": "recover", "tag": "web", "wait": 300.0}),
        ("recover web --wait 5", {"op": "recover", "tag": "web", "wait": 5.0}),
        ("switchover web --to node-b --wait 0", {"op": "switchover", "tag": "web", "to": "node-b"}),
        ("pause", {"op": "pause"}),
        ("pause web", {"op": "pause", "tag": "web"}),
        ("resume web", {"op": "resume", "tag": "web"}),
    ],
)
def test_what_the_checker_is_asked(call: Any, checker: Scripted, words: str, asked: dict[str, Any]) -> None:
    ended = call(*words.split())
    assert ended.status == 0, ended.err
    assert ended.out
    assert ended.err == ""
    assert checker.asked == [asked]


def test_check_looks_at_each(call: Any, checker: Scripted) -> None:
    db = {**ONE, "tag": "db", "holder": "node-b", "held": False, "role": "standby"}
    checker.replies["status"] = encode({**ABOUT, "resources": [db, ONE]})
    ended = call("check")
    assert ended.status == 0
    assert [(one["op"], one.get("tag")) for one in checker.asked] == [("status", None), ("check", "db"), ("check", "web")]


@pytest.mark.parametrize(("health", "status"), [("healthy", 0), ("failed", 1), ("unknown", 1)])
def test_check_ends_with_what_it_found(call: Any, checker: Scripted, health: str, status: int) -> None:
    checker.says("check", health=health, reasons=["eth0 has no carrier"] if health == "failed" else [])
    ended = call("check", "web")
    assert ended.status == status
    assert health.upper() in ended.out
    assert ("eth0 has no carrier" in ended.out) == (health == "failed")


def test_json_is_the_reply(call: Any, checker: Scripted) -> None:
    assert json.loads(call("status", "--json").out) == {**ABOUT, "resources": [ONE]}


def test_status_of_one(call: Any, checker: Scripted) -> None:
    checker.replies["status"] = encode({**ABOUT, "resources": [{**ONE, "tag": "db"}, ONE]})
    assert [one["tag"] for one in json.loads(call("status", "web", "--json").out)["resources"]] == ["web"]
    ended = call("status", "mail")
    assert (ended.status, ended.out) == (1, "")
    assert "no resource mail" in ended.err


#: Clears the screen, sets the window's title, goes back to the begin of the line, turns the direction of writing.
NASTY = "x\x1b[2J\x1b]0;owned\x07\r\u202e\x9b31m"


def nasty(value: Any) -> Any:
    """With that in each text, and as each number."""
    if isinstance(value, dict):
        return {name: nasty(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nasty(one) for one in value]
    return f"{value}{NASTY}"


@pytest.mark.parametrize("colour", ["always", "never"])
@pytest.mark.parametrize(
    "words", ["status", "check web", "recover web", "recover web --wait 0", "switchover web --to b", "pause web", "pause", "resume web"]
)
@pytest.mark.parametrize("failed", [True, False])
def test_no_reply_controls_the_terminal(call: Any, checker: Scripted, words: str, colour: str, failed: bool) -> None:
    ec2 = {"routes_right": 1, "routes_total": 2, "elastic_ip": "203.0.113.5", "error": "no answer"}
    last = {"what": "recover by awx", "message": "job 1 ended", "seconds": "1", "ago": 0, "ok": not failed}
    peer = {"node": "b", "alive": True, "age": 1, "resources": {f"web{NASTY}": {"ready": False, "held": False, "paused": False, "reason": NASTY}}}
    one = {
        **nasty({**ONE, "reasons": ["down"], "advice": "plug it in", "dependents": [{"name": "app", "state": "active"}], "ec2": ec2}),
        "held": True,
    }
    one |= {"health": "failed" if failed else "healthy", "last_recovery": {**nasty(last), "ok": not failed, "ago": 0}}
    one |= {"tag": f"web{NASTY}", "interface_up": True}
    about = {"ok": True, "cluster": NASTY, "node": NASTY, "version": NASTY, "timing": NASTY, "store_error": NASTY, "peers": [peer]}
    checker.replies["status"] = encode({**about, "resources": [one]})
    checker.default = encode({**about, **one})
    given = words.split()
    ended = call(*given[:1], *(["--color", colour] if given[0] in ("status", "check") and len(given) == 1 else []), *given[1:])
    told = re.sub(r"\033\[1;3[123]m|\033\[0m", "", ended.out) + ended.err
    assert told
    assert [character for character in told if not character.isprintable() and character != "\n"] == []


@pytest.mark.parametrize("words", ["recover web", "status", "pause web"])
def test_no_error_controls_the_terminal(call: Any, checker: Scripted, words: str) -> None:
    refusal = encode({"ok": False, "kind": "refused", "message": f"the controller said: {NASTY}"})
    checker.replies["status"] = checker.default = refusal
    ended = call(*words.split())
    assert ended.err.startswith("holdfast: the controller said: x?[2J?]0;owned?")
    assert ended.err.strip("\n").isprintable()


@pytest.mark.parametrize(("choice", "coloured"), [("auto", False), ("always", True), ("never", False)])
def test_colour_is_for_terminals(call: Any, checker: Scripted, choice: str, coloured: bool) -> None:
    assert ("\033[" in call("status", "--color", choice).out) is coloured


@pytest.mark.parametrize(
    ("words", "reply", "cause"),
    [
        ("recover web", {"last_recovery": {"ok": False, "message": "the address cannot be used"}}, "the address cannot be used"),
        ("recover web", {"phase": "recovering"}, "has not ended within 300 s"),
        ("recover web", {"health": "failed", "reasons": ["eth0 is down"], "advice": "plug it in"}, "it still fails: eth0 is down; plug it in"),
        ("switchover web --to node-b", {"last_recovery": {"ok": False, "message": "node-b is not ready"}}, "node-b is not ready"),
    ],
)
def test_what_did_not_work_is_one_line_and_status_1(call: Any, checker: Scripted, words: str, reply: dict[str, Any], cause: str) -> None:
    checker.says(words.split()[0], **reply)
    ended = call(*words.split())
    assert (ended.status, ended.out) == (1, "")
    assert cause in ended.err


def test_a_run_that_nobody_waits_for(call: Any, checker: Scripted) -> None:
    checker.says("recover", phase="recovering")
    ended = call("recover", "web", "--wait", "0")
    assert (ended.status, ended.out) == (0, "web: begun; see holdfast status\n")


def test_an_earlier_failure_is_not_this_one(call: Any, checker: Scripted) -> None:
    checker.says("switchover", last_recovery={"ok": False, "ago": 300.0, "message": "long ago"})
    assert call("switchover", "web", "--to", "node-b").status == 0
    checker.says("switchover", last_recovery={"ok": False, "ago": 0.0, "message": "just now"})
    assert "just now" in call("switchover", "web", "--to", "node-b").err


def test_a_refusal_is_told(call: Any, checker: Scripted) -> None:
    checker.default = encode({"ok": False, "kind": "refused", "message": "only root may talk to the checker"})
    for words in ("recover web", "pause", "check web", "switchover web --to node-b"):
        ended = call(*words.split())
        assert (ended.status, ended.err) == (1, "holdfast: only root may talk to the checker\n")


def test_a_reply_that_is_cut_off(call: Any, checker: Scripted) -> None:
    checker.replies["status"] = b'{"ok": true, "resour'
    ended = call("status")
    assert (ended.status, ended.out) == (1, "")
    assert "cut off" in ended.err


@pytest.mark.parametrize("words", ["check", "recover web", "switchover web --to node-b", "pause", "resume web"])
def test_no_checker(call: Any, words: str) -> None:
    ended = call(*words.split())
    assert (ended.status, ended.out) == (1, "")
    assert "no checker runs on this host" in ended.err


def test_status_without_a_checker(node: Node, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node.here.files.definitions.joinpath("db.json").write_text("{")
    monkeypatch.setattr(cli, "_here", lambda path: CliContext(cli._out, print, node.run, path, node.here.config, node.here.files))
    node.place("eth0", 7)
    ended = call("status")
    assert ended.status == 1
    assert "NO CHECKER RUNS ON THIS NODE" in ended.out
    rows = [line.split()[:3] for line in ended.out.splitlines() if line.startswith(("web ", "db "))]
    assert ["web", "NOT", "WATCHED"] in rows
    assert "172.17.106.10/22" in ended.out
    assert "db.json is damaged" in ended.out
    assert json.loads(call("status", "--json").out)["watched"] is False


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("", "required: COMMAND"),
        ("frob", "invalid choice: 'frob'"),
        ("recover", "required: TAG"),
        ("recover Web", "is not a tag"),
        ("switchover web", "required: --to"),
        ("switchover web --to a/b", "is not a node's name"),
        ("recover web --wait soon", "--wait: give a number of seconds from 0 to 3600"),
        ("recover web --wait nan", "--wait: give a number of seconds from 0 to 3600"),
        ("backup", "required: ACTION"),
        ("backup add web", "required: INTERFACE"),
        ("backup add web eth/1", "is not an interface name"),
        ("backup move web eth1", "unrecognized arguments: eth1"),
        ("backup show web --on a;b", "is not a server's name"),
        ("status --color blue", "invalid choice: 'blue'"),
        ("status --js", "unrecognized arguments: --js"),
    ],
)
def test_wrong_calls(call: Any, words: str, cause: str) -> None:
    ended = call(*words.split())
    assert (ended.status, ended.out) == (2, "")
    assert cause in ended.err


@pytest.mark.parametrize("words", ["", "status", "check", "recover", "switchover", "pause", "resume", "backup", "backup add", "backup move"])
def test_help(call: Any, words: str) -> None:
    ended = call(*words.split(), "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "exit status" in ended.out


# --- as a process ------------------------------------------------------------------------------------------------------


def process(*words: str, stdout: Any = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", MODULE, *words]
    settings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **environment}
    done = subprocess.run(argv, stdout=stdout, stderr=subprocess.PIPE, env=settings, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert b"Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(("locale", "coding"), [("C", "ascii"), ("C.UTF-8", "utf-8"), ("C", "latin-1")])
def test_a_terminal_that_lacks_characters(tmp_path: Path, checker: Scripted, locale: str, coding: str) -> None:
    checker.replies["status"] = encode({**ABOUT, "resources": [{**ONE, "health": "failed", "reasons": ["Größe ↯ 日本"]}]})
    done = process("--socket", str(tmp_path / "sock"), "status", LC_ALL=locale, PYTHONIOENCODING=coding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "FAILED" in done.stdout.decode(coding)


def test_a_reader_that_goes_away(tmp_path: Path, checker: Scripted) -> None:
    left, right = os.pipe()
    os.close(left)
    try:
        done = process("--socket", str(tmp_path / "sock"), "status", stdout=right)
    finally:
        os.close(right)
    assert done.stderr == b""


def test_the_first_word_may_be_lkipbu() -> None:
    done = process("lkipbu", "-s")
    assert done.returncode == 2
    assert done.stderr.startswith(b"lkipbu: ")


def test_a_defect_is_one_line(tmp_path: Path, checker: Scripted) -> None:
    checker.replies["status"] = encode({**ABOUT, "resources": 7})
    done = process("--socket", str(tmp_path / "sock"), "status")
    assert done.returncode == 1
    assert done.stderr.startswith(b"This is a defect in holdfast.ha, please report it")
    assert len(done.stderr.splitlines()) == 1


def test_a_machine_that_is_this_one_is_not_asked_over_ssh(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "do_elsewhere", lambda *_: pytest.fail("asked over SSH"))
    assert cli._run_backup(backup("show", "web", None, socket.gethostname()), node.here) == 0
    assert "IP address: 172.17.106.10" in "".join(node.out)
