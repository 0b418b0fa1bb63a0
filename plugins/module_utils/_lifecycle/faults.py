# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a resource on a node. Pure."""

from __future__ import annotations

from enum import Enum


class Fault(str, Enum):
    """One fault. Its value is its name in options, events, orders to a playbook and the status."""

    #: The address is not on its interface, or not as configured.
    ADDRESS = "address"
    #: The interface of the address is down or missing.
    LINK = "link"
    #: Replies of the address leave by another interface.
    SOURCE_ROUTE = "source_route"
    #: Replies of the private address that the Elastic IP is associated with leave by another interface.
    ELASTIC_IP_SOURCE_ROUTE = "elastic_ip_source_route"
    #: Too few targets of the probe answer.
    PROBE = "probe"
    #: A route-table entry does not target the network interface of the address.
    ROUTES = "routes"
    #: The source/destination check of that network interface is on.
    SOURCE_DEST_CHECK = "source_dest_check"
    #: The Elastic IP is not associated with that network interface.
    ELASTIC_IP = "elastic_ip"
    #: A dependent that should run does not.
    DEPENDENTS = "dependents"
    #: The lease is held here, and the resource is not in service yet.
    TAKEOVER = "takeover"
    #: The address is here, and another node holds the lease.
    STRAY = "stray"

    def __str__(self) -> str:
        return self.value

    def __format__(self, spec: str) -> str:  # without it Python 3.9 to 3.11 and 3.12 differ
        return format(self.value, spec)

    @property
    def in_kernel(self) -> bool:
        """Whether the checker can repair it in its own process."""
        return self in _IN_KERNEL

    @property
    def on_ec2(self) -> bool:
        """Whether it is repaired by calls to EC2 alone."""
        return self in _ON_EC2


_IN_KERNEL = frozenset({Fault.ADDRESS, Fault.LINK, Fault.SOURCE_ROUTE, Fault.ELASTIC_IP_SOURCE_ROUTE})
_ON_EC2 = frozenset({Fault.ROUTES, Fault.SOURCE_DEST_CHECK, Fault.ELASTIC_IP})
