# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which a module is told which network interface is meant; `_ec2.local.EniSelector` reads them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  network_interface_id:
    description:
      - The id of the network interface that is meant.
      - With neither this nor O(interface), the primary network interface of the host that the module runs on,
        as its instance metadata tells it.
      - Mutually exclusive with O(interface).
    type: str
  interface:
    description:
      - The name of a link of the host that the module runs on, such as V(eth1).
        The network interface is the one with the link's MAC address, as instance metadata tells it.
      - Mutually exclusive with O(network_interface_id).
    type: str
"""
