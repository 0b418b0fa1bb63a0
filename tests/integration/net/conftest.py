# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines on two links: ``node`` is the one that the modules run on, ``peer`` has the other ends of eth0 and eth1."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.module import run_module
from lab.netns import Namespace, join
from lab.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
PREFIX = f"hfnet{os.getpid()}"

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def node() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    with Namespace(f"{PREFIX}-a") as machine:
        yield machine


@pytest.fixture
def peer(node: Namespace) -> Iterator[Namespace]:
    with Namespace(f"{PREFIX}-b") as machine:
        for link in ("eth0", "eth1"):
            join(node, link, machine, link)
        yield machine


@pytest.fixture
def module(node: Namespace, peer: Namespace) -> Module:
    """Run a module on the node: ``module(name, check=False, **options)``."""

    def run(name: str, check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module(name, options, where=node, check=check)

    return run


def _let_the_kernel_finish(machine: Namespace) -> None:
    """A link that has just come up gets an address of its own, which is tried out first; some links get none."""

    def is_done() -> bool:
        links = [link for link in json.loads(machine.ip("-j addr")) if "LOWER_UP" in link["flags"] and "LOOPBACK" not in link["flags"]]
        own = [[a for a in link["addr_info"] if a["family"] == "inet6" and a["scope"] == "link"] for link in links]
        return all(found and not any(a.get("tentative") for a in found) for found in own)

    try:
        until(is_done, 3, "-", every=0.05)
    except TimeoutError:
        pass


def snapshot(machine: Namespace) -> str:
    """Everything that the modules could touch: links, addresses, routes, rules and switches; once the kernel is done with its own addresses."""
    _let_the_kernel_finish(machine)
    shown = [machine.ip(words) for words in ("-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule")]
    links = [
        (link["ifname"], sorted(link["flags"]), [{k: v for k, v in a.items() if "life_time" not in k} for a in link["addr_info"]])
        for link in json.loads(machine.ip("-j addr"))
    ]
    promote = machine.run("sh", "-c", "cat /proc/sys/net/ipv4/conf/*/promote_secondaries").stdout
    state = machine.run("sh", "-c", "ls -la --time-style=full-iso /var/lib/holdfast; cat /var/lib/holdfast/* 2>/dev/null", check=False).stdout
    return "\n".join([*shown, repr(links), promote, state])


def addresses(machine: Namespace, link: str) -> dict[str, dict[str, Any]]:
    """The global addresses on a link, by CIDR."""
    (shown,) = json.loads(machine.ip(f"-j addr show dev {link}"))
    return {f"{a['local']}/{a['prefixlen']}": a for a in shown["addr_info"] if a["scope"] == "global"}
