# SPDX-License-Identifier: GPL-3.0-or-later
"""The frozen values that observing, planning and applying hand to one another.

Pure: only the standard library and netaddr (the layer rule, DESIGN.md section 2). Terms are those of iproute2 and EC2.
"""

from __future__ import annotations

import ipaddress
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput

try:
    import netaddr
except ImportError:  # reported by _run with missing_required_lib
    NETADDR_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    NETADDR_IMPORT_ERROR = None

#: Longer text is no address: refused before it is parsed or repeated in a message.
_LONGEST_CIDR = 64
#: ALTIFNAMSIZ - 1, for an alternative name, and the characters that the kernel's dev_valid_name and sane administrators allow.
_LINK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,126}")
#: Of the label of an IPv4 address: IFNAMSIZ - 1.
LONGEST_LABEL = 15
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,13}")
#: The shortest prefix length of an address by IP version: the kernel adds a route to the whole network on the address's link.
_WIDEST = {4: 8, 6: 32}
#: Metadata, DNS and time on every instance.
_OF_EC2 = "fd00:ec2::/32"
_TAG = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_HOST = re.compile(r"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?")
_LONGEST_HOST, _LONGEST_URL = 253, 4096


def shown(text: object, longest: int = 60) -> str:
    """``text`` quoted for a message: printable, on one line, at most ``longest`` characters."""
    line = repr(str(text)[: longest + 1])
    return line if len(line) <= longest + 3 else line[:longest] + "…'"


def is_url(value: object) -> bool:
    """Whether this is http(s)://HOST[:PORT][/PATH] in ASCII, where HOST is an IP address or can be a name in DNS.

    A user, password, query or fragment is refused, since URLs are shown in messages and logs.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_URL or not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        return False
    if url.scheme not in ("http", "https") or port == 0 or url.query or url.fragment or "@" in url.netloc:
        return False
    return _is_host(url.hostname or "")


def _is_host(host: str) -> bool:
    """Whether a connection can be opened to a host of that name, as far as its form goes."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ":" not in host and len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None
    return True


