# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program so that neither it nor anything it started outlives us: `python -I -S subreaper.py CONTROL STDIN GRACE PROGRAM [ARGUMENT...]`.

A process group is not enough: Ansible's workers make sessions of their own. So this process adopts every orphan below it
(PR_SET_CHILD_SUBREAPER) and, once CONTROL is closed at the other end, by intent or since that process died, ends all of them: SIGTERM, and
after GRACE seconds SIGKILL. When the program ends by itself, what it left running, such as a service's daemon, is left alone.

Started by path and without site-packages, so that it costs little: nothing of ours is imported here.
The exit code: the program's, 128 and its signal's number, 127 where it cannot be started, 143 where it had to be ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_NOT_FOUND, _ENDED = 127, 143
#: Seconds between two looks at what is to be ended.
_LOOK = 0.02
#: Give up on processes that the kernel itself cannot end (in uninterruptible sleep), in seconds.
_STUCK = 5.0


def _prctl(option: int, value: int) -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # what is left is the process tree without its orphans


def _start(argv: list[str], stdin: int) -> int:
    parent, ours = os.getpid(), (signal.SIGTERM, signal.SIGCHLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)  # what comes before the program is there is kept for it
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        return child
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_ENDED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        os.dup2(stdin, 0)
        os.execvp(argv[0], argv)  # noqa: S606  (no shell is what is meant)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_FOUND)


def below(root: int) -> list[int]:
    """Every process below ``root``, which is left out; those that have ended and only wait to be asked for, too."""
    children: dict[int, list[tuple[int, bool]]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(int(parent), []).append((int(name), state in "ZX"))
    found, left = [], [root]
    while left:
        for pid, over in children.get(left.pop(), ()):
            left.append(pid)
            if not over:
                found.append(pid)
    return found


def _reap() -> dict[int, int]:
    """Those that have ended, with their status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _end(grace: float) -> None:
    """End all that is below us."""
    begin, told = time.monotonic(), set[int]()
    while time.monotonic() - begin < grace + _STUCK:
        _reap()
        left = below(os.getpid())
        if not left:
            return
        over = time.monotonic() - begin >= grace
        for pid in left:
            if over or pid not in told:
                told.add(pid)
                _send(pid, signal.SIGKILL if over else signal.SIGTERM)
        time.sleep(_LOOK)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # one that is stopped would not see it
    except OSError:
        pass  # it has ended meanwhile


def main(words: list[str]) -> int:
    """Be the leash."""
    control, stdin, grace, argv = int(words[0]), int(words[1]), float(words[2]), words[3:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended_by_signal: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ended_by_signal.append(number))
    for number in (control, stdin):
        os.set_inheritable(number, False)
    child = _start(argv, stdin)
    if stdin > 2:
        os.close(stdin)
    poll = select.poll()
    poll.register(control, select.POLLIN | select.POLLHUP)
    poll.register(heard, select.POLLIN)
    while True:
        status = _reap().get(child)
        if status is not None:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        ready = [number for number, _event in poll.poll()]
        if control in ready or ended_by_signal:
            _end(grace)
            return _ENDED
        while heard in ready:
            try:
                if not os.read(heard, 512):
                    break
            except BlockingIOError:
                break


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
