# SPDX-License-Identifier: GPL-3.0-or-later
"""What the labs of this process are like right now, for the report of a failed test: addresses, routes, events and calls to EC2."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from weakref import WeakSet

#: Seconds that the accounts may take.
LIMIT = 5.0


class Witness:
    """Something that can give an account of itself. Call `appear` once it exists, and `leave` when it has ended."""

    #: `time.monotonic` of the last thing that happened to it. A witness that ended before the test began is not asked.
    last_change = float("inf")

    def appear(self) -> None:
        """From now on it is asked."""
        _present.add(self)

    def leave(self) -> None:
        """It is not asked any more. Safe to repeat."""
        _present.discard(self)

    def account(self) -> str:
        """Title and text, for a person."""
        raise NotImplementedError


_present: WeakSet[Witness] = WeakSet()


def story(since: float = 0.0) -> str:
    """The accounts of all witnesses to which something has happened since then (`time.monotonic` seconds). One that has no account is named.

    All accounts are taken side by side. What is not there after `LIMIT` seconds is left out.
    """
    asked = [one for one in sorted(_present, key=lambda witness: type(witness).__name__) if one.last_change >= since]
    if not asked:
        return ""
    pool = ThreadPoolExecutor(len(asked))
    jobs = {one: pool.submit(one.account) for one in asked}
    wait(jobs.values(), LIMIT)
    pool.shutdown(wait=False, cancel_futures=True)
    return "\n\n".join(_told(one, job) for one, job in jobs.items())


def _told(witness: Witness, job: Future[str]) -> str:
    if not job.done():
        return f"--- {witness}: no account within {LIMIT:g} s"
    error = job.exception()
    return job.result() if error is None else f"--- {witness}: no account: {error}"
