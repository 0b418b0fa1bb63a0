# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance's metadata says, worked out from the control plane's picture: paths below ``/latest/`` to their text.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html#instancedata-data-categories
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lab.view import InterfaceView, SubnetView, VpcView


def leaves(view: VpcView, instance_id: str, account: str = "123456789012") -> dict[str, str]:
    """Every path with a text of its own. Those of a value that the instance does not have (an IPv6 address, say) are missing, as on EC2."""
    interfaces = sorted((one for one in view.interfaces if one.instance_id == instance_id), key=lambda one: one.device_index or 0)
    if not interfaces:
        return {}
    primary = interfaces[0]
    subnets = {subnet.id: subnet for subnet in view.subnets}
    zone = subnets[primary.subnet_id].availability_zone
    found = {
        "instance-id": instance_id,
        "instance-type": "t3.micro",
        "local-ipv4": primary.private_ips[0],
        "mac": primary.mac,
        "placement/availability-zone": zone,
        "placement/region": view.region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        "public-ipv4": next(iter(_public(view, primary)), ""),
    }
    for interface in interfaces:
        base = f"network/interfaces/macs/{interface.mac}"
        found.update({f"{base}/{name}": text for name, text in _interface(view, subnets[interface.subnet_id], interface, account).items()})
    paths = {f"meta-data/{path}": text for path, text in found.items() if text}
    return {**paths, "dynamic/instance-identity/document": _identity(view, primary, instance_id, zone, account)}


def _public(view: VpcView, interface: InterfaceView) -> dict[str, str]:
    """Elastic IPs of the interface with the private address that each leads to."""
    return {one.public_ip: one.private_ip for one in view.elastic_ips if one.network_interface_id == interface.id and one.private_ip}


def _interface(view: VpcView, subnet: SubnetView, interface: InterfaceView, account: str) -> dict[str, str]:
    public = _public(view, interface)
    return {
        "mac": interface.mac,
        "interface-id": interface.id,
        "device-number": str(interface.device_index or 0),
        "owner-id": account,
        "subnet-id": subnet.id,
        "vpc-id": view.id,
        "subnet-ipv4-cidr-block": subnet.cidr,
        "subnet-ipv6-cidr-blocks": subnet.ipv6_cidr or "",
        "vpc-ipv4-cidr-block": view.cidr,
        "vpc-ipv4-cidr-blocks": view.cidr,
        "vpc-ipv6-cidr-blocks": view.ipv6_cidr or "",
        "local-ipv4s": "\n".join(interface.private_ips),
        "ipv6s": "\n".join(interface.ipv6_addresses),
        "public-ipv4s": "\n".join(public),
        **{f"ipv4-associations/{address}": private for address, private in public.items()},
    }


def _identity(view: VpcView, primary: InterfaceView, instance_id: str, zone: str, account: str) -> str:
    document = {
        "accountId": account,
        "architecture": "x86_64",
        "availabilityZone": zone,
        "imageId": "ami-00000000",
        "instanceId": instance_id,
        "instanceType": "t3.micro",
        "privateIp": primary.private_ips[0],
        "region": view.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def look_up(paths: Mapping[str, str], path: str) -> str | None:
    """A path's text, or the list of a folder's entries, one per line and folders with a slash at the end; None where there is neither."""
    wanted = path.strip("/")
    if wanted in paths:
        return paths[wanted]
    prefix = f"{wanted}/" if wanted else ""
    below = [one[len(prefix) :] for one in paths if one.startswith(prefix)]
    entries = {f"{one.partition('/')[0]}/" if "/" in one else one for one in below}
    return "\n".join(sorted(entries)) if entries else None
