# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM policy documents: what they allow. Source: IAM user guide, "Policy evaluation logic"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.control.iam.conditions import Context, arn_like, hold, known, like

_MEMBERS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}


def validate(document: Mapping[str, Any]) -> None:
    """Raise ValueError for a document that IAM would refuse or that `allows` could not judge."""
    for statement in _statements(document):
        strange = set(statement) - _MEMBERS
        if strange:
            raise ValueError(f"a policy statement has no {', '.join(sorted(strange))}")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise ValueError("a policy statement needs an Effect, Allow or Deny")
        if ("Action" in statement) == ("NotAction" in statement) or ("Resource" in statement) == ("NotResource" in statement):
            raise ValueError("a policy statement needs one of Action and NotAction, and one of Resource and NotResource")
        for action in _listed(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and ":" not in action:
                raise ValueError(f"a policy's action names its service, as in ec2:ReplaceRoute; {action!r} does not")
        for operator in statement.get("Condition", {}):
            if not known(operator):
                raise ValueError(f"the condition operator {operator} is not known here")


def allows(document: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    """Whether ``action`` (``ec2:ReplaceRoute``) on one ARN is allowed: some statement allows it and none denies it."""
    meant = [one for one in _statements(document) if _means(one, action, resource, context)]
    return any(one["Effect"] == "Allow" for one in meant) and not any(one["Effect"] == "Deny" for one in meant)


def _means(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    actions = _listed(statement.get("Action", statement.get("NotAction")))
    if any(like(one.lower(), action.lower()) for one in actions) != ("Action" in statement):
        return False
    resources = _listed(statement.get("Resource", statement.get("NotResource")))
    if any(_covers(one, resource) for one in resources) != ("Resource" in statement):
        return False
    return hold(statement.get("Condition", {}), context)


def _covers(pattern: str, resource: str) -> bool:
    if resource == "*":  # an action without resource-level permissions is granted on "*" alone
        return pattern == "*"
    return arn_like(pattern, resource)


def _statements(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    statements = document.get("Statement", [])
    return [statements] if isinstance(statements, Mapping) else list(statements)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
