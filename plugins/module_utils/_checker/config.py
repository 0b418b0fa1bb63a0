# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker is told: /etc/holdfast/checker.json, and the resources beside it (DESIGN.md sections 4 and 7)."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config_reader import Fields
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.settings import PeerSettings, parse_peers
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import Reporting, parse_reporting
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import TriggerSettings, parse_triggers
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_tag, shown
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import parse_node
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreSettings, parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES, Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import Checks

FILE = Path("/etc/holdfast/checker.json")
_REPORTING = ("events", "metrics", "notify")
_KNOWN = ("cluster", "node", "store", "timing", "nodes", "peers", "triggers", "checks", "reflex", "aws", *_REPORTING)
_TIMES = ("ttl", "renew", "call", "margin", "poll", "rho")
#: The options of `_ec2.client.AwsOptions`, listed here so that reading them does not need boto3.
_AWS_TEXTS = ("region", "profile", "access_key", "secret_key", "session_token", "endpoint_url", "aws_ca_bundle", "role_arn", "external_id")
_LARGEST = 1_000_000
_MOST_NODES = 100
_OTHERS = 0o077
_DAY = 86400.0


@dataclass(frozen=True)
class Config:
    """Who this node is, where the leases are, and what to do. ``store`` and ``aws`` may hold secrets and do not show.

    :param profile: The name of the timing profile that ``timing`` is made from.
    :param nodes: Every node of the cluster, this one among them.
    :param aws: Options of EC2 calls, as ``holdfast_aws``.
    """

    cluster: str
    node: str
    store: StoreSettings = field(repr=False)
    timing: Timing
    profile: str = "standard"
    nodes: tuple[str, ...] = ()
    peers: PeerSettings | None = None
    triggers: tuple[TriggerSettings, ...] = ()
    checks: Checks = field(default_factory=Checks)
    reflex: bool = True
    aws: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reporting: Reporting = field(default_factory=Reporting)


def parse_config(raw: object, path: str) -> Config:
    """The settings in ``raw``. Pure. Raises `BadInput` naming ``path`` and what is wrong."""
    if not isinstance(raw, Mapping):
        raise BadInput(f"{path}: it has to be a mapping with cluster, node and store", path=path)
    for name in raw:
        if name not in _KNOWN:
            raise BadInput(f"{path}: {shown(name)} is not known here; known are {', '.join(_KNOWN)}", path=path)
    for name in ("cluster", "node"):
        if not isinstance(raw.get(name), str):
            raise BadInput(f"{path}: {name} is missing, or is no text", path=path)
    node = parse_node(raw["node"], f"{path}: node")
    profile, timing = _timing(raw.get("timing"), f"{path}: timing")
    store, nodes = parse_store(raw.get("store"), f"{path}: store"), _nodes(raw.get("nodes"), node, f"{path}: nodes")
    if store.type == "none" and len(nodes) > 1:
        names = ", ".join(nodes)
        raise BadInput(
            f"{path}: store: type none is for one node and the cluster has {names}; set a store of type dynamodb or etcd", path="store.type"
        )
    reflex = raw.get("reflex", True)
    if not isinstance(reflex, bool):
        raise BadInput(f"{path}: reflex: this has to be true or false", path=path)
    return Config(
        cluster=parse_tag(raw["cluster"], f"{path}: cluster"),
        node=node,
        store=store,
        timing=timing,
        profile=profile,
        nodes=nodes,
        peers=parse_peers(raw.get("peers"), f"{path}: peers", node),
        triggers=parse_triggers(raw.get("triggers"), f"{path}: triggers"),
        checks=_checks(raw.get("checks"), f"{path}: checks"),
        reflex=reflex,
        aws=_aws(raw.get("aws"), f"{path}: aws"),
        reporting=parse_reporting({name: raw[name] for name in _REPORTING if name in raw}, path),
    )


