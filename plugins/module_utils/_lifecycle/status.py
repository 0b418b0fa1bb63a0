# SPDX-License-Identifier: GPL-3.0-or-later
"""What the status of a resource means: its state, what is wrong, what to do, and each of its values in a few words. Pure.

The command, the playbooks and the report show the same. Each value comes from one function here, which is given a resource in the form of the
checker's reply to `status`. Where no checker runs, `unwatched` or the table of several nodes makes that form. In the latter ``looked`` is true:
a playbook has just observed all parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.assess import address_health
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.info import in_service, link_state

Status = Mapping[str, Any]

#: What a person has to look at first comes first.
STATES = ("FAILED", "NOT HELD", "UNKNOWN", "NOT WATCHED", "NOT READY", "HEALTHY", "STANDBY")
#: States in which nothing asks for a person.
WELL = ("HEALTHY", "STANDBY")
_AT_WORK = ("starting", "suspect", "recovering", "backing off")
#: States of a dependent that is as it should be on the active node.
_RUNNING = ("active", "running", "started", "ok")


def state_of(one: Status, watched: bool = True) -> str:
    """The one word for a resource on this node, in capitals: one of `STATES`.

    :param watched: A checker runs on this node.
    """
    health = str(one.get("health") or "unknown").upper()
    if health == "FAILED":
        return health
    if not watched and not one.get("looked"):
        return "NOT WATCHED"
    if is_active(one):
        return health if health in STATES else "UNKNOWN"
    if not watched:
        return "STANDBY"  # a playbook looked, and asked no store who holds it
    if one.get("holder") is None:
        return "UNKNOWN"
    if not one["holder"]:
        return "NOT HELD"
    return "STANDBY" if one.get("ready", True) else "NOT READY"


def is_active(one: Status) -> bool:
    return bool(one.get("held") or one.get("role") == "active")


def is_well(status: Status) -> bool:
    """Whether nothing here asks for a person."""
    return not status.get("store_error") and all(state_of(one, is_watched(status)) in WELL for one in status.get("resources") or ())


def is_watched(status: Status) -> bool:
    return bool(status.get("watched", True))


# --- what is wrong, and what to do -------------------------------------------------------------------------------------


def causes(one: Status, watched: bool = True) -> list[str]:
    """What is wrong with a resource, and why something is not known; each on one line."""
    wrong = list(dict.fromkeys(word(reason) for reason in [*(one.get("reasons") or ()), one.get("error")] if reason))
    ec2 = one.get("ec2") or {}
    if ec2.get("error"):
        since = f" (last looked {ago(ec2['checked_ago'])} ago)" if ec2.get("checked_ago") is not None else ""
        wrong.append(f"EC2 could not be asked: {word(ec2['error'])}{since}")
    if state_of(one, watched) == "NOT READY":
        wrong.append(f"this node could not take it over: {word(one.get('ready_reason') or 'it is not ready')}")
    last = one.get("last_recovery") or {}
    if last and not last.get("ok") and last.get("message"):
        wrong.append(f"the last recovery failed: {word(last['message'])}")
    return wrong


def advice_for(one: Status, watched: bool = True) -> str:
    """One line: what to do. The checker's own where it has given one; empty where there is nothing to do or to wait for."""
    tag, state = one["tag"], state_of(one, watched)
    if one.get("advice"):
        return word(one["advice"])
    if not watched and one.get("looked"):
        return f"run holdfast.ha.local_recovery --limit {word(one.get('node'))}" if state == "FAILED" else ""
    if state == "FAILED" and not watched:
        return "start the checker, and see that it takes this up"
    if one.get("paused"):
        return f"nothing is repaired while it is paused; end that with: holdfast resume {tag}"
    if state == "FAILED":
        if one.get("phase") in _AT_WORK:
            return "nothing for now, the checker is at work on it"
        if one.get("phase") == "held down":
            return f"it failed too often, so it is left alone for a while; find out why it does, then: holdfast recover {tag}"
        return f"holdfast recover {tag}; if that fails, see journalctl -u holdfast-checker"
    if state == "NOT HELD":
        return f"no node has it in service; if none takes it by itself, name one: holdfast switchover {tag} --to NODE"
    if state == "NOT READY":
        return f"put that right; until then {holder_of(one, '')} has one standby less"
    if state == "UNKNOWN" and (one.get("ec2") or {}).get("error"):
        return "nothing is moved while EC2 cannot be asked; see the network to EC2, and the node's credentials and rights"
    if state == "UNKNOWN" and one.get("phase") not in _AT_WORK:
        return "wait for the next check; if it stays so, see journalctl -u holdfast-checker"
    return ""


# --- values ------------------------------------------------------------------------------------------------------------


def doing(one: Status, watched: bool) -> str:
    if not watched:
        return "none"
    phase = "paused" if one.get("paused") else word(one.get("phase") or "watching")
    if one.get("flapping"):
        phase += ", flapping"
    left = one.get("next_attempt_in")
    return phase if left is None or phase == "paused" else f"{phase}, next in {seconds(left)}"


