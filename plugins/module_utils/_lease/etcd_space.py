# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of etcd's space is used. Once it is used up, etcd refuses all writes until a person helps.

Source: https://etcd.io/docs/v3.5/op-guide/maintenance/ and, for the metric, https://etcd.io/docs/v3.5/metrics/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.etcd_gateway import FULL_REMEDY, Gateway, NotEtcd, whole

#: The quota of an etcd that does not tell it, which is etcd's own default.
_DEFAULT_QUOTA = 2 << 30
#: The share of the quota from which on a person is told.
_MUCH = 0.8
_QUOTA = re.compile(r"^etcd_server_quota_backend_bytes ([0-9.e+]{1,30})$", re.MULTILINE)


@dataclass(frozen=True)
class Space:
    """Of one member, in bytes."""

    used: int
    quota: int

    @property
    def warning(self) -> str:
        """One line for a person; empty while there is room."""
        if self.used < _MUCH * self.quota:
            return ""
        return f"etcd uses {self.used / self.quota:.0%} of its space, {self.quota >> 20} MiB, and refuses all writes once it is full; {FULL_REMEDY}"


def warning(gateway: Gateway) -> str:
    """One line for a person about the member that has least room; empty while there is room, and where no member answers."""
    found = []
    for status, metrics in gateway.members():
        try:
            found.append(space(status, metrics))
        except NotEtcd:
            continue
    return max(found, key=lambda one: one.used / one.quota).warning if found else ""


def space(status: Mapping[str, Any], metrics: str) -> Space:
    """From a reply to ``/v3/maintenance/status`` and the text of ``/metrics``, which may be empty. Raises `NotEtcd`.

    Space that a compaction freed is used again before the database grows, so it counts as free.
    """
    used = whole(status.get("dbSizeInUse") or status.get("dbSize"))
    told = _QUOTA.search(metrics)
    try:
        quota = whole(status.get("dbSizeQuota", 0)) or (int(float(told.group(1))) if told else 0)
    except (ValueError, OverflowError):
        raise NotEtcd("the quota is malformed") from None
    return Space(used, quota or _DEFAULT_QUOTA)
