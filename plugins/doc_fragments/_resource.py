# SPDX-License-Identifier: GPL-3.0-or-later
"""How a resource is named and where it is defined."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  resource:
    description:
      - The definition of the resource, as an entry of C(holdfast_resources).
      - By default that in C(/etc/holdfast/resources/TAG.json), which the monitor role writes.
        Where there is neither, what the state file C(/var/lib/holdfast/TAG.json) has learned is enough.
    type: dict
  node:
    description: The name of this server in the INFO record. By default the host name.
    type: str
"""