def is_loopback(url: str) -> bool:
    """Whether a URL that `is_url` accepts stays on this host."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_link_name(text: str, path: str = "interface") -> str:
    """``text`` if it can be the name of a link, else `BadInput` naming ``path``."""
    name, colon, label = text.partition(":")
    if colon and _LINK_NAME.fullmatch(name):
        raise BadInput(f"{path}: {shown(text)} is the label of an address, not an interface; give {name}, and set label to {shown(label)}", path=path)
    if not _LINK_NAME.fullmatch(text):
        raise BadInput(f"{path}: {shown(text)} is not an interface name; give one that `ip link` shows, such as eth0", path=path)
    return text


def parse_label(text: str, address: Address, interfaces: Iterable[str], path: str = "label") -> str:
    """What follows the name of each of the interfaces in the label of the address, such as ``:vip``. Raises `BadInput` naming ``path``."""
    if not _LABEL.fullmatch(text):
        raise BadInput(f"{path}: {shown(text)} is not a label; give what follows the colon, such as vip for the label eth0:vip", path=path)
    if address.version != 4:
        raise BadInput(f"{path}: {address.host} cannot have a label, as only IPv4 addresses have one; leave it out", path=path)
    for interface in interfaces:
        label = f"{interface}:{text}"
        if len(interface) <= LONGEST_LABEL < len(label):  # a longer name is an alternative one, and labels begin with the kernel's
            raise BadInput(f"{path}: the label {label} is longer than {LONGEST_LABEL} characters; give a shorter one", path=path)
    return f":{text}"


def is_tag(text: str) -> bool:
    """Whether ``text`` can be the tag of a resource. Source: DESIGN.md section 4."""
    return _TAG.fullmatch(text) is not None


def parse_tag(text: str, path: str = "tag") -> str:
    """``text`` if it can be the tag of a resource, else `BadInput` naming ``path``."""
    if not is_tag(text):
        raise BadInput(f"{path}: {shown(text)} is not a tag; use at most 40 of a-z, 0-9, - and ., beginning with a letter or digit", path=path)
    return text


def parse_ip(text: str, path: str) -> netaddr.IPAddress:
    """One IPv4 or IPv6 address without prefix length, in full notation, else `BadInput` naming ``path``."""
    if len(text) <= _LONGEST_CIDR:
        try:
            return netaddr.IPAddress(text, flags=netaddr.INET_PTON)
        except (netaddr.AddrFormatError, ValueError):
            pass
    raise BadInput(f"{path}: {shown(text)} is not an IP address; give one such as 10.0.1.1 or fd00::1", path=path)


def parse_network(text: str, path: str) -> netaddr.IPNetwork:
    """A network in CIDR notation with no host bits set, else `BadInput` naming ``path``."""
    network = _parse_cidr(text, path)
    if network.ip != network.network:
        raise BadInput(
            f"{path}: {shown(text)} has host bits set; did you mean {network.cidr} or {network.ip}/{_width(network)}?",
            path=path,
        )
    return network.cidr


def _width(network: netaddr.IPNetwork) -> int:
    return 32 if network.version == 4 else 128


def _parse_cidr(text: str, path: str) -> netaddr.IPNetwork:
    host, slash, prefix = text.partition("/") if len(text) <= _LONGEST_CIDR else ("", "", "")
    if slash and prefix.isascii() and prefix.isdigit():
        try:
            ip = netaddr.IPAddress(host, flags=netaddr.INET_PTON)
            return netaddr.IPNetwork((ip.value, int(prefix)), version=ip.version)
        except (netaddr.AddrFormatError, ValueError):
            pass
    hint = "it needs a prefix length, such as 10.1.0.10/32" if not slash else "give it in CIDR notation, such as 10.1.0.10/32 or fd00::10/128"
    raise BadInput(f"{path}: {shown(text)} is not an address in CIDR notation; {hint}", path=path)


@dataclass(frozen=True, order=True)
class Address:
    """An address of a host with its prefix length, as `ip address` writes it."""

    ip: netaddr.IPAddress
    prefixlen: int

    @classmethod
    def parse(cls, text: str, path: str = "address") -> Address:
        """From CIDR notation. Raises `BadInput` for an address that clients cannot reach, and for a network that is larger than any link."""
        network = _parse_cidr(text, path)
        ip, widest = network.ip, _WIDEST[network.version]
        if ip.is_link_local():
            raise BadInput(f"{path}: {shown(text)} is a link-local address, which no router forwards; give another address", path=path)
        if ip.version == 6 and ip in netaddr.IPNetwork(_OF_EC2):
            raise BadInput(f"{path}: {shown(text)} is in {_OF_EC2}, which Amazon EC2 reserves for its own services; give another address", path=path)
        if ip.version == 6 and (ip.is_ipv4_mapped() or ip.is_ipv4_compat()) and ip.value > 1:
            raise BadInput(f"{path}: {shown(text)} is an IPv4 address in IPv6 notation; give it as {ip.ipv4()}/32", path=path)
        if ip.is_multicast() or ip.is_loopback() or ip.value == 0 or (ip.version == 4 and (ip.words[0] >= 224 or ip.words[0] == 0)):
            raise BadInput(f"{path}: {shown(text)} cannot be the address of a service; give a unicast address", path=path)
        if network.prefixlen < widest:
            width = _width(network)
            raise BadInput(f"{path}: {shown(text)} spans a larger network than any link; give a prefix length from /{widest} to /{width}", path=path)
        if ip.version == 4 and network.prefixlen < 31 and ip in (network.network, network.broadcast):
            raise BadInput(f"{path}: {shown(text)} is the network or broadcast address of {network.cidr}; give the address of a host", path=path)
        return cls(ip, network.prefixlen)

    @classmethod
    def parse_loosely(cls, text: str, path: str = "address") -> Address:
        """As `parse`, and without prefix length as well: a network of one host. Raises `BadInput`."""
        if "/" in text:
            return cls.parse(text, path)
        ip = parse_ip(text, path)
        return cls.parse(f"{ip}/{32 if ip.version == 4 else 128}", path)

    @property
    def version(self) -> int:
        """4 or 6."""
        return int(self.ip.version)

    @property
    def host(self) -> str:
        """The address alone, in canonical form."""
        return str(self.ip)

    @property
    def network(self) -> netaddr.IPNetwork:
        """The network that the prefix length spans."""
        return netaddr.IPNetwork((self.ip.value, self.prefixlen), version=self.version).cidr

    @property
    def host_network(self) -> netaddr.IPNetwork:
        """The address as a network of one host (/32 or /128)."""
        return netaddr.IPNetwork(self.ip)

    @property
    def netmask(self) -> str:
        """Dotted quad for IPv4; the prefix length for IPv6 (scenarios.md C6)."""
        return str(self.network.netmask) if self.version == 4 else str(self.prefixlen)

    @property
    def netmask_hex(self) -> str:
        """Eight hexadecimal digits for IPv4; the prefix length for IPv6 (scenarios.md C6)."""
        return f"{self.network.netmask.value:08x}" if self.version == 4 else str(self.prefixlen)

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefixlen}"


@dataclass(frozen=True)
class LinkAddress:
    """An address as it stands on a link. Lifetimes in seconds, ``None`` for ever."""

    address: Address
    valid_lft: int | None = None
    preferred_lft: int | None = None
    secondary: bool = False
    tentative: bool = False
    dadfailed: bool = False
    dynamic: bool = False
    noprefixroute: bool = False
    scope: str = "global"
    label: str | None = None
    broadcast: str | None = None
    metric: int | None = None  # of the route that the kernel makes for it


@dataclass(frozen=True)
class Link:
    """A network link of this host."""

    name: str
    index: int
    mac: str
    admin_up: bool
    carrier: bool
    kind: str = ""
    master: str | None = None
    loopback: bool = False
    arp: bool = True  # neighbours are found by ARP or ND; false for loopback and tunnels
    promote_secondaries: bool = True
    addresses: tuple[LinkAddress, ...] = ()

    @property
    def up(self) -> bool:
        """Switched on and with carrier: packets can leave."""
        return self.admin_up and self.carrier


@dataclass(frozen=True)
class KernelRoute:
    """A unicast route of this host's kernel. ``protocol`` is the number, as `ip -N route` prints it.

    ``words`` are what `ip route` takes beyond these fields (metrics, several next hops); ``hops`` the link and the gateway of each of several hops.
    """

    destination: str  # "default" or a CIDR
    interface: str | None
    gateway: str | None = None
    table: int = 254
    protocol: str = ""
    metric: int | None = None
    scope: str | None = None
    prefsrc: str | None = None
    linkdown: bool = False
    version: int = 4
    words: tuple[str, ...] = ()
    hops: tuple[tuple[str, str | None], ...] = ()

    @property
    def ways(self) -> tuple[tuple[str | None, str | None], ...]:
        """The link and the gateway of each next hop."""
        return self.hops or ((self.interface, self.gateway),)

    @property
    def links(self) -> set[str | None]:
        """Those by which packets may leave."""
        return {link for link, _gateway in self.ways}


@dataclass(frozen=True)
class KernelRule:
    """A rule of this host's routing policy: packets from ``source`` look up ``table``."""

    priority: int
    source: str  # "all" or a CIDR or an address
    table: int
    protocol: str = ""
    version: int = 4
    plain: bool = True  # nothing but a source selector and a table


