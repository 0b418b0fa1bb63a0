# SPDX-License-Identifier: GPL-3.0-or-later
"""The trigger `webhook`: posts the order as JSON, for example to a rulebook of Event-Driven Ansible."""

from __future__ import annotations

import threading
import time

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import CannotStart, Order, Outcome, WebhookTrigger
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.http import call


class WebhookRunner:
    """Whoever answers with 2xx has taken the order; how it ends nobody tells, so the next checks have to see.

    It does not stop dependents: another node waits for the end of that.
    """

    name = "webhook"
    playbooks: tuple[str, ...] = ("recover", "switchover")

    def __init__(self, settings: WebhookTrigger, cluster: str, node: str) -> None:
        self._settings, self._cluster, self._node = settings, cluster, node

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Post it. Raises `CannotStart` for everything but 2xx."""
        begin = time.monotonic()
        told = {
            "source": "holdfast.ha",
            "cluster": self._cluster,
            "node": self._node,
            "tag": order.tag,
            "playbook": order.playbook,
            "reason": order.reason,
            "faults": list(order.faults),
            "variables": dict(order.variables),
        }
        try:
            reply = call(self._settings.endpoint, "POST", "", told, seconds=self._settings.timeout, cancel=cancel)
        except HoldfastError as error:
            raise CannotStart(error.message) from None
        if not 200 <= reply.status < 300:
            raise CannotStart(f"{self._settings.endpoint.url} answered with HTTP {reply.status}; see the log of what listens there")
        message = f"{self._settings.endpoint.url} has taken the order; how it ends is seen by the checks"
        return Outcome(True, self.name, message, round(time.monotonic() - begin, 3), final=False)
