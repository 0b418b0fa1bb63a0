# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module about a resource has: their specification and their meaning."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource, parse_tag, shown
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse

#: Documented by the doc fragment of the same name.
RESOURCE_OPTIONS: dict[str, dict[str, Any]] = {"resource": {"type": "dict"}, "node": {"type": "str"}}
_LONGEST_NODE = 253


def parse_given(params: Mapping[str, Any]) -> tuple[str | None, Resource | None]:
    """The tag, if one was given, and the definition, if that was. Raises `BadInput`."""
    resource = None if params["resource"] is None else parse(params["resource"], "resource")
    if params["tag"] is None:
        return (resource.tag if resource else None), resource
    tag = parse_tag(params["tag"])
    if resource is not None and resource.tag != tag:
        raise BadInput(f"resource/tag: {resource.tag} is not {tag}, the tag asked for; give the definition of {tag}", path="resource/tag")
    return tag, resource


def parse_node(params: Mapping[str, Any]) -> str:
    """The name of this server in the INFO record. Raises `BadInput`: its values are separated by spaces."""
    node = params["node"] or socket.gethostname()
    if len(node) > _LONGEST_NODE or not node.isprintable() or " " in node:
        raise BadInput(f"node: {shown(node)} is not the name of a server; give one without spaces", path="node")
    return str(node)
