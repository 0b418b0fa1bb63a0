# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata client, against a small service over HTTP; the lab's own one is used in the integration tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import LocalEni
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds, links_by_mac, mac_of
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.local import EniSelector, choose, gateway

MAC0, MAC1 = "02:00:00:00:00:01", "02:00:00:00:00:02"


def _eni(number: int, **more: str) -> dict[str, str]:
    return {"interface-id": f"eni-0000000{number}", "device-number": str(number), "subnet-id": "subnet-1", "vpc-id": "vpc-1", **more}


class Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.asked: list[str] = []
        self.hang_up_after: int | None = None
        enis = {
            MAC1: _eni(1),
            MAC0: _eni(
                0,
                **{
                    "local-ipv4s": "10.0.1.10\n10.0.1.20",
                    "subnet-ipv4-cidr-block": "10.0.1.0/24",
                    "vpc-ipv4-cidr-blocks": "10.0.0.0/16\n10.7.0.0/16",
                },
            ),
        }
        self.paths = {"instance-id": "i-1", "placement/region": "eu-central-1", "placement/availability-zone": "eu-central-1a"}
        self.paths["network/interfaces/macs/"] = "\n".join(f"{mac}/" for mac in enis)
        for mac, leaves in enis.items():
            self.paths.update({f"network/interfaces/macs/{mac}/{name}": text for name, text in leaves.items()})

    def imds(self, links: Path = Path("/nowhere")) -> Imds:
        return Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self.server_port}"}, links)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_PUT(self) -> None:
        token = f"token{len(self.server.tokens)}"
        self.server.tokens.append(token)
        self.server.valid = {token}
        self._answer(200, token if 1 <= int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600 else "")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.valid:
            self._answer(401, "")
            return
        text = self.server.paths.get(self.path.replace("/latest/meta-data/", "", 1))
        self._answer(404 if text is None else 200, text or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
        if self.server.hang_up_after is not None:
            self.close_connection = len(self.server.asked) % self.server.hang_up_after == 0

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_interfaces_come_with_the_primary_one_first(service: Service) -> None:
    first, second = service.imds().interfaces()
    assert (first.id, first.mac, first.primary, first.private_ips) == ("eni-00000000", MAC0, True, ("10.0.1.10", "10.0.1.20"))
    assert (first.subnet_cidr, first.vpc_cidrs, gateway(first)) == ("10.0.1.0/24", ("10.0.0.0/16", "10.7.0.0/16"), "10.0.1.1")
    assert (second.id, second.primary, second.subnet_cidr, second.public_ips, gateway(second)) == ("eni-00000001", False, None, (), None)


@pytest.mark.parametrize("leaf", ["device-number", "interface-id", "subnet-id", "vpc-id"])
def test_an_interface_without_details_is_left_out_unless_it_is_wanted(service: Service, leaf: str) -> None:
    del service.paths[f"network/interfaces/macs/{MAC1}/{leaf}"]
    assert [eni.mac for eni in service.imds().interfaces()] == [MAC0]
    assert [eni.mac for eni in service.imds().interfaces(MAC0)] == [MAC0]
    with pytest.raises(ServiceError, match=leaf):
        service.imds().interfaces(MAC1)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http://169.254.169.254/"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, "http://[fd00:ec2::254]/"),
        ({"AWS_IMDS_USE_IPV6": "true"}, "http://[fd00:ec2::254]/"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv4", "AWS_IMDS_USE_IPV6": "true"}, "http://169.254.169.254/"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "both"}, "neither IPv4 nor IPv6"),
    ],
)
def test_where_metadata_is_asked(environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ServiceError) as caught:
        Imds(environ).region()
    assert expected in caught.value.message


def test_one_token_serves_many_questions(service: Service) -> None:
    imds = service.imds()
    assert imds.instance().region == "eu-central-1"
    imds.interfaces()
    assert len(service.tokens) == 1


def test_a_token_that_ran_out_is_renewed_once(service: Service) -> None:
    imds = service.imds()
    imds.region()
    service.valid.clear()
    assert imds.region() == "eu-central-1"
    assert len(service.tokens) == 2


