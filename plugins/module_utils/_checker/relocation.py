# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses to change the place of a lease while somebody holds it. Pure.

In the new place there is no record, so a node that has the new settings takes the lease there after one lease, while the holder goes on by the record
in the old place: two nodes have the address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import Config
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import same_store


def held_in(status: Iterable[Mapping[str, Any]], node: str) -> dict[str, tuple[str, str]]:
    """``held`` for `refuse_relocation`, from what the checker of ``node`` says of its resources."""
    found = {}
    for one in status:
        holder = node if one.get("held") else one.get("holder")
        if holder:
            found[str(one["tag"])] = (str(one.get("address") or "").partition("/")[0], str(holder))
    return found


def refuse_relocation(old: Config, new: Config, held: Mapping[str, tuple[str, str]], resources: Iterable[Resource]) -> None:
    """Whether every lease that is held stays where it is.

    :param held: For each tag that somebody holds, as the checker that runs knows: its address without prefix length, and the node.
    :param resources: As they are to be.
    :raises Refused: In one line that says what to do first.
    """
    tags = {resource.address.host: resource.tag for resource in resources}
    for tag, (address, holder) in sorted(held.items()):
        if new.node != old.node == holder:
            raise Refused(
                f"the name of this node cannot be changed from {old.node} to {new.node}: it holds {tag} by its old name. If the inventory calls "
                f"{old.node} by another name, set holdfast_node to {old.node} for this host; to rename the node, move {tag} to another node first",
                tag=tag,
            )
        if old.cluster != new.cluster:
            what = f"holdfast_cluster cannot be changed from {old.cluster} to {new.cluster}"
        elif not same_store(old.store, new.store):
            what = "holdfast_store cannot be changed to another store"
        elif tags.get(address, tag) != tag:
            what = f"the tag {tag} cannot be changed to {tags[address]}"
        else:
            continue
        raise Refused(
            f"{what}: {holder} holds {tag}, and a second node would take it in the new place. Stop holdfast-checker.service on all nodes, which "
            f"takes {tag} out of service, check that no node has {address}, and run holdfast.ha.install again",
            tag=tag,
        )
