# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VPC's router has to do, worked out from the control plane's picture alone: routes per subnet, packet filter, address translation."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Union

from lab.view import InterfaceView, SubnetView, VpcView

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: Every interface is reached through these on its own port. Their MAC address is set by hand, so that packets go to the interface that a
#: route names whether or not an address on it answers: a VPC maps, it does not ask by ARP.
HOP4, HOP6 = "169.254.1.1", "fe80::2"
ROUTER6 = "fe80::1"
#: The router's link to the internet, and its table of interface addresses.
INTERNET, EDGE_TABLE = "inet", 100
INTERNET_ROUTER, INTERNET_ROUTER6 = "198.51.100.1", "2001:db8:ffff::1"
BLACKHOLE = "blackhole"


@dataclass(frozen=True)
class PortRoute:
    """One route of the router; ``hop`` is `BLACKHOLE` or the words that follow the destination."""

    family: int
    table: int
    destination: str
    hop: str

    @property
    def key(self) -> tuple[int, int, str]:
        """What the kernel tells routes apart by."""
        return (self.family, self.table, self.destination)

    def words(self, verb: str) -> str:
        """A line for ``ip -batch``."""
        if verb == "del" or self.hop == BLACKHOLE:
            kind = f"{BLACKHOLE} " if self.hop == BLACKHOLE else ""
            return f"route {verb} {kind}{self.destination} table {self.table}"
        return f"route {verb} {self.destination} {self.hop} table {self.table}"


@dataclass(frozen=True)
class Forwarding:
    """All that the router does, as values: its routes and the text of its nftables rules."""

    routes: frozenset[PortRoute] = frozenset()
    rules: str = ""

    def batch_after(self, before: Forwarding) -> tuple[str, ...]:
        """The ``ip -batch`` lines from another state to this one; what is replaced is never missing in between."""
        kept = {route.key for route in self.routes}
        gone = sorted((route for route in before.routes if route.key not in kept), key=lambda route: route.key)
        new = sorted(self.routes - before.routes, key=lambda route: route.key)
        return (*(route.words("replace") for route in new), *(route.words("del") for route in gone))


def port_name(interface_id: str) -> str:
    """The router's end of an interface's cable, within the 15 characters of a link's name."""
    return f"p{interface_id[-12:]}"


def table_number(subnet_id: str) -> int:
    """The routing table of a subnet; far from the kernel's own numbers."""
    return 1000 + zlib.crc32(subnet_id.encode()) % 1_000_000_000


def router_address(cidr: str) -> str:
    """A subnet's router: the first address after the network's own."""
    return str(ipaddress.ip_network(cidr)[1])


def plan(view: VpcView, live: Collection[str], impostors: Collection[str] = ()) -> Forwarding:
    """What the router should do for this VPC.

    :param live: The interfaces whose cable is plugged in and up at the router; packets for any other are dropped, as are those for a
        stopped instance's.
    :param impostors: Addresses that the router itself pretends to hold, to make a duplicate on the link.
    """
    running = {instance.id for instance in view.instances if instance.state == "running"}
    reachable = [one for one in view.interfaces if one.id in live and one.instance_id in running]
    routes: set[PortRoute] = set()
    for interface in reachable:
        routes.update(_route(EDGE_TABLE, _network(address), _hop(interface.id, address)) for address in _addresses(interface))
    for subnet in view.subnets:
        routes.update(_subnet_routes(subnet, reachable))
    return Forwarding(frozenset(routes), _rules(view, reachable, sorted(impostors)))


def _addresses(interface: InterfaceView) -> tuple[str, ...]:
    return (*interface.private_ips, *interface.ipv6_addresses)


def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _route(table: int, destination: Network, hop: str) -> PortRoute:
    return PortRoute(destination.version, table, str(destination), hop)


def _hop(interface_id: str, destination: str) -> str:
    gateway = HOP6 if ":" in destination else HOP4
    return f"via {gateway} dev {port_name(interface_id)} onlink"


