# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module recovery_plan on the controller, whatever the connection: it needs nothing of the node."""

from __future__ import annotations

# Ansible loads this file before it forks a worker for a task, which then need not import the module.
from ansible_collections.holdfast.ha.plugins.modules import recovery_plan
from ansible_collections.holdfast.ha.plugins.plugin_utils._in_worker import OnController

__all__ = ["ActionModule", "recovery_plan"]


class ActionModule(OnController):
    """See the module."""