def _timing(raw: object, path: str) -> tuple[str, Timing]:
    """A profile's name, or a mapping of a profile and what differs from it."""
    if raw is None or isinstance(raw, str):
        raw = {"profile": raw or "standard"}
    if not isinstance(raw, Mapping):
        raise BadInput(f"{path}: {shown(raw)} is none of {', '.join(sorted(PROFILES))}, nor a mapping with profile, {', '.join(_TIMES)}", path=path)
    given = Fields(raw, path, ("profile", *_TIMES))
    profile = given.text("profile", "standard")
    if profile not in PROFILES:
        raise BadInput(f"{path}: {shown(profile)} is none of {', '.join(sorted(PROFILES))}", path=path)
    base = PROFILES[profile]
    changes = {name: given.number(name, getattr(base, name), 0, 1e6) for name in _TIMES if given.has(name)}
    return profile, dataclasses.replace(base, **changes).validate()


def _nodes(raw: object, node: str, path: str) -> tuple[str, ...]:
    if raw is None:
        return (node,)
    if not isinstance(raw, list) or not 0 < len(raw) <= _MOST_NODES:
        raise BadInput(f"{path}: this has to be a list of the names of all nodes, {_MOST_NODES} at most", path=path)
    names = tuple(parse_node(str(name), f"{path}[{number}]") for number, name in enumerate(raw))
    if len(set(names)) != len(names):
        raise BadInput(f"{path}: a name is there twice; each node has a name of its own", path=path)
    if node not in names:
        raise BadInput(f"{path}: {node}, this node, is not among them; add it", path=path)
    return names


def _checks(raw: object, path: str) -> Checks:
    given = Fields({} if raw is None else raw, path, tuple(item.name for item in dataclasses.fields(Checks)))
    values: dict[str, Any] = {}
    for name, default in dataclasses.asdict(Checks()).items():
        number = given.number(name, default, *_BOUNDS[name])
        if isinstance(default, int) and number != int(number):
            raise given.wrong(name, "this has to be a whole number")
        values[name] = int(number) if isinstance(default, int) else number
    checks = Checks(**values)
    if checks.backoff_max < checks.backoff:
        raise given.wrong("backoff_max", f"{checks.backoff_max:g} is less than backoff, {checks.backoff:g}; raise it")
    return checks


#: The least and the most of each setting: seconds, or a count.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "interval": (0.1, 3600),
    "deep_interval": (1, 3600),
    "rise": (1, 100),
    "fall": (1, 100),
    "grace": (0, 3600),
    "max_recoveries": (1, 1000),
    "window": (1, 7 * _DAY),
    "backoff": (0.1, 3600),
    "backoff_max": (0.1, _DAY),
    "hold_down": (0, 7 * _DAY),
    "failback_delay": (0, _DAY),
}


def _aws(raw: object, path: str) -> Mapping[str, Any]:
    given = Fields({} if raw is None else raw, path, (*_AWS_TEXTS, "validate_certs"))
    values: dict[str, Any] = {name: given.text(name) for name in _AWS_TEXTS if given.has(name)}
    return {**values, "validate_certs": given.flag("validate_certs", True)} if values or given.has("validate_certs") else {}


def read_config(path: Path = FILE) -> Config:
    """The file's settings. Raises `Refused` for one that others may read or write, since it may hold secrets; `BadInput` for wrong content."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            about, text = os.fstat(file.fileno()), file.read(_LARGEST)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}; write it anew with the role holdfast.ha.monitor", path=str(path)) from None
    if not stat.S_ISREG(about.st_mode) or about.st_mode & _OTHERS or about.st_uid not in (0, os.geteuid()):
        raise Refused(f"{path} has to be a file that belongs to root and that nobody else may read; see its owner, and set its mode to 0600")
    try:
        return parse_config(json.loads(text), str(path))
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is damaged: it is no JSON; write it anew with the role holdfast.ha.monitor", path=str(path)) from None
