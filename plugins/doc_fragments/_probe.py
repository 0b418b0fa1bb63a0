# SPDX-License-Identifier: GPL-3.0-or-later
"""How an address is probed."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  targets:
    description:
      - Addresses to ping from the address. All are pinged at the same time.
      - If empty, everything on the link is asked at once, for IPv4 by a broadcast ping, for IPv6 by a ping to all nodes C(ff02::1).
        Many hosts do not answer a broadcast ping, and clouds have no broadcast at all. Name the router of the link there.
    type: list
    elements: str
    default: []
  tries:
    description: How often each target is asked before it counts as silent.
    type: int
    default: 3
  timeout:
    description: For how many seconds an answer is awaited each time.
    type: float
    default: 1
  require:
    description:
      - V(any) is satisfied when one target answers.
      - V(all) wants an answer from each.
    type: str
    choices: [any, all]
    default: any
"""
