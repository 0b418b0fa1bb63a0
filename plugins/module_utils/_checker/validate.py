# SPDX-License-Identifier: GPL-3.0-or-later
"""Says whether the checker would take a configuration, before it is written: JSON on standard input, and the verdict as exit code.

The input has ``checker``, the content of checker.json, ``resources``, the definitions, and ``key``, that of the peers' key. ``environment`` has the
variables of the checker's unit, and ``secrets`` the paths of files that are written only after this check.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import FILE, Config, parse_config, read_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.relocation import held_in, refuse_relocation
from ansible_collections.holdfast.ha.plugins.module_utils._checker.stores import CREDENTIALS_REMEDY, check_aws, check_store
from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, MissingProgram, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR, Resource
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import own_options
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse, refuse_shared_addresses

#: As the peers want it, in bytes.
_SHORTEST_KEY = 32
#: The home of the checker's unit, which does not see that of root (ProtectHome=yes), and what it reads AWS credentials from.
_HOME, _FILES = "/var/cache/holdfast", ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")


def validate(given: Mapping[str, Any]) -> Config:
    """The settings, where all of it fits together. Pure. Raises `BadInput` in one line that repeats no secret."""
    config = parse_config(given.get("checker"), str(FILE))
    definitions = given.get("resources")
    if not isinstance(definitions, list) or not definitions:
        raise BadInput("holdfast_resources: there is no resource to watch; define one", path="holdfast_resources")
    seen: dict[str, int] = {}
    parsed: list[Resource] = []
    for number, definition in enumerate(definitions):
        place = f"holdfast_resources[{number}]"
        resource = parse(definition, place)
        if resource.tag in seen:
            raise BadInput(f"{place}: the tag {resource.tag} is that of holdfast_resources[{seen[resource.tag]}] already", path=place)
        seen[resource.tag] = number
        parsed.append(resource)
        for node in resource.priority:
            if node not in config.nodes:
                raise BadInput(f"{place}/priority: {node} is no node of the cluster; it has {', '.join(config.nodes)}", path=f"{place}/priority")
        if config.store.type != "none":
            dataclasses.replace(config.timing, stop_budget=resource.stop_budget).validate()
    refuse_shared_addresses(parsed, config.peers.addresses if config.peers is not None else {})
    if config.peers is not None:
        missing = sorted(set(config.nodes) - set(config.peers.addresses))
        if missing:
            raise BadInput(f"{FILE}: peers.addresses: {', '.join(missing)} has no address", path="peers.addresses")
        if len(str(given.get("key") or "").encode()) < _SHORTEST_KEY:
            raise BadInput(f"monitor_peer_key: it is shorter than {_SHORTEST_KEY} bytes", path="monitor_peer_key")
    return config


def check_relocation(config: Config, resources: Iterable[Resource]) -> None:
    """Whether the leases stay where they are, as far as the checker that runs on this host has some. Raises `HoldfastError`."""
    try:
        reply = ask("status")
        old = read_config(FILE)
    except (NoChecker, Refused):
        return  # nothing runs that would hold by the old settings, or nothing is installed
    refuse_relocation(old, config, held_in(reply["resources"], reply["node"]), resources)


def enter_environment(given: Mapping[str, Any]) -> None:
    """Have this process find AWS profiles and credentials where the checker's unit does."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update({"HOME": _HOME, **{name: str(value) for name, value in (given.get("environment") or {}).items()}})


def hidden_credentials() -> Path | None:
    """The AWS configuration in root's own home, where there is one. The checker's unit does not see it."""
    folder = Path(pwd.getpwuid(os.geteuid()).pw_dir, ".aws")
    return folder if any((folder / name).exists() for name in ("credentials", "config")) else None


def check_credentials(values: Mapping[str, Any], path: str) -> None:
    """Whether there are credentials for the unit too, where root has some that it does not see. Raises `BadInput`."""
    hidden = hidden_credentials()
    if hidden is None:
        return
    from boto3.session import Session
    from botocore.exceptions import BotoCoreError

    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import AwsOptions

    options = AwsOptions.from_params(values)
    try:
        found = bool(options.access_key) or Session(profile_name=options.profile).get_credentials() is not None
    except BotoCoreError:
        found = False
    if not found:
        raise BadInput(
            f"{path}: the checker finds no AWS credentials, as its unit cannot see {hidden} (ProtectHome=yes); {CREDENTIALS_REMEDY}", path=path
        )


def main() -> int:
    """The exit code: 0, or 78 with the reason in one line on standard error."""
    try:
        if NETADDR_IMPORT_ERROR is not None:
            raise MissingProgram("the Python library netaddr is missing; install it for the Python that runs the checker")
        given = json.load(sys.stdin)
        config = validate(given)
        enter_environment(given)
        unknown = any(os.environ.get(name) in given.get("secrets", ()) for name in _FILES)
        check_store(config.store, config.timing, elsewhere=unknown)
        resources = [parse(one, "") for one in given["resources"]]
        check_relocation(config, resources)
        parts = [(resource.tag, resource.ec2) for resource in resources if resource.ec2 is not None]
        used: list[tuple[str, Mapping[str, Any]]] = [(f"{tag}: ec2", {**config.aws, **own_options(ec2)}) for tag, ec2 in parts]
        for path, values in used:
            check_aws(values, path, elsewhere=unknown)
        if config.store.type == "dynamodb":
            used.append(("store", config.store.values))
        for path, values in used if not unknown else ():
            check_credentials(values, path)
    except HoldfastError as error:
        sys.stderr.write(f"{error.message}\n")
        return 78
    except ImportError as error:
        sys.stderr.write(f"a Python library is missing for the Python that runs the checker: {error.name}; install it\n")
        return 78
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
