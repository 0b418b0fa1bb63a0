# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules by action. A rule module registers its functions; the pipeline asks for them.

``checks``: before the call, refuse it with `ApiError` or put its form into canonical form.
``answers``: in moto's place; returns the result with the names of the service's model.
``follows``: after moto has answered, put right what moto leaves wrong in the state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.control.request import ApiRequest


@dataclass(frozen=True)
class Ec2Call:
    """What a rule sees: the request, and moto's EC2 backend, which is the state itself."""

    request: ApiRequest
    backend: Any
    account: str
    region: str

    @property
    def params(self) -> dict[str, Any]:
        """The request's parameters by their model names."""
        return self.request.params


Check = Callable[[Ec2Call], None]
Answer = Callable[[Ec2Call], Mapping[str, Any]]
_F = TypeVar("_F", bound=Callable[..., Any])

_checks: dict[str, list[Check]] = defaultdict(list)
_answers: dict[str, Answer] = {}
_follows: dict[str, list[Check]] = defaultdict(list)


def checks(*actions: str) -> Callable[[_F], _F]:
    """Register a function that may refuse these actions; several are asked in the order of registration."""

    def register(function: _F) -> _F:
        for action in actions:
            _checks[action].append(function)
        return function

    return register


def answers(action: str) -> Callable[[_F], _F]:
    """Register the one function that answers an action instead of moto."""

    def register(function: _F) -> _F:
        assert action not in _answers, action
        _answers[action] = function
        return function

    return register


def follows(*actions: str) -> Callable[[_F], _F]:
    """Register a function that runs after moto has carried out these actions."""

    def register(function: _F) -> _F:
        for action in actions:
            _follows[action].append(function)
        return function

    return register


def check(call: Ec2Call) -> None:
    """Run the checks for the call's action; the first to object raises `ApiError`."""
    for function in _checks[call.request.action]:
        function(call)


def answer_of(action: str) -> Answer | None:
    """What answers this action in moto's place."""
    return _answers.get(action)


def follow(call: Ec2Call) -> None:
    """Run what follows the call's action."""
    for function in _follows[call.request.action]:
        function(call)
