# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the checker how a run that it has started goes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: checker
type: notification
short_description: Tell the checker of this node how a run that it has started goes
version_added: 0.1.0
author:
  - The holdfast.ha authors (@holdfast-ha)
description:
  - The checker starts playbooks with this plugin switched on, and with a socket that it inherits; in every other run it does nothing.
  - It reports the name of each task that changes something, the message of each task that fails, and the end of the playbook,
    so that the checker goes on without waiting for the process to end.
  - In a run that is started in advance it also makes the clients of the EC2 API before there is anything to do,
    and loads what the modules need, so that the tasks need not.
requirements:
  - to be enabled, which the checker does
"""

import importlib
import json
import os
import socket
from typing import Any

from ansible.plugins.callback import CallbackBase

#: The variable in which the checker gives the number of the socket.
_REPORT = "HOLDFAST_RUN_REPORT"
_LONGEST = 2000
#: The modules that a recovery runs in Ansible's worker: what they import is imported before there is anything to do.
_AHEAD = (
    "ec2_eip_association",
    "ec2_local_eni_info",
    "ec2_resource",
    "ec2_route_target",
    "ec2_source_dest_check",
    "ip_probe",
    "ip_resource",
    "ip_resource_info",
    "ip_source_route",
    "lease",
    "lease_address",
    "recovery_plan",
)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Lives in the main process of ansible-playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "holdfast.ha.checker"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._line: socket.socket | None = None
        number = os.environ.pop(_REPORT, "")  # not for the programs that tasks start
        if number.isdigit():
            try:
                self._line = socket.socket(fileno=os.dup(int(number)))
            except OSError:
                pass  # not started by a checker
        if self._line is None:
            self.disabled = True

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Make in advance what every fork of this process then has."""
        variables = play.get_variable_manager().get_vars(play=play)
        if "holdfast_armed_socket" not in variables:
            return
        from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client_cache import make_clients

        for name in _AHEAD:
            importlib.import_module(f"ansible_collections.holdfast.ha.plugins.modules.{name}")
        make_clients(variables.get("holdfast_aws"), variables.get("holdfast_resources"))

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task that changed something."""
        told = getattr(result, "result", None) or result._result
        if told.get("changed"):
            self._tell({"changed": told.get("did") or result.task_name})

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task that failed, also one that the play recovers from."""
        if not ignore_errors:
            self._tell({"failed": _message(result)})

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host that cannot be reached."""
        self._tell({"failed": _message(result)})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end. A run that had no host did nothing, which is no success."""
        hosts = list(stats.processed)
        self._tell({"end": {"ok": bool(hosts) and not any(stats.failures.get(host) or stats.dark.get(host) for host in hosts)}})

    def _tell(self, what: dict[str, Any]) -> None:
        if self._line is None:
            return
        try:
            self._line.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            self._line = None  # the checker is gone


def _message(result: Any) -> str:
    """What the task says, which Ansible has cleared of what is not to be logged."""
    told = getattr(result, "result", None) or result._result
    if told.get("_ansible_no_log") or "censored" in told:
        return f"{result.task_name}: failed; what it says is not to be logged"
    messages = [one.get("msg") for one in told.get("results", ()) if isinstance(one, dict) and one.get("failed")] or [told.get("msg")]
    return " ".join(f"{result.task_name}: {'; '.join(str(one) for one in messages if one) or 'failed'}".split())[:_LONGEST]