class RouteState(str, Enum):
    """EC2's word for whether a route carries packets. Source: EC2 API reference, Route."""

    ACTIVE = "active"
    BLACKHOLE = "blackhole"
    FILTERED = "filtered"


@dataclass(frozen=True)
class Route:
    """An entry of an EC2 route table. ``destination`` is a canonical CIDR or the id of a prefix list."""

    route_table_id: str
    destination: str
    target: str  # eni-…, igw-…, local, …
    state: RouteState = RouteState.ACTIVE
    origin: str = "CreateRoute"

    @property
    def is_prefix_list(self) -> bool:
        return self.destination.startswith("pl-")


@dataclass(frozen=True)
class RouteTable:
    """An EC2 route table with its entries in the order in which EC2 lists them."""

    id: str
    vpc_id: str
    routes: tuple[Route, ...] = ()

    def entry(self, destination: str) -> Route | None:
        """The entry for exactly this canonical destination."""
        return next((route for route in self.routes if route.destination == destination), None)


@dataclass(frozen=True)
class Association:
    """What an Elastic IP is associated with."""

    association_id: str
    network_interface_id: str
    private_ip: str


@dataclass(frozen=True)
class Eip:
    """An Elastic IP."""

    public_ip: str
    allocation_id: str
    association: Association | None = None