def _subnet_routes(subnet: SubnetView, reachable: list[InterfaceView]) -> Iterable[PortRoute]:
    """The subnet's route table: its entries, and under every ``local`` one the interfaces' addresses that no longer prefix takes away."""
    table = table_number(subnet.id)
    entries = {_network(route.destination): route for route in subnet.routes if not route.destination.startswith("pl-")}
    ids = {one.id for one in reachable}
    yield from (_route(table, _network(any_), BLACKHOLE) for any_ in ("0.0.0.0/0", "::/0") if _network(any_) not in entries)
    for network, entry in entries.items():
        hop = BLACKHOLE
        if entry.state == "active" and entry.target.startswith("igw-"):
            hop = f"dev {INTERNET}"
        elif entry.state == "active" and entry.target in ids:
            hop = _hop(entry.target, str(network))
        yield _route(table, network, hop)
    for interface in reachable:
        for address in _addresses(interface):
            covering = [network for network in entries if _contains(network, address)]
            longest = max(covering, key=lambda network: network.prefixlen, default=None)
            if longest is not None and entries[longest].target == "local":
                yield _route(table, _network(address), _hop(interface.id, address))


def _contains(network: Network, address: str) -> bool:
    return ipaddress.ip_address(address) in network


_RULES = """\
add table inet vpc
delete table inet vpc
table inet vpc {{
  set checked {{ type ifname; {checked} }}
  set own4 {{ type ifname . ipv4_addr; {own4} }}
  set own6 {{ type ifname . ipv6_addr; {own6} }}
  map inbound {{ type ipv4_addr : ipv4_addr; {inbound} }}
  map outbound {{ type ipv4_addr : ipv4_addr; {outbound} }}
  chain ingress {{
    type filter hook prerouting priority raw;
    iifname @checked meta nfproto ipv4 iifname . ip saddr != @own4 counter drop
    iifname @checked ip6 saddr != {{ ::, fe80::/10 }} iifname . ip6 saddr != @own6 counter drop
    iifname "{internet}" ip daddr {router} accept
    iifname "{internet}" ip daddr set ip daddr map @inbound accept
    iifname "{internet}" meta nfproto ipv4 drop
  }}
  chain delivery {{
    type filter hook forward priority filter;
    oifname @checked meta nfproto ipv4 oifname . ip daddr != @own4 counter drop
    oifname @checked meta nfproto ipv6 oifname . ip6 daddr != @own6 counter drop
  }}
  chain own {{
    type filter hook output priority filter;
    icmpv6 type nd-redirect drop
  }}
  chain departure {{
    type filter hook postrouting priority srcnat;
    oifname != "{internet}" accept
    meta nfproto ipv6 accept
    ip saddr {router} accept
    ip saddr set ip saddr map @outbound accept
    drop
  }}
}}
add table arp vpc
delete table arp vpc
table arp vpc {{
  chain input {{
    type filter hook input priority filter;
{arp}  }}
}}
"""


def _rules(view: VpcView, reachable: list[InterfaceView], impostors: list[str]) -> str:
    """Source/dest check, Elastic IPs (both without connection tracking, so that a change holds for the next packet), and ARP kept to the subnet."""
    checked = [one for one in reachable if one.source_dest_check]
    holders = {address: one.id for one in reachable for address in one.private_ips}
    elastic = [
        (one.public_ip, one.private_ip) for one in view.elastic_ips if one.private_ip and holders.get(one.private_ip) == one.network_interface_id
    ]
    cidrs = {subnet.id: subnet.cidr for subnet in view.subnets}
    answered = [address for address in impostors if ":" not in address]
    arp = "".join(
        f'    iifname "{port_name(one.id)}" arp daddr ip != {{ {", ".join([cidrs[one.subnet_id], *answered])} }} drop\n'
        for one in reachable
        if one.subnet_id in cidrs
    )
    return _RULES.format(
        checked=_elements(f'"{port_name(one.id)}"' for one in checked),
        own4=_elements(f'"{port_name(one.id)}" . {address}' for one in checked for address in one.private_ips),
        own6=_elements(f'"{port_name(one.id)}" . {address}' for one in checked for address in one.ipv6_addresses),
        inbound=_elements(f"{public} : {private}" for public, private in elastic),
        outbound=_elements(f"{private} : {public}" for public, private in elastic),
        internet=INTERNET,
        router=INTERNET_ROUTER,
        arp=arp,
    )


def _elements(items: Iterable[str]) -> str:
    text = ", ".join(sorted(items))
    return f"elements = {{ {text} }}" if text else ""