def test_a_kept_connection_that_was_closed_is_opened_anew(service: Service) -> None:
    service.hang_up_after = 2
    assert len(service.imds().interfaces()) == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("device-number", "9" * 5000),
        ("device-number", "\u0661"),
        ("device-number", "-1"),
        ("subnet-ipv4-cidr-block", "255.255.255.255/32"),
        ("subnet-ipv4-cidr-block", "10.0.1.10/31"),
        ("subnet-ipv4-cidr-block", "0.0.0.0/0"),
        ("subnet-ipv4-cidr-block", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
        ("subnet-ipv4-cidr-block", "10.0.1.0"),
        ("interface-id", "eni-\x1b[2J"),
        ("local-ipv4s", "10.0.1.10\n\x9b31m"),
        ("macs", "02:00:00:00:00:01/\n../../../api/"),
    ],
)
def test_values_that_cannot_be_are_one_error_that_names_them(service: Service, path: str, text: str) -> None:
    service.paths["network/interfaces/macs/" if path == "macs" else f"network/interfaces/macs/{MAC0}/{path}"] = text
    with pytest.raises(ServiceError, match=path) as caught:
        gateway(service.imds().interfaces()[0])
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("token", ["secret\ntoken", "secret token", "secret\u00e9", ""])
def test_a_malformed_token_is_not_repeated(service: Service, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr(_Handler, "do_PUT", lambda handler: handler._answer(200, token))
    with pytest.raises(ServiceError, match="token") as caught:
        service.imds().region()
    assert "secret" not in caught.value.message


def test_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceError, match="give network_interface_id"):
        Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}"}).region()


def test_a_silent_service_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ServiceError, match="timed out"):
        Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{listener.getsockname()[1]}"}).region()


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:port", "https://127.0.0.1", "http://"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(ServiceError):
        Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}).region()


def test_switched_off(service: Service) -> None:
    with pytest.raises(ServiceError, match="AWS_EC2_METADATA_DISABLED"):
        Imds({"AWS_EC2_METADATA_DISABLED": "true"}).region()


def test_a_category_that_must_be_there(service: Service) -> None:
    del service.paths["placement/region"]
    with pytest.raises(ServiceError, match="nothing at placement/region"):
        service.imds().region()


def test_proxies_are_not_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert service.imds().region() == "eu-central-1"


def _links(root: Path, **links: tuple[str, int, str | None]) -> Path:
    for name, (mac, index, lower) in links.items():
        (root / name).mkdir(parents=True)
        (root / name / "address").write_text(mac.upper() + "\n")
        (root / name / "ifindex").write_text(f"{index}\n")
        if lower:
            (root / name / f"lower_{lower}").symlink_to(root / lower)
    (root / "bonding_masters").write_text("bond0\n")
    return root


def test_links_on_top_of_others_are_not_network_interfaces(tmp_path: Path) -> None:
    root = _links(tmp_path, mv0=(MAC0, 1, "eth0"), eth0=(MAC0, 2, None), br0=(MAC0, 3, "eth0"), eth1=(MAC1, 5, None), twin=(MAC1, 9, None))
    assert links_by_mac(root) == {MAC0: "eth0", MAC1: "eth1"}
    assert mac_of("br0", root) == MAC0
    assert mac_of("eth7", root) is None


def test_links_are_found_for_interfaces(service: Service, tmp_path: Path) -> None:
    root = _links(tmp_path, eth0=(MAC0, 2, None))
    assert [eni.interface for eni in service.imds(root).interfaces()] == ["eth0", None]


ENIS = (
    LocalEni("eni-00000000", MAC0, "eth0", 0, "subnet-1", "vpc-1"),
    LocalEni("eni-00000001", MAC1, "eth1", 1, "subnet-1", "vpc-1"),
)


@pytest.mark.parametrize(("link", "mac", "expected"), [(None, None, ENIS[0]), ("eth1", MAC1, ENIS[1]), ("bond0", MAC1, ENIS[1])])
def test_choose(link: str | None, mac: str | None, expected: LocalEni) -> None:
    assert choose(ENIS, link, mac) is expected


@pytest.mark.parametrize(
    ("enis", "link", "mac", "words"),
    [
        (ENIS, "mv0", "02:ff:00:00:00:01", "mv0 has no network interface of EC2 behind it; links that have one: eth0, eth1"),
        (ENIS, "eth9", None, "this host has no link eth9; links that have one: eth0, eth1"),
        ((), None, None, "no network interface"),
    ],
)
def test_nothing_to_choose(enis: tuple[LocalEni, ...], link: str | None, mac: str | None, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        choose(enis, link, mac)


@pytest.mark.parametrize("text", ["eni-1", "eni-0123456G", "eni-0123456789", "i-01234567", "eni-01234567; id", "e" * 1_000_000])
def test_malformed_ids(text: str) -> None:
    with pytest.raises(BadInput, match="network_interface_id: "):
        EniSelector.from_params({"network_interface_id": text})


@pytest.mark.parametrize("link", ["../eth0", "eth0;id", "", "e" * 128, "eth0:1", "eth 0", "/"])
def test_malformed_links(link: str) -> None:
    with pytest.raises(BadInput, match="interface: "):
        EniSelector.from_params({"interface": link})
