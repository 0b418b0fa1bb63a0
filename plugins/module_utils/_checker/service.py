# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a checker consists of, put together from its configuration: begun, ended in good order, or left for a process that goes on."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker import single_node
from ansible_collections.holdfast.ha.plugins.module_utils._checker.address import ProtectedAddress
from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import Config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.defects import Containment
from ansible_collections.holdfast.ha.plugins.module_utils._checker.health_checks import Ec2HealthChecker
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_loop import LeaseLoop
from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import forget_others
from ansible_collections.holdfast.ha.plugins.module_utils._checker.netlink import Change, Monitor
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.channel import all_paused, ready_standby
from ansible_collections.holdfast.ha.plugins.module_utils._checker.peers.link import Peers, listen_socket, read_key
from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._checker.relocation import held_in, refuse_relocation
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import EventLog
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics import make_metrics, try_port
from ansible_collections.holdfast.ha.plugins.module_utils._checker.resource_loop import CheckerContext, ResourceLoop
from ansible_collections.holdfast.ha.plugins.module_utils._checker.stores import Stores, check_aws
from ansible_collections.holdfast.ha.plugins.module_utils._checker.version import version
from ansible_collections.holdfast.ha.plugins.module_utils._control.server import Server
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper, identity, new_state
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, lease_key
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._net import rtnetlink
from ansible_collections.holdfast.ha.plugins.module_utils._net.apply import Kernel
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import refuse_shared_addresses
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

#: Seconds: a thread that has not turned for so long is stuck; so long a run that was called off has to end, the lease to be released at an orderly
#: end, and the armed run and what else is shared to be gone after that.
_STUCK, _CALLED_OFF, _RELEASED, _LEFT = 30.0, 5.0, 20.0, 45.0
#: Seconds from one look at the store's space to the next.
_SPACE_LOOKED_AT = 300.0


