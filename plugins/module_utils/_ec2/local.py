# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network interface is meant: the one named by its id, the one behind a link of this host, or this host's primary one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import LocalEni, parse_network, shown
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds, mac_of
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import given_link


def parse_id(text: str, prefix: str, path: str) -> str:
    """``text`` if it can be the id of an EC2 resource of that kind (``eni``, ``rtb``, …), else `BadInput` naming ``path``."""
    if not re.fullmatch(prefix + r"-[0-9a-f]{8}(?:[0-9a-f]{9})?", text):
        raise BadInput(f"{path}: {shown(text)} is not an id; it begins with {prefix}- and goes on with 8 or 17 of 0-9 and a-f", path=path)
    return text


@dataclass(frozen=True)
class EniSelector:
    """What the user said of the network interface: its id, a link, or neither (the primary one)."""

    id: str | None = None
    link: str | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> EniSelector:
        """Raises `BadInput`."""
        eni_id, link = params.get("network_interface_id"), params.get("interface")
        return cls(
            None if eni_id is None else parse_id(eni_id, "eni", "network_interface_id"),
            None if link is None else given_link(link),
        )


def choose(enis: tuple[LocalEni, ...], link: str | None, mac: str | None) -> LocalEni:
    """The interface behind ``link``, whose MAC address is ``mac`` (``None``: there is no such link); without a link the primary one. Pure.

    A link that borrows the MAC address of a network interface (a bond, a bridge, a VLAN on top of it) stands for it.
    Raises `NotFound`.
    """
    if link is None:
        if enis:
            return enis[0]
        raise NotFound("Instance metadata lists no network interface; give network_interface_id")
    for eni in enis:
        if mac is not None and eni.mac == mac:
            return eni
    known = ", ".join(eni.interface for eni in enis if eni.interface) or "none"
    what = f"{link} has no network interface of EC2 behind it" if mac else f"this host has no link {link}"
    raise NotFound(f"interface: {what}; links that have one: {known}", interface=link)


def local_eni(imds: Imds, link: str | None, links: Path = Path("/sys/class/net")) -> LocalEni:
    """The interface of this host behind ``link``, or its primary one. Raises `NotFound`, `ServiceError`."""
    mac = mac_of(link, links) if link else None
    return choose(imds.interfaces(mac), link, mac)


def local_info(interface: str | None) -> dict[str, object]:
    """The return values of ec2_local_eni_info. Raises `HoldfastError`."""
    which, imds = EniSelector.from_params({"interface": interface}), Imds()
    instance = imds.instance()
    enis = (local_eni(imds, which.link),) if which.link else imds.interfaces()
    return {
        "instance_id": instance.id,
        "region": instance.region,
        "availability_zone": instance.availability_zone,
        "network_interfaces": [_shown(eni) for eni in enis],
    }


def _shown(eni: LocalEni) -> dict[str, object]:
    return {
        "network_interface_id": eni.id,
        "mac": eni.mac,
        "interface": eni.interface,
        "device_number": eni.device_number,
        "primary": eni.primary,
        "subnet_id": eni.subnet_id,
        "subnet_cidr": eni.subnet_cidr,
        "vpc_id": eni.vpc_id,
        "vpc_cidrs": list(eni.vpc_cidrs),
        "private_ip_addresses": list(eni.private_ips),
        "ipv6_addresses": list(eni.ipv6_addresses),
        "public_ips": list(eni.public_ips),
        "gateway": gateway(eni),
        "gateway_ipv6": None,
    }


def gateway(eni: LocalEni) -> str | None:
    """The VPC's router in the interface's subnet: its first host, the base address plus one.

    Source: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
    """
    if eni.subnet_cidr is None:
        return None
    network = parse_network(eni.subnet_cidr, "subnet-ipv4-cidr-block")
    return str(network.network + 1)
