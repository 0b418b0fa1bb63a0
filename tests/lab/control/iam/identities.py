# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, roles and their sessions; who a request comes from and whether it may do what it asks."""

from __future__ import annotations

import copy
import datetime
import secrets
import string
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lab.control.errors import ApiError
from lab.control.fault_replies import expired
from lab.control.iam import policy
from lab.control.iam.conditions import arn_like
from lab.control.iam.resources import Target
from lab.control.iam.signature import is_genuine
from lab.control.request import ApiRequest


class Credentials(NamedTuple):
    """Temporary credentials of a role, as instance metadata and AssumeRole hand them out."""

    access_key: str
    secret_key: str
    token: str
    expiration: datetime.datetime


@dataclass
class _Role:
    name: str
    policy: Mapping[str, Any] = field(default_factory=lambda: {"Statement": []})
    principals: Sequence[str] = ("*",)
    external_id: str | None = None


@dataclass(frozen=True)
class Caller:
    """Who calls. ``role`` is None for the administrator, to whom everything is allowed."""

    arn: str
    user_id: str
    role: str | None = None


@dataclass(frozen=True)
class _Session:
    credentials: Credentials
    caller: Caller


class Identities:
    """The administrator's key and every session issued. Safe to use from any thread."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._roles: dict[str, _Role] = {}
        self._sessions: dict[str, _Session] = {}
        self.admin = Credentials(_key("AKIA"), secrets.token_urlsafe(30), "", datetime.datetime.max)

    def role_arn(self, name: str) -> str:
        """The ARN of a role of this account."""
        return f"arn:aws:iam::{self._account}:role/{name}"

    def set_policy(self, role: str, document: Mapping[str, Any]) -> None:
        """Let sessions of ``role`` do what the document allows, from the next call on. ValueError for a bad document."""
        policy.validate(document)
        with self._lock:
            self._role(role).policy = copy.deepcopy(dict(document))

    def set_trust(self, role: str, *, principals: Sequence[str] = ("*",), external_id: str | None = None) -> None:
        """Who may assume ``role``: ARNs (wildcards allowed) and, if given, the external id that they have to name."""
        with self._lock:
            self._role(role).principals = tuple(principals)
            self._role(role).external_id = external_id

    def issue(self, role: str, seconds: float, session: str = "i-00000000") -> Credentials:
        """Credentials of a new session; ``seconds`` may be zero or negative for one that has run out already."""
        now = datetime.datetime.now(datetime.timezone.utc)
        made = Credentials(_key("ASIA"), secrets.token_urlsafe(30), secrets.token_urlsafe(90), now + datetime.timedelta(seconds=seconds))
        caller = Caller(f"arn:aws:sts::{self._account}:assumed-role/{role}/{session}", f"{_key('AROA')}:{session}", role)
        with self._lock:
            self._role(role)
            self._sessions[made.access_key] = _Session(made, caller)
        return made

    def authenticate(self, request: ApiRequest) -> Caller:
        """Raises `ApiError` for a key that is not known, a wrong token or signature, a session that has run out."""
        if request.access_key == self.admin.access_key:
            if not is_genuine(request, self.admin.secret_key):
                raise _missigned(request)
            return Caller(f"arn:aws:iam::{self._account}:user/lab", _key("AIDA"))
        with self._lock:
            session = self._sessions.get(request.access_key)
        if session is None or request.token != session.credentials.token:
            raise _unknown(request)
        if not is_genuine(request, session.credentials.secret_key):
            raise _missigned(request)
        if datetime.datetime.now(datetime.timezone.utc) >= session.credentials.expiration:
            raise expired(request)
        return session.caller

    def authorise(self, caller: Caller, request: ApiRequest, targets: Sequence[Target]) -> None:
        """Raises `ApiError` unless the caller's policy allows the action on every resource of the call."""
        if caller.role is None or (request.service, request.action) == ("sts", "GetCallerIdentity"):
            return
        with self._lock:
            document = self._role(caller.role).policy
        action = f"{request.service}:{request.action}"
        for target in targets:
            if not policy.allows(document, action, target.arn, target.context):
                raise _denied(request, caller, action, target.arn)

    def assume(self, caller: Caller, request: ApiRequest) -> dict[str, Any]:
        """STS AssumeRole: a session of the role if its trust lets this caller in."""
        request.require("RoleArn", "RoleSessionName")
        arn, session = str(request.params["RoleArn"]), str(request.params["RoleSessionName"])
        name = arn.rpartition("/")[2]
        with self._lock:
            role = self._roles.get(name)
        trusted = role is not None and arn == self.role_arn(name) and any(arn_like(one, caller.arn) for one in role.principals)
        if role is None or not trusted or role.external_id not in (None, request.params.get("ExternalId")):
            raise _denied(request, caller, "sts:AssumeRole", arn)
        made = self.issue(name, float(request.params.get("DurationSeconds") or 3600), session)
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        return {
            "Credentials": dict(zip(names, made)),
            "AssumedRoleUser": {"AssumedRoleId": f"{_key('AROA')}:{session}", "Arn": f"arn:aws:sts::{self._account}:assumed-role/{name}/{session}"},
        }

    def identity(self, caller: Caller) -> dict[str, Any]:
        """STS GetCallerIdentity."""
        return {"UserId": caller.user_id, "Account": self._account, "Arn": caller.arn}

    def _role(self, name: str) -> _Role:
        return self._roles.setdefault(name, _Role(name))


def _key(prefix: str) -> str:
    return prefix + "".join(secrets.choice(string.ascii_uppercase + "234567") for _number in range(16))


def _unknown(request: ApiRequest) -> ApiError:
    if request.service == "ec2":
        return ApiError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    if request.service == "sts":
        return ApiError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
    return ApiError("UnrecognizedClientException", "The security token included in the request is invalid.")


def _missigned(request: ApiRequest) -> ApiError:
    if request.service == "ec2":
        return _unknown(request)
    text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
    return ApiError("SignatureDoesNotMatch", text, 403) if request.service == "sts" else ApiError("InvalidSignatureException", text)


def _denied(request: ApiRequest, caller: Caller, action: str, arn: str) -> ApiError:
    text = f"User: {caller.arn} is not authorized to perform: {action} on resource: {arn} because no identity-based policy allows the {action} action"
    if request.service == "ec2":
        return ApiError("UnauthorizedOperation", f"You are not authorized to perform this operation. {text}", 403)
    if request.service == "sts":
        return ApiError("AccessDenied", text, 403)
    return ApiError("AccessDeniedException", text)