@dataclass(frozen=True)
class EniAddress:
    """A private IPv4 address of a network interface and the public one in front of it, if any."""

    private_ip: str
    primary: bool = False
    public_ip: str | None = None
    allocation_id: str | None = None
    association_id: str | None = None


@dataclass(frozen=True)
class Eni:
    """A network interface as EC2 describes it. ``prefixes``: networks of which EC2 delivers it every address (prefix delegation)."""

    id: str
    mac: str
    vpc_id: str
    subnet_id: str
    source_dest_check: bool
    addresses: tuple[EniAddress, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    instance_id: str | None = None
    status: str = "in-use"


@dataclass(frozen=True)
class LocalEni:
    """A network interface of this host as instance metadata describes it, with the link that has its MAC address."""

    id: str
    mac: str
    interface: str | None
    device_number: int
    subnet_id: str
    vpc_id: str
    subnet_cidr: str | None = None
    subnet_ipv6_cidrs: tuple[str, ...] = ()
    vpc_cidrs: tuple[str, ...] = ()
    private_ips: tuple[str, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    public_ips: tuple[str, ...] = ()

    @property
    def primary(self) -> bool:
        """Whether this is the instance's primary network interface (device number 0)."""
        return self.device_number == 0


class Health(str, Enum):
    """What one check of a resource found. An API error or time-out is `UNKNOWN`, never `FAILED`."""

    HEALTHY = "healthy"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Probe:
    """How an address is probed: see the options of the ip_probe module. ``timeout`` in seconds."""

    targets: tuple[str, ...] = ()
    tries: int = 3
    timeout: float = 1.0
    require: str = "any"


@dataclass(frozen=True)
class Ec2Parts:
    """The EC2 side of a resource. ``route_tables`` is ``None`` (no entries), ``("all",)`` or ids."""

    route_tables: tuple[str, ...] | None = None
    elastic_ip: str | None = None
    role_arn: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dependent:
    """Something that needs the address: a systemd unit or a task file. ``timeout`` in seconds."""

    name: str
    service: str | None = None
    tasks: str | None = None
    timeout: float = 60.0


@dataclass(frozen=True)
class Resource:
    """One protected address with all that belongs to it, as one node sees it. Source: DESIGN.md section 4."""

    tag: str
    address: Address
    interface: str
    backup_interface: str | None = None
    gateway: str | None = None
    probe: Probe = field(default_factory=Probe)
    ec2: Ec2Parts | None = None
    dependents: tuple[Dependent, ...] = ()
    priority: Mapping[str, int] = field(default_factory=dict)
    failback: str = "manual"
    fence: str = "none"
    label: str | None = None  # what follows the interface's name, such as :vip
    stop_budget: float = 0.0
    on_stop_failure: str = "wait"
    announce_interval: float = 60.0  # seconds; 0 for never


def text_table(header: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned for a terminal and for a diff; ends with a newline when there is anything to show."""
    lines = [[str(cell) for cell in row] for row in [list(header), *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() + "\n" for line in lines)


@dataclass(frozen=True)
class Endpoint:
    """Where to send HTTP requests. ``token_file``: its content goes along as a bearer token; read anew at each use."""

    url: str
    token_file: str | None
    validate_certs: bool = True
    ca_cert: str | None = None
    connect_timeout: float = 5.0


def parse_gateway(text: str | None, address: Address | None, path: str = "gateway") -> str | None:
    """A gateway of the address's family in canonical form. Raises `BadInput` naming ``path``."""
    if text is None:
        return None
    ip = parse_ip(text, path)
    if address is not None and ip.version != address.version:
        raise BadInput(f"{path}: {shown(text)} cannot be the gateway of {address.host}; give an IPv{address.version} address", path=path)
    return str(ip)
