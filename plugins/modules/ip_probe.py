#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verify an address by pinging from it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_probe
short_description: Verify an address of this host by pinging from it
version_added: 0.1.0
author: The holdfast.ha authors (@holdfast-ha)
description:
  - Pings targets from an address of this host, out of one of its interfaces, and fails when too few of them answer.
  - Tells an address that works from one that is merely configured.
  - A reply counts if it arrives at that address on that interface. If nobody answers, the error names the reason where one is known, such as a
    firewall of this host.
requirements:
  - netaddr (Python library)
  - root, or the capability C(CAP_NET_RAW)
extends_documentation_fragment:
  - holdfast.ha._attributes.info
  - holdfast.ha._probe
options:
  address:
    description:
      - The address to ping from, with or without prefix length.
      - The prefix length is needed for the broadcast address only.
    type: str
    required: true
  interface:
    description: The interface to ping through.
    type: str
    required: true
seealso:
  - module: holdfast.ha.ip_address
"""

EXAMPLES = r"""
- name: The router answers to the service's address
  holdfast.ha.ip_probe:
    address: 10.1.0.10/32
    interface: eth0
    targets: [10.0.1.1]

- name: Anything on the link answers to a broadcast ping
  holdfast.ha.ip_probe:
    address: 172.17.106.10/22
    interface: eth0
"""

RETURN = r"""
answered:
  description: The targets that answered.
  returned: always
  type: list
  elements: str
  sample: [10.0.1.1]
silent:
  description: The targets that did not.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, Address
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import ModuleContext, RequiredLibrary, run_info
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe_links
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import verify
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe_options import PROBE_OPTIONS, parse_probe, targets_of
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import NetState


def read(host: ModuleContext) -> dict[str, Any]:
    """Probe, and return who answered."""
    address = Address.parse_loosely(host.params["address"])
    probe = parse_probe(host.params, address)
    targets_of(address, probe)
    interface = given_link(host.params["interface"])
    NetState(observe_links(host.run)).link(interface)
    answers = verify(address, interface, probe)
    return {"answered": list(answers.answered), "silent": list(answers.silent)}


def main() -> None:
    """Be an Ansible module."""
    spec = {"address": {"type": "str", "required": True}, "interface": {"type": "str", "required": True}, **PROBE_OPTIONS}
    run_info(read, argument_spec=spec, libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)])


if __name__ == "__main__":
    main()
