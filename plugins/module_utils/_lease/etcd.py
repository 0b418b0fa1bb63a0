# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases in etcd v3: transactions on a key's revision, over the JSON gateway. etcd's own leases are not used.

Source: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ and https://etcd.io/docs/v3.4/learning/api/
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import Answer, ClusterPin, Gateway, NotEtcd, whole
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record, parse_record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreSettings, StoreUnreachable

_PREFIX = "/holdfast/"
_T = TypeVar("_T")


class Caller(Protocol):
    """Makes calls to etcd, as `Gateway` does."""

    def call(self, path: str, body: dict[str, Any], understand: Callable[[dict[str, Any]], _T], *, write: bool = False) -> Answer[_T]:
        """The answer to one call, as ``understand`` reads it. Raises `ServiceError`."""

    def sibling(self) -> Caller:
        """One for another thread."""


class EtcdStore:
    """`Store` over a cluster of etcd.

    The token is the key's ``mod_revision`` and value, 0 where there is no key. The revision alone is not enough: after a snapshot was restored, etcd
    gives the same ones out again.
    """

    def __init__(self, gateway: Caller) -> None:
        self._gateway = gateway

    @classmethod
    def connect(cls, settings: StoreSettings, timeout: float, cluster: ClusterPin | None = None) -> EtcdStore:
        """From checked settings; ``timeout`` in seconds for one call, whatever the number of endpoints. Raises `BadInput`.

        :param cluster: What is known of the cluster; by default nothing.
        """
        return cls(Gateway(timeout=timeout, cluster=cluster, **settings.values))

    def sibling(self) -> EtcdStore:
        """One for another thread, see `Gateway.sibling`."""
        return EtcdStore(self._gateway.sibling())

    def read(self, key: str) -> Reading:
        """See `Store`. Reads are linearizable, so they need a quorum."""
        found = self._gateway.call("/v3/kv/range", {"key": _b64(_PREFIX + key)}, _first).reply
        if found is None:
            return Reading(None, 0)
        record = parse_record(_decoded(found.value), f"{_PREFIX}{key} in etcd", f"etcdctl del {_PREFIX}{key}")
        return Reading(record, (found.revision, found.value))

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        """See `Store`. The same transaction may reach several endpoints: it takes effect at most once, and only its own effect
        could make a later one fail, so after an attempt without an answer a refusal says nothing."""
        name = _b64(_PREFIX + key)
        value = _b64(json.dumps(record.as_dict(), sort_keys=True, separators=(",", ":")))
        revision, before = expected if isinstance(expected, tuple) else (0, None)
        compare = [{"key": name, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}]
        if before is not None:
            compare.append({"key": name, "target": "VALUE", "result": "EQUAL", "value": before})
        body = {
            "compare": compare,
            "success": [{"request_put": {"key": name, "value": value}}],
        }
        answer = self._gateway.call("/v3/kv/txn", body, _written, write=True)
        if answer.reply is not None:
            return (answer.reply, value)
        if answer.unanswered_before:
            raise StoreUnreachable(
                "etcd: an endpoint gave no answer to a write that another one then refused; read the lease to see", retryable=True, ambiguous=True
            )
        return None

    def check(self) -> None:
        """Raises a `ServiceError` unless there is a quorum and the credentials may read leases."""
        every = {"key": _b64(_PREFIX), "range_end": _b64("/holdfast0"), "limit": "1", "keys_only": True}
        self._gateway.call("/v3/kv/range", every, lambda reply: None)


@dataclass(frozen=True)
class _Found:
    """The value of a key, as etcd encodes it, and the revision that last changed it."""

    value: str
    revision: int


def _first(reply: dict[str, Any]) -> _Found | None:
    """The one key that a range was about; ``None`` where it is not there. Raises `NotEtcd`."""
    found = reply.get("kvs", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise NotEtcd("kvs is no list of keys")
    if not found:
        return None
    value, revision = found[0].get("value", ""), whole(found[0].get("mod_revision"))
    if not isinstance(value, str) or not revision:
        raise NotEtcd("a key has no value or no mod_revision")
    return _Found(value, revision)


def _written(reply: dict[str, Any]) -> int | None:
    """The revision of a transaction that took effect; ``None`` where its condition did not hold. Raises `NotEtcd`."""
    succeeded = reply.get("succeeded", False)
    if not isinstance(succeeded, bool):
        raise NotEtcd("succeeded is neither true nor false")
    if not succeeded:
        return None
    revision = whole(reply["header"].get("revision"))
    if not revision:
        raise NotEtcd("a transaction took effect without a revision")
    return revision


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(value: str) -> dict[str, Any]:
    """The JSON object in a key's value; anything else becomes one that `parse_record` refuses."""
    try:
        raw = json.loads(base64.b64decode(value).decode())
    except (ValueError, RecursionError):
        return {"epoch": "no JSON"}
    return raw if isinstance(raw, dict) else {"epoch": "no JSON object"}
