# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain network in a box, without a VPC: nodes and a client on one switch, as in a machine room; leases in an emulated DynamoDB."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from lab import forwarding
from lab.control import ControlPlane
from lab.netns import Namespace
from lab.node import Node
from lab.oracle import Oracle, lease_writes
from lab.place import Interface, Machine
from lab.prober import Prober
from lab.residence import Residence, ending_on_sigterm
from lab.ssh import Keys

CIDR, VIP = "10.9.0.0/24", "10.9.0.100/24"
_SWITCH, _BRIDGE = "router", "lan"
_MACHINES = {"node-a": 11, "node-b": 12, "client-c": 21}


class Lan:
    """Use it as a context manager, from a thread that outlives it; it needs root. The service runs on both nodes, the address on none.

    :param links: How many interfaces a node has.
    :param with_ssh: Run sshd on the nodes.
    """

    def __init__(self, prefix: str, *, links: int = 1, with_ssh: bool = False) -> None:
        self._residence, self._links, self._with_ssh = Residence(prefix), links, with_ssh
        self.keys = Keys(self._residence.folder)
        self._stack = ExitStack()
        self.control: ControlPlane
        self.switch: Namespace
        self.machines: dict[str, Node] = {}

    @property
    def node_a(self) -> Node:
        return self.machines["node-a"]

    @property
    def node_b(self) -> Node:
        return self.machines["node-b"]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The servers of the cluster."""
        return (self.node_a, self.node_b)

    def prober(self, **options: Any) -> Prober:
        """A client that asks the virtual address (`lab.prober.Prober`'s options)."""
        return Prober(self.machines["client-c"].namespace, VIP.partition("/")[0], **options)

    def inventory(self) -> dict[str, Any]:
        """An Ansible inventory of the nodes over SSH, for a controller that runs in the switch's namespace."""
        return self.keys.inventory({node.name: node.place.interfaces[0].address for node in self.nodes})

    def oracle(self, key: str) -> Oracle:
        """Watches the nodes' kernels, and the lease of that key from what was written last."""
        writes = lease_writes(self.control.calls, key, 0)
        looking = Oracle({node.name: node.namespace for node in self.nodes}, VIP)
        return looking.follow(self.control.calls, key, writes[-1][1], writes[-1][2]) if writes else looking

    def cut(self, name: str) -> None:
        """Take the carrier from every link of a machine."""
        self.switch.batch(f"link set {_port(name, number)} down" for number in range(self._links))

    def mend(self, name: str) -> None:
        """Undo `cut`."""
        self.switch.batch(f"link set {_port(name, number)} up" for number in range(self._links))

    def __enter__(self) -> Lan:
        with ExitStack() as stack:
            stack.enter_context(ending_on_sigterm())
            stack.enter_context(self._residence)
            self._bring_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _bring_up(self, stack: ExitStack) -> None:
        self.control = stack.enter_context(ControlPlane())
        self.switch = Namespace(self._residence.name(_SWITCH), hostname="switch")
        stack.callback(self.switch.stop)
        address = forwarding.router_address(CIDR)
        self.switch.batch([f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up", f"addr add {address}/24 dev {_BRIDGE}"])
        listener = self.switch.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 80))
        listener.listen(128)
        self.control.serve([listener])
        keys = self.control.admin_credentials
        environment = {"AWS_ENDPOINT_URL": f"http://{address}", "AWS_DEFAULT_REGION": self.control.region, "AWS_EC2_METADATA_DISABLED": "true"}
        environment.update({"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key})
        for name in _MACHINES:
            node = self.machines[name] = self._machine(stack, name, environment)
            node.configure()
        for node in self.nodes:
            node.start_service()
            if self._with_ssh:
                node.start_sshd(self.keys.make())

    def _machine(self, stack: ExitStack, name: str, environment: Mapping[str, str]) -> Node:
        inside = Namespace(self._residence.name(name), hostname=name)
        stack.callback(inside.stop)
        interfaces = tuple(_interface(name, number) for number in range(self._links))
        for number, interface in enumerate(interfaces):
            port = _port(name, number)
            self.switch.ip(f"link add {port} type veth peer name {interface.link} address {interface.mac} netns {inside.pid}")
            self.switch.batch([f"link set {port} master {_BRIDGE}", f"link set {port} up"])
        node = Node(inside, Machine(name, name, interfaces), environment, self._residence.folder)
        stack.callback(node.stop)
        return node


def _port(name: str, number: int) -> str:
    return f"{name}-{number}"


def _interface(name: str, number: int) -> Interface:
    last = _MACHINES[name] + 100 * number
    mac = f"02:00:0a:09:00:{last:02x}"
    return Interface(f"{name}-eth{number}", f"eth{number}", mac, f"10.9.0.{last}", f"fd00:9::{last:x}", "lan", CIDR)
