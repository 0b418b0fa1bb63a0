# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one request: faults, who is it, may they, the rules, moto, what follows, the log."""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable

from lab.control.calls import Call, CallLog, is_mutating
from lab.control.emulator import Emulator
from lab.control.errors import ApiError, error_reply
from lab.control.faults import Faults
from lab.control.history import History
from lab.control.http import CUT, HttpReply, HttpRequest
from lab.control.iam.identities import Caller, Identities
from lab.control.iam.resources import Resources
from lab.control.request import ApiRequest, parse_request, result_reply
from lab.control.rules import ids, registry  # the package registers the rules

_logger = logging.getLogger(__name__)
_CODE = re.compile(rb'<Code>([^<]+)</Code>|"__type"\s*:\s*"(?:[^"#]*#)?([^"]+)"')


class Pipeline:
    """Handles requests from any number of threads; the state changes under one lock, which no injected wait holds."""

    def __init__(self, emulator: Emulator, identities: Identities, faults: Faults, calls: CallLog, changed: Callable[[Call], None]) -> None:
        self.lock = threading.RLock()
        self._emulator = emulator
        self._identities = identities
        self._faults = faults
        self._calls = calls
        self._changed = changed
        self._history = History()

    def handle(self, http: HttpRequest) -> HttpReply:
        """The reply to one HTTP request that is meant for AWS."""
        try:
            request = parse_request(http)
        except ApiError as error:
            service = "dynamodb" if "x-amz-target" in http.headers else "ec2"
            reply = error_reply(service, error)
            self._calls.add(Call(service, "", "", False, reply.status, error.code, time.monotonic(), http.source))
            return reply
        mutating = is_mutating(request.action, request.dry_run)
        struck = self._faults.before(request)
        if struck is not None:
            self._log(request, mutating, struck[0].status, struck[1], effective=False)
            return struck[0]
        reply, code = self._decide(request, mutating)
        call = self._log(request, mutating, reply.status, code, effective=mutating and reply.status < 300)
        if not call.effective:
            return reply
        if request.service == "ec2":
            try:
                self._changed(call)
            except Exception:
                _logger.exception("the data plane did not follow %s", request.action)
                return _defect(request)  # a subscriber that fails must not pass for a data plane that followed
        return CUT if self._faults.loses_reply(request) else reply

    def _decide(self, request: ApiRequest, mutating: bool) -> tuple[HttpReply, str | None]:
        try:
            with self.lock:
                reply = self._perform(request, mutating)
        except ApiError as error:
            return error_reply(request.service, error), error.code
        except Exception:
            _logger.exception("the lab could not answer %s", request.action)
            return _defect(request), "LabDefect"  # it must not look like an error of EC2
        found = _CODE.search(reply.body) if reply.status >= 300 else None
        return reply, (found[1] or found[2]).decode() if found else None

    def _perform(self, request: ApiRequest, mutating: bool) -> HttpReply:
        caller = self._identities.authenticate(request)
        if request.service == "sts":
            return self._sts(caller, request)
        if request.region != self._emulator.region:
            code = "AuthFailure" if request.service == "ec2" else "InvalidSignatureException"
            raise ApiError(code, "Credential should be scoped to a valid region.", 401)
        if request.service == "ec2":
            ids.refuse_malformed(request)
        self._authorise(caller, request)
        if request.service != "ec2":
            return self._emulator.call(request)
        if request.dry_run:
            raise ApiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        now = time.monotonic()
        if mutating:
            self._history.record(self._emulator.ec2, now, self._faults.longest_staleness())
            return self._ec2(request)
        with self._history.rewound(self._emulator.ec2, now - self._faults.staleness(request)):
            return self._ec2(request)

    def _ec2(self, request: ApiRequest) -> HttpReply:
        call = registry.Ec2Call(request, self._emulator.ec2, self._emulator.account, self._emulator.region)
        registry.check(call)
        answer = registry.answer_of(request.action)
        if answer is not None:
            return result_reply("ec2", request.action, answer(call))
        try:
            reply = self._emulator.call(request)
        except NotImplementedError as error:  # what moto has not built
            raise ApiError("LabUnsupported", f"The lab's EC2 cannot do this {request.action}: {error}") from None
        if reply.status < 300:
            registry.follow(call)
        return reply

    def _sts(self, caller: Caller, request: ApiRequest) -> HttpReply:
        self._authorise(caller, request)
        if request.action == "AssumeRole":
            return result_reply("sts", request.action, self._identities.assume(caller, request))
        if request.action == "GetCallerIdentity":
            return result_reply("sts", request.action, self._identities.identity(caller))
        raise ApiError("InvalidAction", f"The lab's STS knows AssumeRole and GetCallerIdentity, not {request.action}.")

    def _authorise(self, caller: Caller, request: ApiRequest) -> None:
        resources = Resources(self._emulator.ec2, self._emulator.account, self._emulator.region)
        self._identities.authorise(caller, request, resources.of(request) if caller.role else [])

    def _log(self, request: ApiRequest, mutating: bool, status: int, code: str | None, *, effective: bool) -> Call:
        call = Call(
            service=request.service,
            action=request.action,
            access_key=request.access_key,
            mutating=mutating,
            status=status,
            code=code,
            time=time.monotonic(),
            source=request.http.source,
            effective=effective,
            params=request.params,
        )
        self._calls.add(call)
        return call


def _defect(request: ApiRequest) -> HttpReply:
    text = f"the lab's control plane has a defect: {traceback.format_exc(limit=-3)}"
    return error_reply(request.service, ApiError("LabDefect", text))
