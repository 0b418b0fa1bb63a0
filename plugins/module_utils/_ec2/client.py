# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the EC2 API, from options that have amazon.aws's names and environment variables.

Each call is one attempt with short time-outs: whether to try again is decided in one place, `converge`, which looks first.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

try:
    import boto3
    import botocore.session
    from botocore import exceptions as aws
    from botocore.config import Config
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.httpsession import URLLib3Session
except ImportError:  # reported by _run with missing_required_lib
    BOTO3_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    BOTO3_IMPORT_ERROR = None

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import is_url, shown

#: How many calls are under way at once at most; the client keeps as many connections.
PARALLEL = 10
_CONNECT_TIMEOUT, _READ_TIMEOUT = 1.0, 2.0
_LONGEST_OPTION = 4096
_KEYS = ("access_key", "secret_key", "session_token")

#: The environment variables of amazon.aws, in order of preference. Those that boto3 also reads are read here all the
#: same where an option of the same meaning may be given: which of the two wins is then decided in `from_params` alone.
_ENVIRONMENT = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "profile": ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    "access_key": ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
    "secret_key": ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
    "session_token": ("AWS_SESSION_TOKEN",),
    "endpoint_url": ("AWS_URL", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"),
    "aws_ca_bundle": ("AWS_CA_BUNDLE",),
}


def argument_spec() -> dict[str, Any]:
    """The options of every module that calls EC2, as AnsibleModule takes them; doc_fragments/_aws.py documents them."""
    return {
        "region": {"type": "str", "aliases": ["aws_region", "ec2_region"]},
        "profile": {"type": "str", "aliases": ["aws_profile"]},
        "access_key": {"type": "str", "aliases": ["aws_access_key_id", "aws_access_key"], "no_log": True},
        "secret_key": {"type": "str", "aliases": ["aws_secret_access_key", "aws_secret_key"], "no_log": True},
        "session_token": {"type": "str", "aliases": ["aws_session_token"], "no_log": True},
        "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url"]},
        "validate_certs": {"type": "bool", "default": True},
        "aws_ca_bundle": {"type": "path"},
        "role_arn": {"type": "str"},
        "external_id": {"type": "str", "no_log": True},
    }


@dataclass(frozen=True)
class AwsOptions:
    """How to reach EC2. ``None`` leaves a thing to boto3's own chain; secrets do not show in ``repr``."""

    region: str | None = None
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    validate_certs: bool = True
    aws_ca_bundle: str | None = None
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_params(cls, params: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> AwsOptions:
        """From a module's parameters (or settings of the same names) and, where those say nothing, from the environment (this process's by default).

        Who gives a profile or keys means those alone: neither is completed with the other from the environment.
        Raises `BadInput` for what cannot be meant.
        """
        variables_set = os.environ if environ is None else environ
        chosen: dict[str, Any] = {name: params.get(name) or None for name in argument_spec()}
        chosen["validate_certs"] = params.get("validate_certs") is not False
        keys_given = any(chosen[name] for name in _KEYS)
        if chosen["profile"] and keys_given:
            raise BadInput("profile and access_key exclude each other; give one of them", path="profile")
        settled = ("profile", *_KEYS) if chosen["profile"] or keys_given else ()
        for name, variables in _ENVIRONMENT.items():
            if chosen[name] is None and name not in settled:
                chosen[name] = next((variables_set[one] for one in variables if variables_set.get(one)), None)
        if chosen["access_key"]:  # as in boto3's chain, keys in the environment come before a profile in the environment
            chosen["profile"] = None
        _check(chosen)
        return cls(**chosen)


def _check(chosen: Mapping[str, Any]) -> None:
    for name, value in chosen.items():
        if isinstance(value, str) and (len(value) > _LONGEST_OPTION or not value.isprintable()):
            raise BadInput(f"{name}: this is too long or has control characters in it", path=name)
    if bool(chosen["access_key"]) != bool(chosen["secret_key"]):
        raise BadInput("access_key and secret_key belong together; give both or neither", path="access_key")
    if chosen["external_id"] and not chosen["role_arn"]:
        raise BadInput("external_id means nothing without role_arn", path="external_id")
    if chosen["role_arn"] and not chosen["role_arn"].startswith("arn:"):
        raise BadInput(f"role_arn: {shown(chosen['role_arn'])} is not the ARN of a role", path="role_arn")
    if chosen["endpoint_url"] and not is_url(chosen["endpoint_url"]):
        raise BadInput("endpoint_url: this has to be a URL such as https://10.0.0.5:8000, without user, password or query", path="endpoint_url")
    bundle = chosen["aws_ca_bundle"]
    if bundle and chosen["validate_certs"] and not os.path.exists(bundle):
        raise BadInput(f"aws_ca_bundle: there is no file {shown(bundle)} on this host", path="aws_ca_bundle")


def ec2_client(options: AwsOptions, own_region: Callable[[], str]) -> Any:
    """A boto3 client of EC2, a kept one where there is one for these options; see `aws_client`."""
    kept = _kept.get(options)
    return aws_client("ec2", options, own_region) if kept is None else kept


#: What `keep_client` made in this process, or in the one that it was forked from.
_kept: dict[AwsOptions, Any] = {}


def keep_client(options: AwsOptions, own_region: Callable[[], str]) -> None:
    """Have `ec2_client` return the same client for these options from now on; see `aws_client`."""
    _kept[options] = ec2_client(options, own_region)


def aws_client(service: str, options: AwsOptions, own_region: Callable[[], str], *, connect_timeout: float = 0.0, read_timeout: float = 0.0) -> Any:
    """A boto3 client; threads may share it.

    :param own_region: Tells the region of this host; asked only when neither options nor AWS configuration name one.
    :param connect_timeout: In seconds, as ``read_timeout``; 0 for those of EC2 calls.
    :raises BadInput: For an unknown profile, region or URL. :raises ServiceError: When ``own_region`` does.
    """
    timeouts = (connect_timeout or _CONNECT_TIMEOUT, read_timeout or _READ_TIMEOUT)
    try:
        session = boto3.session.Session(
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            aws_session_token=options.session_token,
            profile_name=options.profile,
            region_name=options.region,
        )
        if not options.access_key:
            _ask_metadata_directly(session)
        region = session.region_name or own_region()
        if options.role_arn:
            session = _with_role(session, options, options.role_arn, region)
        return _client(session, service, region, options, timeouts, endpoint_url=options.endpoint_url)
    except aws.ProfileNotFound:
        raise BadInput(f"profile: this host's AWS configuration has no profile {shown(options.profile)}", path="profile") from None
    except (aws.BotoCoreError, ValueError) as error:
        raise BadInput(f"The AWS options cannot be used: {str(error)[:300]}") from error


def _client(session: Any, service: str, region: str, options: AwsOptions, timeouts: tuple[float, float] | None = None, **more: Any) -> Any:
    connect_timeout, read_timeout = timeouts or (_CONNECT_TIMEOUT, _READ_TIMEOUT)
    verify: bool | str | None = options.aws_ca_bundle if options.validate_certs else False
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=PARALLEL,
        user_agent_extra="holdfast.ha",
    )
    return session.client(service, region_name=region, verify=verify, config=config, **more)


