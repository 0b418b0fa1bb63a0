# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's socket and files: who may talk to it, what it makes of nonsense, and links that somebody put in its way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .small import DROP, NAME, SOCKET, STATE, STORE, TAG, SmallNode

#: Says what it is given, word for word, and prints the reply. With ``0`` it leaves its side open.
_SAY = """
import socket, sys
path, half, text = sys.argv[1], sys.argv[2] == "1", sys.stdin.buffer.read()
line = socket.socket(socket.AF_UNIX)
line.settimeout(30)
try:
    line.connect(path)
    line.sendall(text)
    if half:
        line.shutdown(socket.SHUT_WR)
except BrokenPipeError:
    pass
except OSError as error:
    sys.exit(f"refused: {error.strerror}")
try:
    while more := line.recv(65536):
        sys.stdout.buffer.write(more)
except ConnectionResetError:
    pass
"""
#: Holds a number of connections that say nothing, until its standard input ends.
_CROWD = """
import socket, sys
crowd = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for one in crowd:
    one.connect(sys.argv[1])
    one.sendall(b'{"op": ')
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def watched(small: SmallNode) -> SmallNode:
    """With a checker that serves."""
    small.reset()
    return small


@pytest.fixture
def still(small: SmallNode) -> Iterator[SmallNode]:
    """With all that a checker needs, and none running."""
    small.reset(watched=False)
    yield small
    small.stop_checker()


def say(small: SmallNode, text: bytes, *, half: bool = True, nobody: bool = False) -> tuple[str, str]:
    """The reply to a text, and what went wrong on the way."""
    words = text.decode("latin-1")
    script = _SAY.replace("sys.stdin.buffer.read()", "sys.stdin.buffer.read().decode().encode('latin-1')")
    script = script.replace("import socket, sys\n", f"import socket, sys\n{DROP if nobody else ''}")
    done = small.namespace.run(sys.executable, "-I", "-c", script, SOCKET, str(int(half)), check=False, input=words, timeout=60)
    return done.stdout, done.stderr


def refuses_to_start(small: SmallNode, cause: str) -> str:
    """Asserts that the checker ends at once, with one line that says why."""
    assert small.checker is not None
    with pytest.raises(RuntimeError, match="ended with") as caught:
        small.checker.start()
    message = str(caught.value)
    assert re.search(r"ended with (1|78): holdfast-checker: ", message), message
    assert cause in message
    assert "Traceback" not in message
    return message


# --- who may talk to it ------------------------------------------------------------------------------------------------


def test_modes(watched: SmallNode) -> None:
    assert watched.run("stat", "-c", "%a %U %F", SOCKET).stdout == "600 root socket\n"
    for path in ("/run/holdfast", "/var/lib/holdfast"):
        assert watched.run("stat", "-c", "%a %U", path).stdout == "700 root\n", path
    for path in watched.run("sh", "-c", "echo /var/lib/holdfast/*").stdout.split():
        assert watched.run("stat", "-c", "%a %U", path).stdout == "600 root\n", path


def test_a_caller_without_rights_does_not_reach_it(watched: SmallNode) -> None:
    reply, trouble = say(watched, b'{"op": "status"}\n', nobody=True)
    assert (reply, trouble) == ("", "refused: Permission denied\n")
    for words in (("status",), ("check",), ("recover", TAG), ("pause",), ("backup", "show", TAG), ("backup", "add", TAG, "eth1")):
        done = watched.call("holdfast", *words, nobody=True)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert "root" in done.stderr, done.stderr


def test_a_caller_without_rights_who_does_reach_it_is_refused(watched: SmallNode) -> None:
    """Modes that somebody has opened do not help: the kernel says who calls."""
    watched.run("chmod", "0755", "/run/holdfast")
    watched.run("chmod", "0666", SOCKET)
    try:
        for request in ({"op": "status"}, {"op": "release", "tag": TAG}, {"op": "withdraw", "tag": TAG}, {"op": "pause"}):
            reply, _rest = say(watched, json.dumps(request).encode() + b"\n", nobody=True)
            assert json.loads(reply) == {"ok": False, "kind": "refused", "message": "only root may talk to the checker"}
        assert watched.ask("status", tag=TAG)["serving"] is True
        assert list(watched.places()) == ["eth0"]
    finally:
        watched.run("chmod", "0600", SOCKET)
        watched.run("chmod", "0700", "/run/holdfast")


# --- nonsense ----------------------------------------------------------------------------------------------------------

NONSENSE = {
    "nothing": b"",
    "an empty line": b"\n",
    "half a line": b'{"op": "sta',
    "no JSON": b"status\n",
    "a list": b'["status"]\n',
    "a number": b"1e999\n",
    "NaN": b"NaN\n",
    "no text": bytes(range(256)) + b"\n",
    "zeros": b"\0" * 1000 + b"\n",
    "nested deeply": b"[" * 60000 + b"\n",
    "nested deeply in a value": b'{"op": "status", "tag": ' + b"[" * 30000 + b"]" * 30000 + b"}\n",
    "too long": b'{"op": "status", "tag": "' + b"x" * 200_000 + b'"}\n',
    "a very long number": b'{"op": "acquire", "tag": "web", "wait": ' + b"9" * 5000 + b"}\n",
    "an unknown request": b'{"op": "reboot"}\n',
    "a request that is no text": b'{"op": {"a": 1}}\n',
    "a tag that is a path": b'{"op": "withdraw", "tag": "../../etc/passwd"}\n',
    "a tag that is no text": b'{"op": "withdraw", "tag": {"web": 1}}\n',
    "a tag that nobody has": b'{"op": "withdraw", "tag": "mail"}\n',
    "what does not belong": b'{"op": "status", "config": "/etc/shadow"}\n',
    "a wait without end": b'{"op": "acquire", "tag": "web", "wait": 1e300}\n',
    "a gateway that is a command": b'{"op": "serve", "tag": "web", "gateway": "$(reboot)"}\n',
    "a node that is a path": b'{"op": "release", "tag": "web", "handoff_to": "../x"}\n',
    "a surrogate": b'{"op": "\\ud800"}\n',
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_in_one_line_and_changes_nothing(watched: SmallNode, name: str) -> None:
    reply, _rest = say(watched, NONSENSE[name])
    answer = json.loads(reply)
    assert answer["ok"] is False
    assert answer["kind"] in ("bad_input", "not_found"), answer
    assert len(answer["message"]) < 400
    assert "\n" not in answer["message"]
    status = watched.ask("status", tag=TAG)
    assert (status["held"], status["serving"]) == (True, True)
    assert list(watched.places()) == ["eth0"]
    assert watched.checker is not None
    assert watched.checker.exit_code is None
    assert not watched.checker.seen("defect")
    assert watched.checker.other == []  # what is no event, such as a traceback


def test_two_requests_in_one_connection_are_one(watched: SmallNode) -> None:
    reply, _rest = say(watched, b'{"op": "status"}\n{"op": "withdraw", "tag": "web"}\n')
    assert [json.loads(line)["ok"] for line in reply.splitlines()] == [True]
    assert list(watched.places()) == ["eth0"]


def test_a_caller_that_falls_silent_is_given_up(watched: SmallNode) -> None:
    reply, trouble = say(watched, b'{"op": "stat', half=False)  # ends when the checker hangs up; its own limit is longer
    assert trouble == ""
    assert reply == "" or json.loads(reply)["ok"] is False


def test_a_crowd_that_says_nothing_keeps_nobody_out(watched: SmallNode) -> None:
    crowd = watched.namespace.spawn(sys.executable, "-I", "-c", _CROWD, SOCKET, "200", stdin=-1)
    try:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "there\n"
        assert watched.ask("status", tag=TAG)["serving"] is True
        assert watched.call("holdfast", "status", "--json").returncode == 0
    finally:
        crowd.kill()
        crowd.communicate()
    assert list(watched.places()) == ["eth0"]


#: The same over TCP, as a user without rights.
_TCP_CROWD = (
    f"import encodings.idna, socket, sys\n{DROP}"
    + """
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) for _ in range(int(sys.argv[2]))]
print("there", flush=True)
sys.stdin.read()
"""
)
_SCRAPE = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def test_a_crowd_at_the_metrics_costs_the_checker_nothing(still: SmallNode) -> None:
    settings(still, metrics={"listen": "127.0.0.1:9447"})
    checker = still.checker
    assert checker is not None
    checker.start()
    still.ask("acquire", tag=TAG, wait=60)
    still.ask("serve", tag=TAG)

    def used() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{checker.pid}/fd")), len(os.listdir(f"/proc/{checker.pid}/task"))

    descriptors, threads = used()
    argv = still.namespace.command((sys.executable, "-c", _TCP_CROWD, "9447", "600"))
    crowd = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "there\n"
        now = used()
        assert now[0] <= descriptors + 16
        assert now[1] <= threads + 2
        assert still.ask("status", tag=TAG)["serving"] is True
        assert "holdfast_held" in still.run(sys.executable, "-c", _SCRAPE, "http://127.0.0.1:9447/metrics").stdout
    finally:
        crowd.kill()
        crowd.communicate()
    assert list(still.places()) == ["eth0"]
    assert checker.seen("lost") == []


# --- links and files in its way ----------------------------------------------------------------------------------------


def test_a_socket_that_a_killed_checker_left_is_replaced(still: SmallNode) -> None:
    assert still.checker is not None
    still.checker.start()
    still.checker.kill()
    assert still.run("test", "-S", SOCKET).returncode == 0
    still.checker.start()
    assert still.ask("status")["ok"] is True


def test_a_node_runs_one_checker(still: SmallNode) -> None:
    assert still.checker is not None
    still.checker.start()
    module = "ansible_collections.holdfast.ha.plugins.module_utils._checker.main"
    second = still.run(sys.executable, "-m", module, check=False)
    assert second.returncode == 1, second
    assert "a checker answers at" in second.stderr.splitlines()[-1]
    assert still.ask("status")["ok"] is True


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (f"ln -s /run/victim {SOCKET}", "is not a socket"),
        (f"ln -s /etc/holdfast/checker.json {SOCKET}", "is not a socket"),
        (f"echo mine > {SOCKET}", "is not a socket"),
        (f"mkdir {SOCKET}", "is not a socket"),
        ("chmod 0777 /run/holdfast", "others may change what is in /run/holdfast"),
        ("chown 65534 /run/holdfast", "others may change what is in /run/holdfast"),
    ],
)
def test_what_lies_where_its_socket_should_be_is_not_touched(still: SmallNode, make: str, cause: str) -> None:
    still.run("sh", "-c", make)
    listing = ("sh", "-c", "ls -lan --time-style=full-iso /run/holdfast; cat /etc/holdfast/checker.json")
    before = still.run(*listing).stdout
    try:
        refuses_to_start(still, cause)
        assert still.run(*listing).stdout == before
        assert still.run("test", "!", "-e", "/run/victim").returncode == 0
    finally:
        still.run("sh", "-c", f"rm -rf {SOCKET}; chown 0 /run/holdfast; chmod 0700 /run/holdfast")


@pytest.mark.parametrize("path", ["/etc/holdfast/checker.json", f"/etc/holdfast/resources/{TAG}.json"])
@pytest.mark.parametrize(
    "make", ["mv {0} {0}.real && ln -s {0}.real {0}", "rm {0} && mkfifo -m 0600 {0}", "echo '{{' > {0}", "rm {0} && mkdir {0}", "truncate -s 2M {0}"]
)
def test_a_definition_that_is_no_plain_file_is_refused(still: SmallNode, path: str, make: str) -> None:
    still.run("sh", "-c", make.format(path))
    assert path in refuses_to_start(still, path)


@pytest.mark.parametrize("mode", ["0640", "0604", "0660"])
def test_settings_that_others_may_read_are_refused(still: SmallNode, mode: str) -> None:
    still.run("chmod", mode, "/etc/holdfast/checker.json")
    refuses_to_start(still, "set its mode to 0600")


def test_a_state_file_that_is_a_link_is_neither_followed_nor_replaced(still: SmallNode) -> None:
    victim = "/etc/holdfast/victim"
    still.run("sh", "-c", f"echo precious > {victim}; ln -s {victim} {STATE}")
    for words in (("-a", "-t", TAG, "-f", "eth1"), ("-s", "-t", TAG)):
        done = still.call("lkipbu", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "symbolic link" in done.stderr
    assert still.run("cat", victim).stdout == "precious\n"
    assert still.run("readlink", STATE).stdout.strip() == victim


def test_a_state_folder_that_others_may_write_to_is_made_private(still: SmallNode) -> None:
    still.run("chmod", "0777", "/var/lib/holdfast")
    assert still.call("lkipbu", "-a", "-t", TAG, "-f", "eth1").returncode == 0
    assert still.run("stat", "-c", "%a", "/var/lib/holdfast").stdout == "700\n"
    assert still.run("stat", "-c", "%a %h", STATE).stdout == "600 1\n"


def test_a_name_that_somebody_guessed_is_not_written_through(still: SmallNode) -> None:
    """Hard links and old temporary files beside the state do not matter: what is written is new, and takes the place of the old by rename."""
    kept = "/var/lib/holdfast/kept"
    still.run("sh", "-c", f"echo precious > {kept}; ln {kept} {STATE}.1; ln -s kept /var/lib/holdfast/.{TAG}.json.tmp")
    assert still.call("lkipbu", "-a", "-t", TAG, "-f", "eth1").returncode == 0
    assert still.run("cat", kept).stdout == "precious\n"
    assert json.loads(still.run("cat", STATE).stdout)["backup_interface"] == "eth1"


def settings(small: SmallNode, **more: Any) -> None:
    """The checker's settings, with more in them."""
    content = {"cluster": "web-prod", "node": NAME, "store": STORE, "timing": "fast", **more}
    small.run("install", "-m", "0600", "/dev/stdin", "/etc/holdfast/checker.json", input=json.dumps(content))


@pytest.mark.parametrize(
    "make",
    [
        "ln -s /var/lib/holdfast/victim {0}",
        "mkfifo -m 0600 {0}",
        "mkdir {0}",
    ],
)
def test_an_event_file_that_is_no_plain_file_is_left_alone(still: SmallNode, make: str) -> None:
    """The journal has the events all the same."""
    path = "/var/log/holdfast/events.jsonl"
    still.run("sh", "-c", f"rm -rf {path}; echo precious > /var/lib/holdfast/victim; {make.format(path)}")
    settings(still, events=path)
    assert still.checker is not None
    try:
        still.checker.start()
        assert still.checker.seen("ready")
        still.checker.stop()
        assert still.run("cat", "/var/lib/holdfast/victim").stdout == "precious\n"
    finally:
        still.run("rm", "-rf", path)


def test_the_event_file_is_for_root(still: SmallNode) -> None:
    path = "/var/log/holdfast/events.jsonl"
    settings(still, events=path)
    assert still.checker is not None
    still.checker.start()
    still.checker.stop()
    assert still.run("stat", "-c", "%a %U", path).stdout in ("600 root\n", "640 root\n")
    assert "ready" in [json.loads(line)["event"] for line in still.run("cat", path).stdout.splitlines()]
