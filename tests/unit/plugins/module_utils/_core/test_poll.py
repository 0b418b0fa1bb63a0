# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for sockets in a process that has many files open."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.supervised_process import SupervisedProcess
from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable
from ansible_collections.holdfast.ha.plugins.module_utils._net.events import LINK, wait_until


@pytest.fixture
def beyond() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a line whose descriptors are above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this process may not have 1200 files open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    with contextlib.ExitStack() as opened:
        while True:
            number = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, number)
            if number > 1023:
                break
        one, other = socket.socketpair()
        with one, other:
            yield one, other
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_descriptor_above_1023_is_waited_for(beyond: tuple[socket.socket, socket.socket]) -> None:
    one, other = beyond
    assert one.fileno() > 1023
    assert readable([one, other], 0.0) == []
    other.send(b"x")
    assert readable([one, other], 10.0) == [one]


@pytest.mark.usefixtures("beyond")
def test_a_checker_with_many_open_files_hears_the_kernel_and_reads_its_programs() -> None:
    assert wait_until(lambda: None, LINK, 0.01) is None
    program = SupervisedProcess(["/bin/echo", "done"], dict(os.environ))
    assert program.wait(30) == 0
    assert program.tail() == ("done",)


def test_the_wait_is_bounded_and_the_end_of_a_stream_ends_it() -> None:
    one, other = socket.socketpair()
    with one:
        begin = time.monotonic()
        assert readable([one], 0.02) == []
        assert time.monotonic() - begin >= 0.02
        assert readable([one], -1.0) == []
        other.close()
        assert readable([one], 10.0) == [one]