def _with_role(session: Any, options: AwsOptions, role_arn: str, region: str) -> Any:
    """A session that acts as ``role_arn`` and renews the role's credentials before they expire.

    For where STS is called see `sts_endpoint`.
    """
    core: Any = session._session
    services = core.full_config.get("services", {}).get(core.get_scoped_config().get("services", ""), {})
    endpoint = None if services.get("sts", {}).get("endpoint_url") else sts_endpoint(options.endpoint_url, os.environ)
    if not core.get_scoped_config().get("sts_regional_endpoints") and not os.environ.get("AWS_STS_REGIONAL_ENDPOINTS"):
        core.set_config_variable("sts_regional_endpoints", "regional")  # older releases of botocore call one endpoint for all regions
    extra = {"RoleSessionName": session_name(socket.gethostname()), **({"ExternalId": options.external_id} if options.external_id else {})}
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=lambda service, **_keys: _client(session, service, region, options, endpoint_url=endpoint),
        source_credentials=session.get_credentials() or _none(),
        role_arn=role_arn,
        extra_args=extra,
    )
    acting: Any = botocore.session.Session()
    refreshed = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    acting._credentials = refreshed  # the public setter takes fixed keys only, which a long-lived client would outlive
    return boto3.session.Session(botocore_session=acting, region_name=region)


def _ask_metadata_directly(session: Any) -> None:
    """Keep the request for the instance's credentials away from a proxy of the environment: it would answer for another machine, or not at all.

    botocore has no option for that, and to change ``no_proxy`` would change it for the whole process.
    """
    for provider in session._session.get_component("credential_provider").providers:
        fetcher = getattr(provider, "_role_fetcher", None)
        if fetcher is not None:
            fetcher._session = URLLib3Session(timeout=fetcher._timeout, proxies={})


def session_name(node: str) -> str:
    """The name of a role's session, by which CloudTrail tells nodes apart. STS takes letters, digits and ``_+=,.@-``, 64 at most."""
    return re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", f"holdfast-{node}")[:64]


def sts_endpoint(endpoint_url: str | None, environ: Mapping[str, str]) -> str | None:
    """Where STS is called; ``None`` leaves it to botocore, which calls the region's own endpoint.

    1. ``AWS_ENDPOINT_URL_STS``, and then ``AWS_ENDPOINT_URL``, which is for all services. botocore before 1.31 knows neither.
    2. ``endpoint_url``, if its host is an IP address or a name without a dot. Emulators are named so, and their credentials mean nothing to AWS.
    3. The region's own. An endpoint of EC2 in a VPC needs a certificate and therefore a full name, whether AWS's or a private one.
    """
    for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        if environ.get(name) and environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
            return environ[name]
    return endpoint_url if _is_emulator(urlsplit(endpoint_url or "").hostname or "") else None


def _is_emulator(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host
    return True


def partition_of(region: str) -> str | None:
    """The partition of a region, such as ``aws-cn``, as far as botocore knows it or its pattern."""
    if BOTO3_IMPORT_ERROR is not None:
        return None
    try:
        return str(botocore.session.Session().get_partition_for_region(region))
    except aws.BotoCoreError:
        return None


def _none() -> Any:
    hint = "give the instance a role, or set profile, or access_key and secret_key"
    raise BadInput(f"role_arn: there are no AWS credentials to assume the role with; {hint}")
