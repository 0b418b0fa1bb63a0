# SPDX-License-Identifier: GPL-3.0-or-later
"""A resource's definition, checked strictly: what is not understood is refused, never ignored (DESIGN.md section 4). Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Address,
    Dependent,
    Ec2Parts,
    Probe,
    Resource,
    parse_gateway,
    parse_ip,
    parse_label,
    parse_link_name,
    parse_tag,
    shown,
)
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import parse_probe

_FAILBACK = ("manual", "automatic")
_FENCES = ("none", "source_dest_check", "stop_instance")
_ON_STOP_FAILURE = ("wait", "reboot")
#: What the EC2 modules take besides: handed on as it is.
_EC2_EXTRA = ("region", "profile", "endpoint_url", "aws_ca_bundle", "external_id", "vpc_id", "missing", "private_ip_address")
_LONGEST_TEXT = 256
#: The characters of systemd.unit(5). Neither an option of systemctl nor a pattern that matches several units.
_UNIT = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_:.@\\-]{0,255}")


def parse(definition: object, path: str = "/holdfast_resources/0") -> Resource:
    """A resource from its definition in the inventory. Raises `BadInput` naming the place below ``path``."""
    fields = _Fields(definition, path)
    address = Address.parse(fields.text("address"), fields.at("address"))
    interface = parse_link_name(fields.text("interface"), fields.at("interface"))
    backup = fields.optional("backup_interface", lambda value, at: parse_link_name(_text(value, at), at), None)
    if backup == interface:
        raise BadInput(f"{fields.at('backup_interface')}: {backup} is the interface itself; give another one, or leave it out", path=path)
    resource = Resource(
        tag=parse_tag(fields.text("tag"), fields.at("tag")),
        address=address,
        interface=interface,
        backup_interface=backup,
        gateway=fields.optional("gateway", lambda value, at: parse_gateway(_text(value, at), address, at), None),
        probe=fields.optional("probe", lambda value, at: _probe(value, at, address), Probe()),
        ec2=fields.optional("ec2", _ec2, None),
        dependents=fields.optional("dependents", _dependents, ()),
        priority=fields.optional("priority", _priority, {}),
        failback=fields.optional("failback", lambda value, at: _choice(value, at, _FAILBACK), "manual"),
        fence=fields.optional("fence", lambda value, at: _choice(value, at, _FENCES), "none"),
        stop_budget=fields.optional("stop_budget", lambda value, at: _number(value, at, 0, 3600), 0.0),
        on_stop_failure=fields.optional("on_stop_failure", lambda value, at: _choice(value, at, _ON_STOP_FAILURE), "wait"),
        label=fields.optional("label", lambda value, at: parse_label(_text(value, at), address, filter(None, (interface, backup)), at), None),
        announce_interval=fields.optional("announce_interval", _announce_interval, Resource.announce_interval),
    )
    fields.finish()
    return resource


class _Fields:
    """The entries of one mapping; what nobody asked for is refused at the end."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise BadInput(f"{path}: {shown(value)} is not a mapping", path=path)
        self._value: Mapping[str, Any] = value
        self._path = path
        self._known: list[str] = []

    def at(self, name: str) -> str:
        return f"{self._path}/{name}"

    def text(self, name: str) -> str:
        self._known.append(name)
        if self._value.get(name) is None:
            raise BadInput(f"{self.at(name)} is missing", path=self.at(name))
        return _text(self._value[name], self.at(name))

    def optional(self, name: str, read: Callable[[Any, str], Any], default: Any) -> Any:
        self._known.append(name)
        value = self._value.get(name)
        return default if value is None else read(value, self.at(name))

    def finish(self) -> None:
        for name in self._value:
            if name not in self._known:
                near = difflib.get_close_matches(str(name)[:_LONGEST_TEXT], self._known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(self._known)}"
                raise BadInput(f"{self._path}: {shown(name)} is not known here; {hint}", path=self._path)


def refuse_shared_addresses(resources: Iterable[Resource], nodes: Mapping[str, str]) -> None:
    """Refuse two resources with one address: each has a lease of its own, so two nodes could have the address. Raises `BadInput`.

    :param nodes: The address of each node, as far as they are known. Such an address does not move.
    """
    owners: dict[str, str] = {}
    own = {address: node for node, address in nodes.items()}
    for one in resources:
        address = str(one.address.ip)
        if address in own:
            raise BadInput(
                f"{one.tag}: the address {address} is that of the node {own[address]} itself. Give an address that no node has of its own.",
                path="holdfast_resources",
            )
        if owners.setdefault(address, one.tag) != one.tag:
            raise BadInput(
                f"{one.tag}: the address {address} is that of {owners[address]} already. Give each address to one resource.",
                path="holdfast_resources",
            )


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise BadInput(f"{path}: {shown(value)} is not a text of 1 to {_LONGEST_TEXT} printable characters", path=path)
    return value


