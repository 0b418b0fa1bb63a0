# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say which route tables are meant, and what of those without an entry; `_modules.ec2_options.ROUTES` is their argument spec."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  route_table_ids:
    description:
      - The route tables to look at.
      - If some of them do not exist, the entries of the others are changed, and then the module fails with a message that names the missing tables.
      - If none of them exists, nothing is changed.
      - Without it, every route table of the VPC except those that are associated with an internet gateway or a virtual private gateway.
      - In the tables named, an entry is replaced whatever it leads to. Without this option, an entry that leads to neither a network interface nor an
        instance stays as it is.
    type: list
    elements: str
  vpc_id:
    description:
      - The VPC whose route tables are meant.
      - Without it, the VPC of the network interface.
    type: str
  missing:
    description:
      - What to do about a route table without an entry for a destination.
      - V(fail) fails before any entry is changed, if one of O(route_table_ids) has none, or,
        where every table of the VPC is looked at, if none of them has one that may be replaced.
      - V(ignore) leaves such tables out, and warns if no table has an entry.
      - V(create) adds the entry in every table looked at.
    type: str
    choices: [fail, ignore, create]
    default: fail
"""
