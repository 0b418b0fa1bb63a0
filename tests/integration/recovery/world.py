# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery can change, as one comparable picture: every route table, interface and Elastic IP, and of each node all that its kernel
and the recovery's own files hold. Taken from the control plane and the kernel, never from what a playbook says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lab.node import Node
from lab.vpc import Lab

#: Where and what, for example ("route", "rtb-1", "10.1.0.10/32") or ("address", "node-a", "eth0", "10.1.0.10/32").
Subject = tuple[str, ...]
World = dict[Subject, str]
ABSENT = "-"
#: What the kernel makes by itself with a link: no recovery's concern.
_OF_THE_LINK = re.compile(r"^(local |anycast |multicast )?(fe80:|ff00:)")
_FILES = 'cd / && for f in var/lib/holdfast/* etc/holdfast/resources/*; do [ ! -f "$f" ] || { echo "$f"; tr -d "\\n" < "$f"; echo; }; done'


def take(lab: Lab) -> World:
    """Everything, as it is now."""
    world = {**_tables(lab), **_interfaces(lab), **_elastic_ips(lab)}
    for node in (*lab.nodes, lab.client):
        world.update(kernel(node))
    return world


def differences(before: Mapping[Subject, str], after: Mapping[Subject, str]) -> dict[Subject, tuple[str, str]]:
    """What is not as it was: subject to (before, after)."""
    return {
        subject: (before.get(subject, ABSENT), after.get(subject, ABSENT))
        for subject in sorted({*before, *after})
        if before.get(subject) != after.get(subject)
    }


def _tables(lab: Lab) -> World:
    world: World = {}
    for page in lab.ec2.get_paginator("describe_route_tables").paginate():
        for table in page["RouteTables"]:
            name = table["RouteTableId"]
            for route in table["Routes"]:
                destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock") or route["DestinationPrefixListId"]
                target = next(value for key, value in sorted(route.items()) if key in ("GatewayId", "NetworkInterfaceId", "NatGatewayId"))
                world["route", name, destination] = f"{target} {route['State']}"
            for association in table["Associations"]:
                world["association", name, association.get("SubnetId", "main")] = association["RouteTableAssociationId"]
    return world


def _interfaces(lab: Lab) -> World:
    world: World = {}
    for one in lab.ec2.describe_network_interfaces()["NetworkInterfaces"]:
        name = one["NetworkInterfaceId"]
        world["source/dest check", name] = "on" if one["SourceDestCheck"] else "off"
        private = sorted(address["PrivateIpAddress"] for address in one["PrivateIpAddresses"])
        world["interface", name] = json.dumps([private, sorted(address["Ipv6Address"] for address in one["Ipv6Addresses"]), one["Status"]])
    return world


def _elastic_ips(lab: Lab) -> World:
    return {
        ("elastic ip", one["PublicIp"]): f"{one.get('NetworkInterfaceId', ABSENT)} {one.get('PrivateIpAddress', ABSENT)}"
        for one in lab.ec2.describe_addresses()["Addresses"]
    }


def kernel(node: Node) -> World:
    """Links, addresses, rules, routes and files of one node."""
    world: World = {}
    for link in json.loads(node.run("ip", "-j", "addr", "show").stdout):
        name = link["ifname"]
        world["link", node.name, name] = " ".join(sorted(flag for flag in link["flags"] if flag in ("UP", "LOWER_UP", "NO-CARRIER")))
        for one in link["addr_info"]:
            if one.get("scope") != "link":
                world["address", node.name, name, f"{one['local']}/{one['prefixlen']}"] = _lifetime(one)
    for family in ("-4", "-6"):
        for rule in _lines(node, family, "rule", "show"):
            world["rule", node.name, family, rule] = "there"
        for route in _lines(node, family, "route", "show", "table", "all"):
            if not _OF_THE_LINK.search(route):
                world["kernel route", node.name, family, route] = "there"
    lines = node.run("sh", "-c", _FILES).stdout.splitlines()
    world.update({("file", node.name, path): content for path, content in zip(lines[::2], lines[1::2])})
    return world


def _lifetime(address: Mapping[str, Any]) -> str:
    return "for ever" if address["valid_life_time"] == 2**32 - 1 else "for a while"


def _lines(node: Node, family: str, *words: str) -> list[str]:
    """As `ip` prints them; what says how the link is doing just now is told by the link."""
    text = node.run("ip", family, *words).stdout.replace(" linkdown", "").replace(" dead", "")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
