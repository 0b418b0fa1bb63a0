# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host's instance metadata (IMDSv2) says of it. Standard library only, so that it answers without boto3.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import http.client
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import LocalEni, parse_network

_ENDPOINT, _ENDPOINT_IPV6 = "http://169.254.169.254/", "http://[fd00:ec2::254]/"
#: Seconds for one connection and for one answer, and seconds for which a token is asked.
_TIMEOUT, _TOKEN_TTL = 1.0, 300
_LARGEST_ANSWER = 65536
#: The code of the error for a value that has to be there and is not.
_ABSENT = "NotFound"
_LINKS = Path("/sys/class/net")
_DEVICE_NUMBER, _MAC, _TOKEN = re.compile("[0-9]{1,4}"), re.compile("[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}"), re.compile("[!-~]{1,4096}")
#: Printable ASCII, in lines.
_VALUE = re.compile("[ -~\n]*")
#: Prefix lengths. A VPC's subnets are from /16 to /28; elsewhere than on EC2 others have been seen. The router needs an address of its own.
_LARGEST_SUBNET, _SMALLEST_SUBNET = 8, 30


@dataclass(frozen=True)
class Instance:
    """This host as an EC2 instance."""

    id: str
    region: str
    availability_zone: str


class Imds:
    """A client of the metadata service. It goes straight to it: a proxy would answer for another machine.

    :param environ: ``AWS_EC2_METADATA_SERVICE_ENDPOINT``, ``AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE``, ``AWS_IMDS_USE_IPV6`` and
        ``AWS_EC2_METADATA_DISABLED`` are honoured as botocore does. The endpoint wins over the mode, and the mode over ``AWS_IMDS_USE_IPV6``.
    :param links: Where the kernel lists this host's links.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, links: Path = _LINKS) -> None:
        environ = os.environ if environ is None else environ
        older = "IPv6" if environ.get("AWS_IMDS_USE_IPV6", "").lower() == "true" else "IPv4"
        self._mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") or older
        well_known = _ENDPOINT_IPV6 if self._mode.lower() == "ipv6" else _ENDPOINT
        self._endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or well_known
        self._disabled = environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
        self._links = links
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def instance(self) -> Instance:
        """Raises `ServiceError` where there is no metadata service."""
        return Instance(self._need("instance-id"), self.region(), self._need("placement/availability-zone"))

    def region(self) -> str:
        """The region of this instance. Raises `ServiceError`."""
        return self._need("placement/region")

    def interfaces(self, wanted: str | None = None) -> tuple[LocalEni, ...]:
        """The network interfaces of this instance, the primary one first. Raises `ServiceError`.

        While an interface is attached or detached, metadata lists its MAC address without its details, for up to minutes. Such an interface is left
        out, unless it is the one in question.

        :param wanted: The MAC address of the interface in question.
        """
        links = links_by_mac(self._links)
        macs = [line.strip("/") for line in self._need("network/interfaces/macs/").split()]
        if not all(_MAC.fullmatch(mac) for mac in macs):
            raise self._error("network/interfaces/macs/ lists something that is no MAC address")
        found = []
        for mac in macs:
            try:
                found.append(self._interface(mac, links.get(mac.lower())))
            except ServiceError as error:
                if error.details["code"] != _ABSENT or mac.lower() == wanted:
                    raise
        return tuple(sorted(found, key=lambda eni: (eni.device_number, eni.id)))

    def _interface(self, mac: str, link: str | None) -> LocalEni:
        base = f"network/interfaces/macs/{mac}/"
        number = self._need(base + "device-number")
        if not _DEVICE_NUMBER.fullmatch(number):
            raise self._error(f"{base}device-number is no number of up to 4 digits")
        subnets = self._list(base + "subnet-ipv4-cidr-block")
        for subnet in subnets:
            self._check_subnet(base, subnet)
        return LocalEni(
            id=self._need(base + "interface-id"),
            mac=mac.lower(),
            interface=link,
            device_number=int(number),
            subnet_id=self._need(base + "subnet-id"),
            vpc_id=self._need(base + "vpc-id"),
            subnet_cidr=next(iter(subnets), None),
            subnet_ipv6_cidrs=self._list(base + "subnet-ipv6-cidr-blocks"),
            vpc_cidrs=self._list(base + "vpc-ipv4-cidr-blocks") + self._list(base + "vpc-ipv6-cidr-blocks"),
            private_ips=self._list(base + "local-ipv4s"),
            ipv6_addresses=self._list(base + "ipv6s"),
            public_ips=self._list(base + "public-ipv4s"),
        )

    def _check_subnet(self, base: str, subnet: str) -> None:
        """Raises `ServiceError` for what cannot be the IPv4 network of a subnet."""
        try:
            network = parse_network(subnet, "")
        except BadInput:
            network = None
        if network is None or network.version != 4 or not _LARGEST_SUBNET <= network.prefixlen <= _SMALLEST_SUBNET:
            raise self._error(f"{base}subnet-ipv4-cidr-block is no IPv4 network of /{_LARGEST_SUBNET} to /{_SMALLEST_SUBNET}")

    def _list(self, path: str) -> tuple[str, ...]:
        """The lines there; a category that does not apply to this instance is missing, and so empty."""
        return tuple((self._get(path) or "").split())

    def _need(self, path: str) -> str:
        text = (self._get(path) or "").strip()
        if not text:
            raise self._error(f"it has nothing at {path}", code=_ABSENT)
        return text

    def _get(self, path: str) -> str | None:
        """What is there, or ``None``. The token is got when first needed and, when it is refused, once more."""
        for fresh in (not self._token, True):
            if fresh:
                status, text = self._request("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_TTL)})
                if status != 200:
                    raise self._error(f"it gives no token (HTTP {status})")
                if not _TOKEN.fullmatch(text.strip()):  # the library would repeat it in an error
                    raise self._error("its token is none")
                self._token = text.strip()
            status, text = self._request("GET", "meta-data/" + path, {"X-aws-ec2-metadata-token": self._token})
            if status != 401:
                break
        if status == 404:
            return None
        if status != 200:
            raise self._error(f"HTTP {status} for {path}", retryable=status >= 500 or status == 429)
        if not _VALUE.fullmatch(text):
            raise self._error(f"{path} is not plain text")
        return text

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """One exchange; once more on a new connection when the service has closed the kept one, or was too slow, as on a busy host."""
        if self._disabled:
            raise self._error("AWS_EC2_METADATA_DISABLED is set")
        if self._mode.lower() not in ("ipv4", "ipv6"):
            raise self._error("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is neither IPv4 nor IPv6")
        for last in (False, True):
            kept = self._connection is not None
            try:
                return self._exchange(method, path, headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                dropped = isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError))
                if not last and (isinstance(error, socket.timeout) or (kept and dropped)):
                    continue
                raise self._error(str(error) or type(error).__name__, retryable=kept) from error
        raise self._error("no answer")

    def _exchange(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        place = urlsplit(self._endpoint)
        if self._connection is None:
            if place.scheme != "http" or not place.hostname:
                raise self._error("AWS_EC2_METADATA_SERVICE_ENDPOINT is not an http:// URL")
            self._connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=_TIMEOUT)  # by itself it splits an IPv6 address
        self._connection.request(method, f"{place.path.rstrip('/')}/latest/{path}", headers=dict(headers))
        with self._connection.getresponse() as reply:
            return reply.status, reply.read(_LARGEST_ANSWER).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the kept connection, if any."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _error(self, cause: str, *, retryable: bool = False, code: str = "") -> ServiceError:
        hint = "run this on the EC2 instance or give network_interface_id and region"
        message = f"Instance metadata at {self._endpoint} does not tell ({cause}); {hint}"
        return ServiceError(message, retryable=retryable, transient=True, service="imds", operation="GetMetadata", code=code)


def links_by_mac(root: Path = _LINKS) -> dict[str, str]:
    """The link behind each MAC address.

    Links that sit on top of others (macvlan, VLAN, bridge, bond) borrow the MAC address of what they sit on; the kernel
    shows those as having a ``lower_…``. Only what is at the bottom is a network interface; of several, the oldest.
    """
    found: dict[str, tuple[int, str]] = {}
    for link in root.iterdir() if root.is_dir() else ():
        try:
            mac, index = (link / "address").read_text().strip().lower(), int((link / "ifindex").read_text())
            stacked = any(entry.name.startswith("lower_") for entry in link.iterdir())
        except (OSError, ValueError):  # gone meanwhile, or not a link (bonding_masters)
            continue
        if not stacked and (mac not in found or index < found[mac][0]):
            found[mac] = (index, link.name)
    return {mac: name for mac, (_index, name) in found.items()}


def mac_of(link: str, root: Path = _LINKS) -> str | None:
    """The MAC address of a link of this host, or ``None`` when there is no such link. ``link`` is a parsed link name."""
    try:
        return (root / link / "address").read_text().strip().lower()
    except OSError:
        return None
