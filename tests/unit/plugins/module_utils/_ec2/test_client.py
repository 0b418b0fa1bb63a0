# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS options: what wins over what, what is refused, and what the client is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore import configprovider
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import PARALLEL, AwsOptions, ec2_client, sts_endpoint

KEYS = {"access_key": "AKIA1", "secret_key": "s3cret"}
ENV_KEYS = {"AWS_ACCESS_KEY_ID": "AKIA2", "AWS_SECRET_ACCESS_KEY": "env-s3cret"}


def no_region() -> str:
    raise ServiceError("no metadata here")


@pytest.mark.parametrize(
    ("params", "environ", "expected"),
    [
        ({}, {}, {"region": None, "access_key": None, "profile": None, "endpoint_url": None}),
        ({"region": "eu-west-1"}, {"AWS_REGION": "us-east-1"}, {"region": "eu-west-1"}),
        ({}, {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}, {"region": "us-east-1"}),
        ({}, {"AWS_DEFAULT_REGION": "us-east-2"}, {"region": "us-east-2"}),
        ({}, {"AWS_URL": "http://a", "AWS_ENDPOINT_URL": "http://b"}, {"endpoint_url": "http://a"}),
        ({}, {"AWS_ENDPOINT_URL": "http://b"}, {"endpoint_url": "http://b"}),
        ({"endpoint_url": "http://c"}, {"AWS_URL": "http://a"}, {"endpoint_url": "http://c"}),
        ({}, ENV_KEYS, {"access_key": "AKIA2", "secret_key": "env-s3cret"}),
        ({}, {"AWS_ACCESS_KEY": "A", "AWS_SECRET_KEY": "B"}, {"access_key": "A", "secret_key": "B"}),
        (KEYS, {**ENV_KEYS, "AWS_SESSION_TOKEN": "of other keys"}, {"access_key": "AKIA1", "secret_key": "s3cret", "session_token": None}),
        (KEYS, {"AWS_PROFILE": "p"}, {"access_key": "AKIA1", "profile": None}),
        ({"profile": "p"}, ENV_KEYS, {"profile": "p", "access_key": None}),
        ({}, {**ENV_KEYS, "AWS_PROFILE": "p"}, {"access_key": "AKIA2", "profile": None}),
        ({}, {"AWS_DEFAULT_PROFILE": "p"}, {"profile": "p"}),
        ({"validate_certs": False}, {}, {"validate_certs": False}),
    ],
)
def test_what_wins(params: dict[str, Any], environ: dict[str, str], expected: dict[str, Any]) -> None:
    options = AwsOptions.from_params(params, environ)
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({**KEYS, "profile": "p"}, "exclude each other"),
        ({"access_key": "A"}, "belong together"),
        ({"external_id": "x"}, "without role_arn"),
        ({"role_arn": "admin"}, "not the ARN"),
        ({"aws_ca_bundle": "/nowhere/ca.pem"}, "no file"),
        ({"region": "eu\nwest"}, "region: "),
        ({"endpoint_url": "ec2.example.org"}, "endpoint_url: this has to be a URL"),
        ({"endpoint_url": "https://u:p@ec2.example.org"}, "endpoint_url: this has to be a URL"),
        ({"endpoint_url": "http://a..b:5000"}, "endpoint_url: this has to be a URL"),
        ({"region": "r" * 1_000_000}, "too long"),
    ],
)
def test_what_is_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        AwsOptions.from_params(params, {})
    assert len(caught.value.message) < 200


def test_secrets_do_not_show() -> None:
    shown = repr(AwsOptions.from_params({**KEYS, "session_token": "t0ken", "role_arn": "arn:aws:iam::1:role/r", "external_id": "extern"}, {}))
    assert not any(secret in shown for secret in ("AKIA1", "s3cret", "t0ken", "extern"))


@pytest.mark.parametrize("default", ["legacy", "regional"])  # that of botocore has changed
@pytest.mark.parametrize("environ", [{}, {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}])
def test_sts_is_called_in_the_region(monkeypatch: pytest.MonkeyPatch, default: str, environ: dict[str, str]) -> None:
    called: list[str] = []

    def send(_session: object, request: Any) -> None:
        called.append(request.url)
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(URLLib3Session, "send", send)
    variables = configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES
    monkeypatch.setitem(variables, "sts_regional_endpoints", (*variables["sts_regional_endpoints"][:2], default, None))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    options = AwsOptions(
        region="eu-central-1", access_key="A", secret_key="B", role_arn="arn:aws:iam::1:role/r", endpoint_url="https://ec2.corp.example"
    )
    with pytest.raises(EndpointConnectionError):
        ec2_client(options, no_region).describe_addresses()
    assert called == [f"https://sts{'' if environ else '.eu-central-1'}.amazonaws.com/"]


def test_one_attempt_with_short_timeouts() -> None:
    client = ec2_client(AwsOptions(region="eu-west-1", access_key="A", secret_key="B", endpoint_url="http://127.0.0.1:9"), no_region)
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (1.0, 2.0, 1)
    assert config.max_pool_connections >= PARALLEL
    assert "holdfast.ha" in config.user_agent
    assert client.meta.endpoint_url == "http://127.0.0.1:9"


def test_the_region_of_this_host_is_asked_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("[profile p]\nregion = eu-north-1\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    keys = AwsOptions(access_key="A", secret_key="B")
    assert ec2_client(replace(keys, region="eu-west-1"), no_region).meta.region_name == "eu-west-1"
    assert ec2_client(AwsOptions(profile="p"), no_region).meta.region_name == "eu-north-1"
    assert ec2_client(keys, lambda: "eu-south-1").meta.region_name == "eu-south-1"
    with pytest.raises(ServiceError, match="no metadata here"):
        ec2_client(keys, no_region)


@pytest.mark.parametrize(
    "options",
    [AwsOptions(profile="nobody"), AwsOptions(region="no such region!"), AwsOptions(region="eu-west-1", endpoint_url="nonsense")],
)
def test_options_that_boto3_refuses(options: AwsOptions) -> None:
    with pytest.raises(BadInput) as caught:
        ec2_client(options, no_region)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("endpoint_url", "environ", "called"),
    [
        (None, {}, None),
        ("http://127.0.0.1:5000", {}, "http://127.0.0.1:5000"),
        ("http://[::1]:5000", {}, "http://[::1]:5000"),
        ("http://localhost:4566", {}, "http://localhost:4566"),
        ("http://127.0.0.1:5000", {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:6000"}, "http://127.0.0.1:6000"),
        ("http://127.0.0.1:5000", {"AWS_ENDPOINT_URL": "http://127.0.0.1:7000"}, "http://127.0.0.1:7000"),
        (
            "http://127.0.0.1:5000",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:7000", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "http://127.0.0.1:5000",
        ),
        ("https://ec2.corp.example", {}, None),
        ("https://ec2.corp.example", {"AWS_ENDPOINT_URL": "http://emulator.example"}, "http://emulator.example"),
        ("https://ec2.eusc-de-east-1.amazonaws.eu", {}, None),
        ("https://vpce-1.ec2.eu-central-1.vpce.amazonaws.com", {}, None),
        ("https://ec2.eu-central-1.api.aws", {}, None),
        ("https://amazonaws.com.example.net", {}, None),
    ],
)
def test_where_sts_is_called(endpoint_url: str | None, environ: dict[str, str], called: str | None) -> None:
    assert sts_endpoint(endpoint_url, environ) == called
