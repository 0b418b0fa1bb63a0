# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Does on a local connection what the module ec2_fence does, without a process of its own."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.plugin_utils._in_worker import InWorker


class ActionModule(InWorker):
    """See the module."""
