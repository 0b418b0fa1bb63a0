# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides on the controller what the module failover_plan describes: the node has no part in it."""

from __future__ import annotations

# Ansible loads this file before it forks a worker for a task, which then need not import the module.
from ansible_collections.holdfast.ha.plugins.modules import failover_plan
from ansible_collections.holdfast.ha.plugins.plugin_utils._in_worker import OnController

__all__ = ["ActionModule", "failover_plan"]


class ActionModule(OnController):
    """See the module."""
