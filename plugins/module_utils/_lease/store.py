# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store of leases is, and how the setting ``holdfast_store`` is read (DESIGN.md sections 4 and 6). Pure."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import is_loopback, is_url, shown
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Reading


class StoreUnreachable(ServiceError):
    """No answer from the store. ``ambiguous`` where a write may have arrived all the same."""

    kind = "store_unreachable"


class StoreRefused(ServiceError):
    """The store answered and does not let us: wrong credentials, missing rights, or not set up."""

    kind = "store_refused"


class Store(Protocol):
    """Compare-and-swap on records by key (``cluster/tag``). One call is one attempt and ends within the time-out that the store was made with."""

    def read(self, key: str) -> Reading:
        """The record as it is now, not as it was. Raises `ServiceError`, `CorruptRecord`, `NewerRecord`, `NotFound`."""

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        """Replace what the token ``expected`` stands for; the new token, or ``None`` when something else was there.

        Raises `ServiceError`; ``ambiguous`` when the write may take effect all the same, now or later.
        """


#: For each type of store its settings, and the type of each. A * marks what must be given.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "dynamodb": {
        "table": "*text",
        "region": "text",
        "profile": "text",
        "access_key": "text",
        "secret_key": "text",
        "session_token": "text",
        "endpoint_url": "url",
        "validate_certs": "bool",
        "aws_ca_bundle": "text",
        "role_arn": "text",
        "external_id": "text",
    },
    "etcd": {"endpoints": "*urls", "ca_cert": "text", "cert": "text", "key": "text", "username": "text", "password": "text"},
}
_WORDS = {
    "text": "a text",
    "bool": "true or false",
    "url": "a URL such as http://10.0.0.5:8000",
    "urls": "a list of URLs such as https://10.0.0.5:2379",
}
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_LONGEST_TEXT, _MOST_URLS = 4096, 20


@dataclass(frozen=True)
class StoreSettings:
    """A checked ``holdfast_store``. The values do not show in ``repr``: some are secrets."""

    type: str
    values: Mapping[str, Any] = field(repr=False)


def parse_store(raw: object, path: str = "store") -> StoreSettings:
    """The settings in ``raw``; what is ``None`` counts as not given. Raises `BadInput` in one line that never repeats a secret."""
    if not isinstance(raw, Mapping) or not raw:
        raise BadInput(
            f"{path}: no store is set; give one such as {{type: dynamodb, table: holdfast}}, or {{type: none}} for a single node", path=path
        )
    given = {str(name): value for name, value in raw.items() if value is not None}
    kind = given.pop("type", None)
    if not isinstance(kind, str) or kind not in SETTINGS:
        raise BadInput(f"{path}.type: {shown(kind)} is not a type of store; choose dynamodb, etcd or none", path=f"{path}.type")
    known = SETTINGS[kind]
    for name in sorted(given):
        if name not in known:
            have = f"it has {', '.join(sorted(known))}" if known else "it has no settings"
            raise BadInput(f"{path}.{shown(name)[1:-1]}: a store of type {kind} has no such setting; {have}", path=f"{path}.{name}")
    for name, wanted in known.items():
        if name not in given:
            if wanted.startswith("*"):
                raise BadInput(f"{path}.{name}: a store of type {kind} needs it", path=f"{path}.{name}")
        elif not _fits(wanted.lstrip("*"), given[name]):
            raise BadInput(f"{path}.{name}: this has to be {_WORDS[wanted.lstrip('*')]}", path=f"{path}.{name}")
    _check_together(kind, given, path)
    return StoreSettings(kind, given)


def same_store(old: StoreSettings, new: StoreSettings) -> bool:
    """Whether the leases stay where they are: the same table, or an etcd with a member in common, whose replies say which cluster it is."""
    if old.type != new.type:
        return False
    if old.type == "etcd":
        return not set(old.values["endpoints"]).isdisjoint(new.values["endpoints"])
    return all(old.values.get(name) == new.values.get(name) for name in ("table", "region", "endpoint_url", "profile", "role_arn"))


def _fits(wanted: str, value: object) -> bool:
    if wanted == "bool":
        return isinstance(value, bool)
    if wanted == "urls":
        return isinstance(value, Sequence) and not isinstance(value, str) and 0 < len(value) <= _MOST_URLS and all(is_url(url) for url in value)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not value.isprintable():
        return False
    return wanted != "url" or is_url(value)


def _check_together(kind: str, given: Mapping[str, Any], path: str) -> None:
    if kind == "dynamodb" and not _TABLE.fullmatch(given["table"]):
        raise BadInput(
            f"{path}.table: {shown(given['table'])} is not a table's name; use 3 to 255 of a-z, A-Z, 0-9, '.', '_', '-'", path=f"{path}.table"
        )
    for left, right in (("cert", "key"), ("username", "password")):
        if kind == "etcd" and (left in given) != (right in given):
            raise BadInput(f"{path}.{left}: {left} and {right} belong together; give both or neither", path=f"{path}.{left}")
    if kind == "etcd" and any(name in given for name in ("ca_cert", "cert")) and any(url.startswith("http:") for url in given["endpoints"]):
        raise BadInput(f"{path}.endpoints: certificates are set, so every endpoint has to begin with https://", path=f"{path}.endpoints")
    if kind == "etcd" and "password" in given and any(url.startswith("http:") and not is_loopback(url) for url in given["endpoints"]):
        raise BadInput(f"{path}.endpoints: the password would go over the network in the clear; use https:// for every one", path=f"{path}.endpoints")
