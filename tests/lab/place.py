# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything in the lab is: the names and ids that the control plane gave, fixed for the lab's life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    """A network interface; ``link`` is its name on the machine, ``cidr`` its subnet's IPv4 block."""

    id: str
    link: str
    mac: str
    address: str
    ipv6_address: str
    subnet_id: str
    cidr: str


@dataclass(frozen=True)
class Machine:
    """An instance with its interfaces, the primary one first."""

    name: str
    instance_id: str
    interfaces: tuple[Interface, ...]

    def interface(self, link: str) -> Interface:
        """The interface of that link name; KeyError if there is none."""
        for one in self.interfaces:
            if one.link == link:
                return one
        raise KeyError(link)


@dataclass(frozen=True)
class Place:
    """The VPC as the lab laid it out. ``route_tables``: of the three subnets by machine name, then ``extra-1`` and so on."""

    region: str
    vpc_id: str
    internet_gateway_id: str
    vip: str
    vip6: str
    elastic_ip: str
    allocation_id: str
    machines: tuple[Machine, ...]
    route_tables: tuple[tuple[str, str], ...]

    def machine(self, name: str) -> Machine:
        """The machine of that name; KeyError if there is none."""
        for one in self.machines:
            if one.name == name:
                return one
        raise KeyError(name)

    def table(self, name: str) -> str:
        """The id of the route table of that name; KeyError if there is none."""
        return dict(self.route_tables)[name]
