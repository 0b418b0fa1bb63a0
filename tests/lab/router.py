# SPDX-License-Identifier: GPL-3.0-or-later
"""The VPC's router: a namespace with one port for every plugged-in network interface, kept as `lab.forwarding.plan` says."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from lab import forwarding
from lab.forwarding import EDGE_TABLE, HOP4, HOP6, INTERNET, INTERNET_ROUTER, INTERNET_ROUTER6, ROUTER6, Forwarding, port_name
from lab.netns import Namespace
from lab.view import InterfaceView, SubnetView, VpcView

#: Where EC2's API answers: outside the VPC, and reached by whichever interface a node still has.
API_ADDRESS = "198.18.0.1"
_SETTINGS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.default.proxy_arp": 1,
    "net.ipv6.conf.default.accept_dad": 0,
}


class Router:
    """Ports and forwarding. `apply` is given every new picture of the VPC; ports are plugged in and pulled by those who own the other end."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._lock = threading.RLock()
        self._subnet_of: dict[str, SubnetView] = {}
        self._mac: dict[str, str] = {}
        self._dead: set[str] = set()
        self._impostors: dict[str, str] = {}
        self._view: VpcView | None = None
        self._applied = Forwarding()
        namespace.sysctl(_SETTINGS)
        namespace.ip(f"addr add {API_ADDRESS}/32 dev lo")
        self._rules([f"rule add iif lo lookup {EDGE_TABLE} pref 100"])

    def connect_internet(self, outside: Namespace, link: str = "eth0") -> None:
        """Lay the cable between the internet gateway and the namespace that stands for the internet."""
        lines = [f"link add {INTERNET} type veth peer name {link} netns {outside.pid}", f"link set {INTERNET} up"]
        lines += [f"addr add {INTERNET_ROUTER}/24 dev {INTERNET}", f"addr add {INTERNET_ROUTER6}/64 dev {INTERNET} nodad"]
        self.namespace.batch(lines)
        self._rules([f"rule add iif {INTERNET} lookup {EDGE_TABLE} pref 101"])
        self.namespace.sysctl({f"net.ipv4.conf.{INTERNET}.proxy_arp": 0})

    def plug(self, interfaces: Iterable[tuple[InterfaceView, SubnetView, Namespace, str]]) -> None:
        """Lay a cable for each interface: (interface, its subnet, the namespace of the other end, the link's name there). That end stays down."""
        with self._lock:
            lines: list[str] = []
            rules: list[str] = []
            for interface, subnet, inside, link in interfaces:
                self._subnet_of[interface.id], self._mac[interface.id] = subnet, interface.mac
                port = port_name(interface.id)
                lines.append(f"link add {port} type veth peer name {link} address {interface.mac} netns {inside.pid}")
                rules.append(f"rule add iif {port} lookup {forwarding.table_number(subnet.id)} pref 102")
                lines += self._bring_up(interface.id)
            self.namespace.batch(lines)
            self._rules(rules)
            self._refresh(anew=True)

    def unplug(self, interface_id: str) -> None:
        """Take the cable away, with both of its ends."""
        with self._lock:
            port, table = port_name(interface_id), forwarding.table_number(self._subnet_of.pop(interface_id).id)
            self._mac.pop(interface_id)
            self._dead.discard(interface_id)
            self._refresh()
            self._rules([f"rule del iif {port} lookup {table} pref 102"])
            self.namespace.ip(f"link del {port}")

    def cut(self, interface_id: str) -> None:
        """Take the carrier away: the other end stays up but dead, and no bouncing there brings it back."""
        with self._lock:
            self._dead.add(interface_id)
            self._refresh()
            self.namespace.ip(f"link set {port_name(interface_id)} down")

    def mend(self, interface_id: str) -> None:
        """Undo `cut`."""
        with self._lock:
            self._dead.discard(interface_id)
            self.namespace.batch(self._bring_up(interface_id))
            self._refresh(anew=True)

    def impersonate(self, interface_id: str, address: str) -> None:
        """Be another host on that interface's link that answers for ``address`` (ARP, neighbour discovery, ping), until `unmask`."""
        with self._lock:
            self._impostors[address] = interface_id
            self._refresh()
            self.namespace.ip(f"addr add {address}/{_full(address)} dev {port_name(interface_id)}" + (" nodad" if ":" in address else ""))

    def unmask(self) -> None:
        """End every `impersonate`."""
        with self._lock:
            for address, interface_id in self._impostors.items():
                self.namespace.ip(f"addr del {address}/{_full(address)} dev {port_name(interface_id)}")
            self._impostors.clear()
            self._refresh()

    @property
    def dead(self) -> frozenset[str]:
        """The interfaces without a carrier."""
        return frozenset(self._dead)

    @property
    def plugged(self) -> frozenset[str]:
        """The interfaces that have a cable."""
        return frozenset(self._subnet_of)

    def apply(self, view: VpcView) -> None:
        """Forward as this picture says, from the next packet on. A picture like the one before costs nothing."""
        with self._lock:
            self._view = view
            self._refresh()

    def _refresh(self, *, anew: bool = False) -> None:
        """``anew``: the kernel has dropped routes with a link that was down, so all are written again."""
        if self._view is None:
            return
        wanted = forwarding.plan(self._view, self._subnet_of.keys() - self._dead, self._impostors)
        if wanted.rules != self._applied.rules:
            self.namespace.run("nft", "-f", "-", input=wanted.rules)
        before = Forwarding(frozenset(route for route in self._applied.routes if route not in wanted.routes)) if anew else self._applied
        self.namespace.batch(wanted.batch_after(before))
        self._applied = wanted

    def _rules(self, lines: list[str]) -> None:
        for family in (4, 6):
            self.namespace.batch(lines, family=family)

    def _bring_up(self, interface_id: str) -> list[str]:
        """A port's own addresses and the far end's MAC; a link that goes down loses its IPv6 addresses and all neighbours."""
        port, mac = port_name(interface_id), self._mac[interface_id]
        return [
            f"link set {port} up",
            f"ntable change name arp_cache dev {port} proxy_delay 0",  # a random delay of up to 0.8 s otherwise
            f"addr replace {forwarding.router_address(self._subnet_of[interface_id].cidr)}/32 dev {port}",
            f"addr replace {ROUTER6}/64 dev {port} nodad",
            f"neigh replace {HOP4} lladdr {mac} dev {port} nud permanent",
            f"neigh replace {HOP6} lladdr {mac} dev {port} nud permanent",
        ]


def _full(address: str) -> int:
    return 128 if ":" in address else 32
