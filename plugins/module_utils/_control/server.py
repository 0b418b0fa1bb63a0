# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's socket: for root and for whom it runs as, one request and one reply for each connection."""

from __future__ import annotations

import dataclasses
import os
import socket
import socketserver
import stat
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import LONGEST, Request, encode, parse_request, refusal
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, NotFound, Refused

#: Seconds in which a caller has to have sent its line.
_PATIENCE = 5.0
_OTHERS_WRITE = 0o022
_umask = threading.Lock()
#: What the thread of the lease answers; the rest is for the loop that watches.
_OF_THE_LEASE = ("acquire", "release", "withdraw")
#: What shows that a playbook is at work: of one resource alone, only those ask for the status.
_OF_PLAYBOOKS = ("status", "serve", "move")


class Lease(Protocol):
    """What the server uses of the thread of one lease."""

    def at_work(self) -> None:
        """A playbook is at work on this resource."""

    def ask(self, request: Request) -> None:
        """Do it, and wait for its end. Raises `HoldfastError`."""


class Watched(Protocol):
    """What the server uses of one resource."""

    @property
    def holder(self) -> Lease:
        """The thread of its lease."""

    def ask(self, request: Request) -> None:
        """Do it, and wait for its end. Raises `HoldfastError`."""

    def status(self) -> dict[str, Any]:
        """The resource as the status shows it."""


class Server(socketserver.ThreadingUnixStreamServer):
    """Answers on ``path``. What was left there by a checker that ended is replaced; one that lives is refused.

    :param about: What the status says of the node, which takes a while: the memory of all processes of the armed run is added up.
    :param who: What each answer says of the node.
    """

    daemon_threads = True
    block_on_close = False
    #: Callers that may come at the same moment; the standard library's 5 is fewer than a node may have resources.
    request_queue_size = 128

    def __init__(self, path: Path, watches: Mapping[str, Watched], about: Callable[[], Mapping[str, Any]], who: Mapping[str, str]) -> None:
        self._watches, self._about, self._who = watches, about, who
        _make_way(path)
        with _umask:  # the socket is private from its first moment
            old = os.umask(0o177)
            try:
                super().__init__(str(path), _Caller)
            except OSError as error:
                raise NotConverged(f"cannot answer at {path}: {error.strerror}; see its folder") from None
            finally:
                os.umask(old)

    def answer(self, request: Request) -> dict[str, Any]:
        """What the caller is told. Raises `HoldfastError`."""
        if not request.tag:
            for tag in sorted(self._watches) if request.op != "status" else ():
                self._watches[tag].ask(dataclasses.replace(request, tag=tag))
            return {"ok": True, **self._about(), "resources": [self._watches[tag].status() for tag in sorted(self._watches)]}
        watch = self._watches.get(request.tag)
        if watch is None:
            raise NotFound(f"the checker watches no resource {request.tag}; it has {', '.join(sorted(self._watches)) or 'none'}")
        if request.op in _OF_PLAYBOOKS:
            watch.holder.at_work()
        if request.op in _OF_THE_LEASE:
            watch.holder.ask(request)
        elif request.op != "status":
            watch.ask(request)
        return {"ok": True, **self._who, **watch.status()}


class _Caller(socketserver.StreamRequestHandler):
    timeout = _PATIENCE

    def handle(self) -> None:
        server = cast(Server, self.server)
        try:
            if _user_of(self.connection) not in (0, os.geteuid()):
                raise Refused("only root may talk to the checker")
            line = self.rfile.readline(LONGEST)
            reply = server.answer(parse_request(line))
        except HoldfastError as error:
            reply = refusal(error)
        except OSError:
            return  # the caller is gone
        try:
            self.wfile.write(encode(reply))
        except OSError:
            pass  # as above; what was asked for is done all the same


def _user_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))
    return int(struct.unpack("=iII", credentials)[1])


def _make_way(path: Path) -> None:
    """See that nobody else decides what is at ``path``, and remove a socket there on which nobody answers any more. Raises `Refused`."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise Refused(f"cannot use the folder {folder}: {error.strerror}; see what is there") from None
    if not stat.S_ISDIR(about.st_mode):
        raise Refused(f"{folder} is not a folder but a link or a file; remove it")
    if about.st_uid not in (0, os.geteuid()) or (about.st_mode & _OTHERS_WRITE and not about.st_mode & stat.S_ISVTX):
        raise Refused(f"others may change what is in {folder}; give it to root, and set its mode to 0700")
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Refused(f"{path} is not a socket; remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise NotConverged(f"cannot use {path}: {error.strerror}; remove it") from None
    raise Refused(f"a checker answers at {path} already; a node runs one")