def holder_of(one: Status, node: str) -> str:
    holder = one.get("holder")
    if holder is None:
        return "?"
    if not holder:
        return "nobody"
    return f"{word(holder)} (here)" if word(holder) == node else word(holder)


def interface(one: Status) -> str:
    state = {True: " (up)", False: " (DOWN)", None: ""}[flag(one.get("interface_up"))]
    return known(one.get("interface")) + state


def routes(one: Status) -> str:
    ec2 = one.get("ec2")
    if not ec2 or ec2.get("routes_total") == 0:
        return "-"
    if ec2.get("routes_total") is None:
        return "?"
    return f"{known(ec2.get('routes_right'))}/{known(ec2['routes_total'])}"


def source_dest_check(one: Status) -> str:
    ec2 = one.get("ec2")
    return {True: marked("on", one), False: "off", None: "?"}[flag(ec2.get("source_dest_check"))] if ec2 else "-"


def elastic_ip_right(one: Status) -> bool | None:
    ec2 = one.get("ec2") or {}
    return flag(ec2.get("elastic_ip_right")) if ec2.get("elastic_ip") else None


def elastic_ip(one: Status) -> str:
    ec2 = one.get("ec2") or {}
    if not ec2.get("elastic_ip"):
        return "-"
    where = {True: "here", False: marked("elsewhere", one), None: "?"}[elastic_ip_right(one)]
    return f"{word(ec2['elastic_ip'])} ({where})"


def marked(word: str, one: Status) -> str:
    """On the active node it catches the eye; on a standby it is how it should be."""
    return word.upper() if is_active(one) else word


def dependents(one: Status) -> str:
    count = running(one)
    return count if count in ("-", "?") else f"{count} running"


def running(one: Status) -> str:
    """How many dependents run, of how many whose state can be told: of those that are task files it cannot. ``-`` where there are none."""
    found = one.get("dependents") or ()
    told = [each.get("state") for each in found if each.get("state") not in (None, "unknown")]
    if not found:
        return "-"
    return f"{sum(state in _RUNNING for state in told)}/{len(told)}" if told else "?"


def last_recovery(one: Status) -> str:
    last = one.get("last_recovery")
    if not last:
        return "none"
    what = f"{word(last['what'])}, " if last.get("what") else ""
    return f"{what}{ago(last.get('ago'))} ago, took {seconds(last.get('seconds'))}, {'worked' if last.get('ok') else 'FAILED'}"


# --- without a checker -------------------------------------------------------------------------------------------------


def unwatched(resource: EffectiveResource, net: NetState) -> dict[str, Any]:
    """A resource in the form of the checker's reply, as the files and the kernel of this node show it."""
    serving = in_service(resource, net)
    health, reasons = address_health(resource, net) if serving or resource.in_service is False else (Health.HEALTHY, ())
    return {
        "tag": resource.tag,
        "role": "active" if serving else "standby",
        "in_service": serving,
        "holder": None,
        "epoch": None,
        "health": health.value,
        "reasons": list(reasons),
        "address": str(resource.address),
        "interface": resource.interface,
        "interface_up": link_state(resource.interface, net) == "up",
        "backup_interface": resource.backup_interface,
        "ec2": _unwatched_ec2(resource),
        "dependents": [
            {"name": each.name, "kind": "service" if each.service else "tasks", "state": None}
            for each in (resource.resource.dependents if resource.resource else ())
        ],
        "last_recovery": None,
    }


def _unwatched_ec2(resource: EffectiveResource) -> dict[str, Any] | None:
    """What is defined; how it is, nobody has looked."""
    parts = resource.resource.ec2 if resource.resource else None
    if parts is None:
        return None
    return {
        "checked_ago": None,
        "error": None,
        "routes_right": None,
        "routes_total": None if parts.route_tables is not None else 0,
        "source_dest_check": None,
        "elastic_ip": parts.elastic_ip,
        "elastic_ip_right": None,
    }


# --- words -------------------------------------------------------------------------------------------------------------


def printable(value: Any) -> Any:
    """``value`` with each text in it, keys too, as `one_line` makes it."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {printable(name): printable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value


def one_line(text: str) -> str:
    """Text from elsewhere, fit for a terminal: on one line, with ``?`` for each control character."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def word(value: object) -> str:
    return "?" if value is None else one_line(str(value))


def known(value: object) -> str:
    return "?" if value is None else word(value)


def flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def seconds(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "?"
    if value < 1:
        return f"{max(0.0, value) * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s" if value < 120 else ago(value)


def ago(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return "?"
    for limit, unit, name in ((120, 1, "s"), (120 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if value < limit:
            return f"{max(0.0, value) / unit:.0f} {name}"
    return f"{value / 86400:.0f} d"