def _secret(value: object, path: str) -> str:
    """As `_text`, with a refusal that does not repeat it."""
    try:
        return _text(value, path)
    except BadInput:
        raise BadInput(f"{path}: this is not a text of 1 to {_LONGEST_TEXT} printable characters", path=path) from None


def _number(value: object, path: str, least: float, most: float) -> float:
    """Also from text, since a template gives text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not least <= number <= most:
        raise BadInput(f"{path}: {shown(value)} is not a number from {least:g} to {most:g}", path=path)
    return number


def _whole(value: object, path: str, least: int, most: int) -> int:
    number = _number(value, path, least, most)
    if number != int(number):
        raise BadInput(f"{path}: {shown(value)} is not a whole number", path=path)
    return int(number)


def _announce_interval(value: object, path: str) -> float:
    seconds = _number(value, path, 0, 3600)
    if 0 < seconds < 1:
        raise BadInput(f"{path}: {shown(value)} is too often; give at least 1 second, or 0 for no announcements after the first minute", path=path)
    return seconds


def _choice(value: object, path: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise BadInput(f"{path}: {shown(value)} is none of {', '.join(choices)}", path=path)
    return str(value)


def _list(value: object, path: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"{path}: {shown(value)} is not a list", path=path)
    return value


def _probe(value: object, path: str, address: Address) -> Probe:
    fields = _Fields(value, path)
    given = {
        "targets": fields.optional("targets", lambda targets, at: [_text(target, f"{at}/{n}") for n, target in enumerate(_list(targets, at))], []),
        "tries": fields.optional("tries", lambda tries, at: _whole(tries, at, 1, 100), Probe.tries),
        "timeout": fields.optional("timeout", lambda timeout, at: _number(timeout, at, 0.05, 60), Probe.timeout),
        "require": fields.optional("require", lambda require, at: _choice(require, at, ("any", "all")), Probe.require),
    }
    fields.finish()
    return parse_probe(given, address, f"{path}/")


def _ec2(value: object, path: str) -> Ec2Parts:
    fields = _Fields(value, path)
    extra = {name: fields.optional(name, _secret if name == "external_id" else _text, None) for name in _EC2_EXTRA}
    parts = Ec2Parts(
        route_tables=fields.optional("route_tables", _route_tables, None),
        elastic_ip=fields.optional("elastic_ip", lambda ip, at: str(parse_ip(_text(ip, at), at)), None),
        role_arn=fields.optional("role_arn", _text, None),
        extra={name: text for name, text in extra.items() if text is not None},
    )
    fields.finish()
    return parts


def _route_tables(value: object, path: str) -> tuple[str, ...]:
    if value == "all":
        return ("all",)
    tables = tuple(_text(table, f"{path}/{number}") for number, table in enumerate(_list(value, path)))
    if not tables:
        raise BadInput(f"{path}: the list is empty; name route tables, say all, or leave it out", path=path)
    for number, table in enumerate(tables):
        if not table.startswith("rtb-"):
            raise BadInput(f"{path}/{number}: {shown(table)} is not the id of a route table (rtb-...)", path=f"{path}/{number}")
    return tables


def _dependents(value: object, path: str) -> tuple[Dependent, ...]:
    return tuple(_dependent(entry, f"{path}/{number}") for number, entry in enumerate(_list(value, path)))


def _dependent(value: object, path: str) -> Dependent:
    fields = _Fields(value, path)
    dependent = Dependent(
        name=fields.text("name"),
        service=fields.optional("service", _unit, None),
        tasks=fields.optional("tasks", _task_file, None),
        timeout=fields.optional("timeout", lambda timeout, at: _number(timeout, at, 1, 3600), Dependent.timeout),
    )
    fields.finish()
    if (dependent.service is None) == (dependent.tasks is None):
        raise BadInput(f"{path}: {dependent.name} needs either service or tasks", path=path)
    return dependent


def _unit(value: object, path: str) -> str:
    text = _text(value, path)
    if not _UNIT.fullmatch(text):
        raise BadInput(f"{path}: {shown(text)} is not the name of one systemd unit; give one such as nginx.service", path=path)
    return text


def _task_file(value: object, path: str) -> str:
    text = _text(value, path)
    if not text.startswith("/") or ".." in text.split("/") or any(mark in text for mark in ("{{", "{%", "{#")):
        raise BadInput(f"{path}: {shown(text)} is not the absolute path of a task file; give one such as /etc/holdfast/hooks/warm.yml", path=path)
    return text


def _priority(value: object, path: str) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{path}: {shown(value)} is not a mapping of nodes to numbers", path=path)
    return {_text(node, path): _whole(number, f"{path}/{node}", 0, 10**6) for node, number in value.items()}
