# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts a recovery: settings, orders and outcomes (DESIGN.md section 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config_reader import Fields
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Endpoint, shown

VARIABLES = "/etc/holdfast/variables.json"
_LONGEST_RUN = 86400.0
_MOST_AT_ONCE = 64
_JOB_TEMPLATE = re.compile(r"[0-9]+|[^/?#]+\+\+[^/?#]+")


@dataclass(frozen=True)
class Order:
    """What is to be run. ``playbook``: recover, switchover or dependents. ``faults``: names such as ``routes``."""

    tag: str
    playbook: str
    reason: str
    faults: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    :param trigger: Which one it was, such as ``playbook`` or ``awx``.
    :param message: One line; what to do where it is not ``ok``.
    :param changes: The tasks that changed something, in their order, where that is known.
    :param final: False where the trigger took the order and cannot tell its end: look for yourself.
    """

    ok: bool
    trigger: str
    message: str
    seconds: float
    final: bool = True
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlaybookTrigger:
    """ansible-playbook on this node.

    :param timeout: In seconds, from the start of a run.
    :param armed: Keep one run started in advance.
    :param at_once: So many recoveries run at the same time; further ones wait for their turn.
    """

    command: str
    variables: str = VARIABLES
    timeout: float = 300.0
    armed: bool = False
    at_once: int = 2


@dataclass(frozen=True)
class AwxTrigger:
    """A job template of a controller. Times in seconds; ``poll`` is the pause between two looks at the job."""

    endpoint: Endpoint
    job_template: str
    timeout: float = 300.0
    poll: float = 2.0


@dataclass(frozen=True)
class WebhookTrigger:
    """A rulebook of Event-Driven Ansible, or whatever else takes JSON. ``timeout``: seconds for its reply."""

    endpoint: Endpoint
    timeout: float = 10.0


TriggerSettings = Union[PlaybookTrigger, AwxTrigger, WebhookTrigger]


class CannotStart(Exception):
    """This trigger cannot have it run, so the next one is asked. The message is one line."""


def parse_triggers(raw: object, path: str) -> tuple[TriggerSettings, ...]:
    """The list ``triggers``; empty where it is not given. Raises `BadInput` naming ``path``."""
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise BadInput(f"{path}: this has to be a list of triggers, in the order in which they are tried", path=path)
    return tuple(_parse_one(one, f"{path}[{index}]") for index, one in enumerate(raw))


def _parse_one(raw: object, path: str) -> TriggerSettings:
    kind = raw.get("type") if isinstance(raw, Mapping) else None
    if kind == "playbook":
        return _playbook(raw, path)
    if kind == "awx":
        return _awx(raw, path)
    if kind == "webhook":
        return _webhook(raw, path)
    raise BadInput(f"{path}.type: {shown(kind)} is no type of trigger; choose playbook, awx or webhook", path=path)


def _playbook(raw: object, path: str) -> PlaybookTrigger:
    given = Fields(raw, path, ("type", "command", "variables", "timeout", "armed", "at_once"))
    command = given.file("command")
    if command is None:
        raise given.wrong("command", "it is missing; give the path of ansible-playbook")
    variables = given.file("variables", VARIABLES) or VARIABLES
    at_once = given.number("at_once", 2, 1, _MOST_AT_ONCE)
    if at_once != int(at_once):
        raise given.wrong("at_once", f"{at_once:g} is not a whole number")
    return PlaybookTrigger(command, variables, given.number("timeout", 300, 1, _LONGEST_RUN), given.flag("armed", False), int(at_once))


_ENDPOINT = ("url", "token_file", "validate_certs", "ca_cert", "connect_timeout")


def parse_endpoint(given: Fields, *, secret: bool) -> Endpoint:
    """The fields of `_ENDPOINT`. ``secret``: a token has to be given. Raises `BadInput`."""
    token_file = given.file("token_file")
    if secret and token_file is None:
        raise given.wrong("token_file", "it is missing; give the path of a file with the token, of mode 0600")
    validate, ca_cert = given.flag("validate_certs", True), given.file("ca_cert")
    if ca_cert and not validate:
        raise given.wrong("ca_cert", "it means nothing with validate_certs false; leave one of them out")
    url = given.url("url", secret=token_file is not None)
    return Endpoint(url, token_file, validate, ca_cert, given.number("connect_timeout", 5, 0.1, 60))


def _awx(raw: object, path: str) -> AwxTrigger:
    given = Fields(raw, path, ("type", "job_template", "timeout", "poll", *_ENDPOINT))
    template = given.raw("job_template")
    text = str(template) if isinstance(template, int) and not isinstance(template, bool) else given.text("job_template")
    if not _JOB_TEMPLATE.fullmatch(text):
        raise given.wrong("job_template", f"{shown(text)} is neither a number nor NAME++ORGANIZATION")
    timeout, poll = given.number("timeout", 300, 1, _LONGEST_RUN), given.number("poll", 2, 0.05, 60)
    return AwxTrigger(parse_endpoint(given, secret=True), text, timeout, poll)


def _webhook(raw: object, path: str) -> WebhookTrigger:
    given = Fields(raw, path, ("type", "timeout", *_ENDPOINT))
    return WebhookTrigger(parse_endpoint(given, secret=False), given.number("timeout", 10, 0.1, 300))
