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


def snapshot(machine: Namespace) -> str:
    """Everything that the modules could touch: links, addresses, routes, rules and switches; once the kernel is done with its own addresses."""
    until(lambda: " tentative" not in machine.ip("-6 addr show scope link"), 10, "link-local addresses stay tentative", every=0.05)
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
