# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a whole: brings everything up, holds it together, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import ssh, status, witness
from lab.booted import SUITE, BootedNode
from lab.control import Call, ControlPlane
from lab.imds import Identity
from lab.layout import CLIENT, NODES, lay_out
from lab.netns import Namespace
from lab.node import Node
from lab.place import Place
from lab.prober import Prober
from lab.progress import Progress, silent
from lab.residence import PREFIX, Residence, ending_on_sigterm
from lab.rights import NODE_RIGHTS
from lab.router import API_ADDRESS, Router
from lab.view import VpcView

ROLE = "holdfast-node"
#: How many API calls an account has.
_LAST_CALLS = 20
_OUTSIDE = ("198.51.100.2/24", "2001:db8:ffff::2/64")


class Lab(witness.Witness):
    """A VPC in a box. Use it as a context manager, from a thread that outlives it; it needs root.

    node-a (10.0.1.0/24) holds the virtual addresses and the Elastic IP; node-b (10.0.2.0/24) is the standby; client-c (10.0.3.0/24) has a
    subnet and route table of its own; ``outside`` is a host on the internet. Several labs may run side by side with different prefixes.

    :param prefix: What the names of its namespaces begin with.
    :param extra_tables: Further route tables that hold the virtual address.
    :param with_ssh: Run sshd on the nodes.
    :param booted: Let the nodes boot a Debian of their own with systemd and sshd (`lab.booted`). Not everywhere: see `lab.booted.why_not`.
    :param suite: Which release of Debian that is.
    :param binds: Folders of this machine that booted nodes see, read only: where they are, and where the nodes see them.
    :param credentials_seconds: For how long the nodes' credentials hold.
    :param tell: Is given a line about each step that takes a while.
    """

    def __init__(
        self,
        prefix: str = PREFIX,
        *,
        extra_tables: int = 0,
        with_ssh: bool = False,
        booted: bool = False,
        suite: str = SUITE,
        binds: Mapping[Path, str] | None = None,
        credentials_seconds: int = 6 * 3600,
        region: str = "eu-central-1",
        tell: Callable[[str], object] = silent,
    ) -> None:
        self._residence = Residence(prefix)
        self._extra_tables, self._with_ssh, self._credentials_seconds = extra_tables, with_ssh, credentials_seconds
        self._booted, self._suite, self._binds = booted, suite, dict(binds or {})
        self._region, self._progress = region, Progress(tell)
        self._stack = ExitStack()
        self.control: ControlPlane
        self.router: Router
        self.outside: Namespace
        self.place: Place
        self.view: VpcView
        self.machines: dict[str, Node] = {}
        self.keys = ssh.Keys(self._residence.folder)

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            stack.enter_context(ending_on_sigterm())
            stack.enter_context(self._residence)
            self._bring_up(stack)
            self._stack = stack.pop_all()
        self.appear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()
        self._stack.close()

    def account(self) -> str:
        """The VPC as EC2 and the kernels show it, and the last calls to EC2."""
        calls = self.control.calls.all()[-_LAST_CALLS:]
        told = [f"{call.time:.2f} {call.source} {call.action} {call.code or 'ok'}" for call in calls]
        return "\n".join([f"--- VPC of {self.prefix}", status.render(status.describe(self)), "--- its last API calls", *told])

    @property
    def prefix(self) -> str:
        """What the names of this lab's namespaces begin with."""
        return self._residence.prefix

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The servers of the cluster."""
        return tuple(self.machines[name] for name in NODES)

    @property
    def node_a(self) -> Node:
        """The node that holds the resource at first."""
        return self.machines[NODES[0]]

    @property
    def node_b(self) -> Node:
        """The standby."""
        return self.machines[NODES[1]]

    @property
    def client(self) -> Node:
        """The client inside the VPC."""
        return self.machines[CLIENT]

    @property
    def ec2(self) -> Any:
        """A boto3 EC2 client with all rights, for the one who breaks things and looks at the result."""
        return self._ec2

    def namespace(self, name: str) -> Namespace:
        """The namespace of a machine, of ``router`` or of ``outside``; KeyError if there is none of that name."""
        return {"router": self.router.namespace, "outside": self.outside, **{one.name: one.namespace for one in self.machines.values()}}[name]

    def prober(self, where: str, address: str | None = None, **options: Any) -> Prober:
        """A prober in that machine (`lab.prober.Prober`'s options), by default of the IPv4 virtual address, from outside of the Elastic IP."""
        default = self.place.elastic_ip if where == "outside" else self.place.vip
        return Prober(self.namespace(where), (address or default).partition("/")[0], **options)

    def ssh(self, node: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Log in to a node from the router and run a command there."""
        address = self.place.machine(node).interfaces[0].address
        return self.router.namespace.run("ssh", *self.keys.client_options(), f"root@{address}", *command, check=check)

    def inventory(self) -> dict[str, Any]:
        """An Ansible inventory of the nodes over SSH, for a controller that runs in the router's or a client's namespace."""
        interpreter = "/usr/bin/python3" if self._booted else sys.executable
        return self.keys.inventory({node.name: node.place.interfaces[0].address for node in self.nodes}, interpreter)

    def _bring_up(self, stack: ExitStack) -> None:
        with self._progress("starting the control plane"):
            self.control = stack.enter_context(ControlPlane(self._region))
            self.control.set_policy(ROLE, NODE_RIGHTS)
            self._ec2 = self.control.client("ec2")
        with self._progress("laying out the VPC"):
            self.place = lay_out(self._ec2, self._region, self._extra_tables)
        with self._progress("starting router, nodes and clients"):
            self.router = Router(self._namespace(stack, "router"))
            self.outside = self._namespace(stack, "outside")
            self._connect_outside()
            self._start_machines(stack)
            self.control.serve([self._api_listener()])
            self.control.subscribe(self._follow)
            self._look()
            self._plug()
        with self._progress("starting the services"):
            self._start_services()
        if self._booted:
            with self._progress("booting the nodes"):
                self._boot()
        self.control.calls.reset()  # what follows is counted, not how the VPC came to be

    def _namespace(self, stack: ExitStack, name: str) -> Namespace:
        made = Namespace(self._residence.name(name), hostname=name)
        stack.callback(made.stop)
        return made

    def _connect_outside(self) -> None:
        self.router.connect_internet(self.outside)
        address, ipv6 = _OUTSIDE
        lines = ["link set eth0 up", f"addr add {address} dev eth0", f"addr add {ipv6} dev eth0 nodad"]
        self.outside.batch([*lines, "route add 0.0.0.0/0 via 198.51.100.1", "route add ::/0 via 2001:db8:ffff::1"])

    def _start_machines(self, stack: ExitStack) -> None:
        nothing = os.devnull  # the settings of whoever runs the lab must not reach a node
        environment = {"AWS_ENDPOINT_URL": f"http://{API_ADDRESS}", "AWS_DEFAULT_REGION": self._region}
        environment.update({"AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing})
        if self._with_ssh or self._booted:
            self.keys.make()
        for machine in self.place.machines:
            inside = self._namespace(stack, machine.name)
            if self._booted and machine.name in NODES:
                made: Node = BootedNode(inside, machine, environment, self._residence.folder, self.keys, self._binds, self._suite)
            else:
                made = Node(inside, machine, environment, self._residence.folder)
            self.machines[machine.name] = made
            stack.callback(self.machines[machine.name].stop)

    def _api_listener(self) -> socket.socket:
        listener = self.router.namespace.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((API_ADDRESS, 80))
        listener.listen(128)
        return listener

    def _plug(self) -> None:
        interfaces = {one.id: one for one in self.view.interfaces}
        subnets = {one.id: one for one in self.view.subnets}
        self.router.plug(
            (interfaces[one.id], subnets[one.subnet_id], node.namespace, one.link) for node in self.machines.values() for one in node.place.interfaces
        )

    def _start_services(self) -> None:
        for node in self.machines.values():
            node.configure()
        for node in self.nodes:
            identity = Identity(node.place.instance_id, ROLE, self.control.account, self._credentials_seconds)
            node.start_metadata(identity, lambda: self.view, self.control.issue)
            node.start_service()
        for address in (self.place.vip, self.place.vip6):
            self.node_a.hold(address, "eth0")
        if self._with_ssh:
            for node in self.nodes:
                node.start_sshd(self.keys)

    @property
    def booted_nodes(self) -> tuple[BootedNode, ...]:
        """The servers of the cluster, where they boot."""
        return tuple(node for node in self.nodes if isinstance(node, BootedNode))

    def _boot(self) -> None:
        for node in self.booted_nodes:
            node.power_on()
        for node in self.booted_nodes:
            node.wait_until_up()

    def _follow(self, call: Call) -> None:
        """After each write and before its reply: the data plane is as the control plane says."""
        self._look()

    def _look(self) -> None:
        self.view = self.control.snapshot(self.place.vpc_id)
        self.router.apply(self.view)
