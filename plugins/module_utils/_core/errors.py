# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the core. Each is one line that tells a person what to do, with structured details beside it.

Only these are caught by the adapters (`_core/run`); anything else is a defect of ours and is reported as one.
"""

from __future__ import annotations

from collections.abc import Mapping


class HoldfastError(Exception):
    """Something that a person has to act on.

    :param message: One line: what is wrong and what to do about it.
    :param returns: Return values of the module that are known in spite of the error.
    :param details: The same facts as values, for programs (for example ``interface="eth0"``).
    """

    #: What programs know this error by, in a module's ``errors`` and in the checker's replies.
    kind = "error"
    #: The same call may succeed a little later (throttling, a lost connection, a 5xx).
    retryable = False
    #: The cause may end without a person. True of all that is retryable, and of instance metadata that does not answer.
    transient = False
    #: The service refuses the credentials in use.
    denied = False
    #: A write may have taken effect although no success was reported.
    ambiguous = False

    def __init__(self, message: str, *, returns: Mapping[str, object] | None = None, **details: object) -> None:
        super().__init__(" ".join(message.split()))
        self.returns = dict(returns or {})
        self.details = details

    @property
    def message(self) -> str:
        """The one line."""
        return str(self)

    def as_dict(self) -> dict[str, object]:
        """The error as a JSON-able mapping: ``kind``, ``transient``, ``denied`` and the details."""
        return {"kind": self.kind, "transient": self.transient, "denied": self.denied, **self.details}


class BadInput(HoldfastError):
    """What the user gave cannot be meant. Raised before anything has changed."""

    kind = "bad_input"


class MissingLibrary(BadInput):
    """The Python that runs this lacks a library that the input calls for. Raised before anything has changed."""

    kind = "missing_library"


class NotFound(HoldfastError):
    """A thing that was named does not exist. Finding nothing is an error, never success."""

    kind = "not_found"


class PartlyMissing(NotFound):
    """One of several things that were named does not exist, and the others were attended to. Trying again changes nothing, on whichever node."""

    kind = "partly_missing"


class Refused(HoldfastError):
    """Going on would touch something that is not ours, or make a conflict (a duplicate address, a foreign association)."""

    kind = "refused"


class CommandFailed(HoldfastError):
    """A program on this host reported failure. Details: ``argv``, ``rc``, ``stderr``."""

    kind = "command_failed"


class MissingProgram(HoldfastError):
    """A program that is needed is not installed on this host. Details: ``program``."""

    kind = "missing_program"


class ProbeFailed(HoldfastError):
    """Nothing, or not everything, answered a probe."""

    kind = "probe_failed"


class NotConverged(HoldfastError):
    """Every write was accepted, and reading it back in bounded time still shows something else."""

    kind = "not_converged"


class ServiceError(HoldfastError):
    """A remote service (EC2, instance metadata, a store) refused or failed a call.

    :param retryable: see `HoldfastError.retryable`.
    :param ambiguous: see `HoldfastError.ambiguous`.
    :param transient: see `HoldfastError.transient`.
    :param denied: see `HoldfastError.denied`.
    Details: ``service``, ``operation``, ``code``.
    """

    kind = "service_error"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        ambiguous: bool = False,
        transient: bool = False,
        denied: bool = False,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.details = details
        self.retryable = retryable
        self.ambiguous = ambiguous
        self.transient = retryable or transient
        self.denied = denied


def place_of(error: BaseException) -> str:
    """Where an exception was raised: file and line of the innermost frame."""
    found, trace = "", error.__traceback__
    while trace is not None:
        found, trace = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}", trace.tb_next
    return found
