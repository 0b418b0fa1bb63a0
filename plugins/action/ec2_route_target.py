# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On this host the module of the same name needs no process of its own."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.modules import ec2_route_target
from ansible_collections.holdfast.ha.plugins.plugin_utils._in_worker import InWorker


class ActionModule(InWorker):
    """See the module."""

    BUILD = staticmethod(ec2_route_target.build)
    SPEC = ec2_route_target.SPEC