class Service:
    """Begins nothing before `start`; `check` comes before that.

    :param files: Where the resources are defined, and what was learned of them.
    :param path: The socket.
    """

    def __init__(self, config: Config, files: Store, log: EventLog, path: Path) -> None:
        self._config, self._files, self._log, self._path = config, files, log, path
        self._memory = PersistentState(files.states, log)
        self.watches: dict[str, ResourceLoop] = {}
        self._metrics = make_metrics(config.reporting.metrics, config.cluster, config.node, log)
        self._stores: Stores | None = None
        self._space_warning = ""
        self._leaving = threading.Event()
        self._triggers: Any = None
        self._peers: Peers | None = None
        self._notifier: Any = None
        self._server: Server | None = None
        self._threads: list[threading.Thread] = []
        self._loaded, self._refused = boottime(), {"at": 0.0, "reason": ""}

    def refused(self, reason: str) -> None:
        """Note for the status that a changed configuration cannot be used, and that this one is kept."""
        self._refused = {"at": round(boottime(), 3), "reason": reason}

    def check(self, running: Service | None = None) -> None:
        """Whether all of it can be used; nothing is begun. Raises `HoldfastError`.

        :param running: In whose place it is to go on: that has its own ports already.
        """
        config = self._config
        if running is not None:
            running.refuse_to_be_replaced()
        resources = self._resources()
        refuse_shared_addresses(resources, config.peers.addresses if config.peers is not None else {})
        for resource in resources:
            self._timing(resource)
            if running is not None and resource.ec2 is not None:  # at a start, EC2 is no reason not to hold a lease
                options = {**config.aws, **own_options(resource.ec2)}
                check_aws(options, f"{resource.tag}: ec2")
        if config.store.type != "none":
            self._stores = Stores(config.store, config.timing, self._memory.cluster_pin())
        if config.peers is not None:
            read_key(config.peers.key_file)
        if running is not None:
            refuse_relocation(running._config, config, running.held(), resources)
            self._check_ports(running._config)

    def refuse_to_be_replaced(self) -> None:
        """Raises `Refused` while a lease that is held here lasts only by the word of the peers: the next process does not have their word."""
        lost = [watch.tag for watch in self.watches.values() if watch.is_held_without_store]
        if lost:
            what = f"{', '.join(sorted(lost))} is held while the store of leases does not answer"
            raise Refused(f"a reload is refused: {what}, and a new process could not go on with it. Reload when the store answers.")

    def _check_ports(self, old: Config) -> None:
        """Those that are new."""
        config = self._config
        if config.peers is not None:
            place = config.peers.own(config.node)
            if old.peers is None or place != old.peers.own(old.node):
                listen_socket(*place).close()
        if config.reporting.metrics.listen != old.reporting.metrics.listen:
            try_port(config.reporting.metrics)

    def held(self) -> dict[str, tuple[str, str]]:
        """For each resource that some node holds, as far as this one knows: its address, and the node."""
        told = [watch.status() for watch in self.watches.values()]
        return held_in(told, self._config.node)

    def start(self) -> None:
        """Begin to watch, and to answer. Raises `HoldfastError`."""
        config = self._config
        self._start_reporting()
        run = self._make_triggers()
        if config.peers is not None:
            key = read_key(config.peers.key_file)
            known = self._memory.strangers()
            self._peers = Peers(
                config.peers, key, config.cluster, config.node, config.nodes, config.timing, self._log, self._on_nudge, strangers=known
            )
        context = CheckerContext(
            node=config.node,
            nodes=config.nodes,
            checks=config.checks,
            reflex=config.reflex,
            log=self._log,
            eyes=Ec2HealthChecker(config.aws, boottime, self._metrics.watch_client),
            memory=self._memory,
            metrics=self._metrics,
            run=run,
            can_run=self._triggers.can_run if self._triggers is not None else lambda playbook: True,
            is_armed=lambda: self._triggers is not None and self._triggers.is_armed,
            peers=self._peers.describe if self._peers is not None else None,
            announce=self._peers.announce if self._peers is not None else lambda tag, about: None,
        )
        self._server = Server(self._path, self.watches, self.about, {"cluster": config.cluster, "node": config.node})
        monitor = Monitor(self._on_change)
        self._threads = [threading.Thread(target=self._server.serve_forever, name="socket", daemon=True), monitor]
        if self._peers is not None:
            self._peers.start()
        self._metrics.start(lambda: [watch.status() for watch in tuple(self.watches.values())])
        watches = []
        for resource in self._resources():  # each lease is gone on with as soon as it can be: an address may have a second left
            watches.append(self._make_watch(resource, context))
            watches[-1].holder.start()
        for watch in watches:
            self.watches[watch.tag] = watch
            watch.start()
        for thread in self._threads:
            thread.start()
        if self._triggers is not None and self.watches:
            self._triggers.arm()
        if config.store.type == "etcd":
            threading.Thread(target=self._look_at_space, name="space of the store", daemon=True).start()
        forget_others(self.watches, run_command)  # last: it may wait for systemd, and an address for the renewal of its lease

    def about(self) -> dict[str, Any]:
        """What the status says of the node."""
        config = self._config
        errors = (watch.holder.store_error for watch in self.watches.values())
        return {
            "cluster": config.cluster,
            "node": config.node,
            "version": version(),
            "configuration": {"loaded_at": round(self._loaded, 3), "refused": self._refused},
            "timing": {"profile": config.profile, **dataclasses.asdict(config.timing)},
            "peers": self._describe_peers(),
            "armed": self._triggers.describe()["armed"] if self._triggers is not None else None,
            "store_error": next((error for error in errors if error), None),
            "store_warning": self._space_warning,
        }

    def summary(self) -> str:
        """For systemctl status."""
        active = [tag for tag, watch in self.watches.items() if watch.holder.state.held is not None]
        return f"{len(self.watches)} resources, active here: {', '.join(sorted(active)) or 'none'}"

    def is_turning(self) -> bool:
        """Whether every thread lives and goes on."""
        now = boottime()
        live = all(thread.is_alive() for thread in self._threads)
        return live and all(
            watch.holder.is_alive() and watch.is_turning and now - min(watch.turned_at, watch.holder.turned_at) < _STUCK
            for watch in self.watches.values()
        )

    def is_busy(self) -> bool:
        """Whether something is under way that is better waited for."""
        return any(watch.is_busy for watch in self.watches.values())

    def longest_end(self) -> float:
        """How many seconds `end` may take: resources end side by side, and the dependents of each one after the other."""
        slowest = max((watch.stop_time() for watch in self.watches.values()), default=0.0)
        expired = self._config.timing.hold + self._config.timing.margin  # a lease that is not released, and its node is to restart then
        return _CALLED_OFF + slowest + max(_RELEASED, expired) + _LEFT

    def end(self) -> None:
        """Hand over in good order: each resource in a thread of its own."""
        enders = [threading.Thread(target=self._hand_over, args=(watch,), daemon=True) for watch in self.watches.values()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        self.leave()
        self._path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Prolong all that is held, as far as that works now: for who is about to stand still."""
        jobs = [watch.holder.renew() for watch in self.watches.values()]
        end = boottime() + self._config.timing.call
        for job in jobs:
            job.wait(max(0.0, end - boottime()))

    def leave(self) -> None:
        """End all but the leases and the addresses: they are for the next process to go on with."""
        self._leaving.set()
        for watch in self.watches.values():
            watch.stop()
        if self._triggers is not None:
            self._triggers.close()
        if self._peers is not None:
            self._peers.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._metrics.stop()
        if self._notifier is not None:
            self._notifier.stop()

    # --- the parts -----------------------------------------------------------------------------------------------------

    def _resources(self) -> list[Resource]:
        found = (self._files.definition(tag) for tag in self._files.tags())
        return [resource for resource in found if resource is not None]  # a state alone is what is left of one that was defined once

    def _timing(self, resource: Resource) -> Timing:
        if self._is_alone:
            return single_node.TIMING
        return dataclasses.replace(self._config.timing, stop_budget=resource.stop_budget).validate()

    @property
    def _is_alone(self) -> bool:
        return self._config.store.type == "none"

    def _make_watch(self, resource: Resource, context: CheckerContext) -> ResourceLoop:
        tag, timing = resource.tag, self._timing(resource)
        me, highest = identity(self._config.node), context.memory.highest_epoch(tag)
        store = single_node.InMemoryStore(me, highest) if self._stores is None else self._stores.take()
        keeper = Keeper(store, lease_key(self._config.cluster, tag), new_state(me, timing, highest=highest))
        address = ProtectedAddress(tag, Kernel(run_command, look=rtnetlink.links), self._files)
        holder = LeaseLoop(tag, keeper, address, self._log, alone=self._is_alone)
        holder.released = lambda handoff_to: self._tell_of_release(tag, handoff_to)
        if self._peers is not None:
            self._peers.attach(tag, keeper, holder.wake)
        return ResourceLoop(holder, context)

    def _make_triggers(self) -> Callable[..., Any] | None:
        if not self._config.triggers:
            return None
        from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.dispatcher import Triggers

        self._triggers = Triggers(
            self._config.triggers, self._log, cluster=self._config.cluster, node=self._config.node, definitions=self._files.definitions
        )
        run: Callable[..., Any] = self._triggers.run
        return run

    def _look_at_space(self) -> None:
        """Now and then: a store that is full is noticed only when it is too late."""
        stores, contained = self._stores, Containment("space of the store", self._log)
        while stores is not None and not self._leaving.is_set():
            try:
                told = contained.run(stores.space_warning, lambda cause: "")
            except HoldfastError:  # a file of its TLS went: who renews leases says so
                told = ""
            if bool(told) != bool(self._space_warning):
                self._log("trouble" if told else "well", what="store", **({"reason": told} if told else {}))
            self._space_warning = told
            self._leaving.wait(_SPACE_LOOKED_AT)

    def _start_reporting(self) -> None:
        if self._config.reporting.notify:
            from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.notify import Notifier

            self._notifier = Notifier(self._config.reporting.notify, self._log)
            self._log.add(self._notifier)
            self._notifier.start()

    def _on_change(self, change: Change) -> None:
        for watch in self.watches.values():
            watch.on_change(change)

    def _on_nudge(self, tag: str) -> None:
        watch = self.watches.get(tag)
        if watch is not None:
            watch.holder.nudge()

    def _tell_of_release(self, tag: str, handoff_to: str) -> None:
        if self._peers is None or handoff_to == NOBODY:
            return
        for node in [handoff_to] if handoff_to else [str(one["node"]) for one in self._peers.describe()]:
            self._peers.nudge(node, tag)

    def _hand_over(self, watch: ResourceLoop) -> None:
        """The dependents first, then the address, then the lease.

        While a dependent may still run, the lease is not released but left to expire: then the next node waits, and fences where that is set. A
        resource that is paused on every node is left as it is.
        """
        tag, holder = watch.tag, watch.holder
        held = holder.state.held is not None
        watch.stop()
        if self._is_alone:
            self._log("left", tag=tag, reason="there is no other node: its address stays")
            return
        if watch.paused and held and all_paused(self._describe_peers(), tag):
            self._log(
                "left", tag=tag, reason="it is paused on every node: its address stays until its lease runs out, for a checker that starts before"
            )
            return
        watch.wait_for_run(_CALLED_OFF)
        stopped = watch.stop_dependents(watch.stop_time(), for_good=True)
        to = ready_standby(self._describe_peers(), tag) if held else ""
        try:
            if stopped:
                holder.end(to)
            else:
                last = holder.state.held
                holder.expire()
                watch.dependents.reboot_unless_stopped(last.deadline if last is not None else boottime())
        except HoldfastError as error:
            self._log("not released", tag=tag, reason=error.message)
        else:
            if held and stopped:
                self._log("handed over", tag=tag, to=to)
            elif held:
                self._log("not released", tag=tag, reason="dependents may still run here, so the lease is left to expire. Stop them by hand.")

    def _describe_peers(self) -> list[dict[str, Any]]:
        return self._peers.describe() if self._peers is not None else []
