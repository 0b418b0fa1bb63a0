# SPDX-License-Identifier: GPL-3.0-or-later
"""What EC2 insists on and moto does not, one area per file. Importing this registers them all."""

from __future__ import annotations

from lab.control.rules import addresses, instances, interfaces, routes, tables

__all__ = ["addresses", "instances", "interfaces", "routes", "tables"]
