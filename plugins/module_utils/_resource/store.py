# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a resource on this node: its definition and its state."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Resource, parse_tag
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import real_name
from ansible_collections.holdfast.ha.plugins.module_utils._resource.boot import FILE as BOOT_ID
from ansible_collections.holdfast.ha.plugins.module_utils._resource.boot import boot_id
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import (
    EffectiveResource,
    State,
    effective,
    from_json,
    to_json,
    with_real_names,
)
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse

#: No file of ours comes near this many bytes.
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Store:
    """Where the files are. ``boot_id``: the file with the id of this boot."""

    definitions: Path = Path("/etc/holdfast/resources")
    states: Path = Path("/var/lib/holdfast")
    boot_id: Path = BOOT_ID

    def definition(self, tag: str) -> Resource | None:
        """The definition that the monitor role has put there; ``None`` where there is none. Raises `BadInput`."""
        path = self.definitions / f"{tag}.json"
        content = _read(path, "write it anew with the role holdfast.ha.monitor")
        if content is None:
            return None
        resource = parse(content, str(path))
        if resource.tag != tag:
            raise BadInput(f"{path}: its tag is {resource.tag}; a file is named by its tag", path=str(path))
        return resource

    def state(self, tag: str) -> State | None:
        """What was learned; ``None`` where nothing was. Raises `BadInput` for a file that is damaged, `Refused` for a symbolic link."""
        path = self.states / f"{tag}.json"
        advice = "remove it, and the inventory's interfaces hold again"
        content = _read(path, advice)
        if content is None:
            return None
        try:
            return from_json(content, tag)
        except BadInput as error:
            raise BadInput(f"{path} is damaged ({error.message}); {advice}", path=str(path)) from None

    def effective(self, tag: str, resource: Resource | None = None) -> EffectiveResource:
        """The resource as it is to be treated now; ``resource`` in place of the definition's file. Raises `NotFound`."""
        return with_real_names(effective(tag, resource or self.definition(tag), self.state(tag)), real_name)

    def boot(self) -> str:
        """The id of this boot."""
        return boot_id(self.boot_id)

    def tags(self) -> tuple[str, ...]:
        """Every resource that has a definition or a state here, sorted."""
        return tuple(sorted({*_tags(self.definitions), *_tags(self.states)}))

    def save(self, state: State) -> None:
        """Write the state so that a reader sees the old one or the new one, also after a crash (DESIGN.md section 4)."""
        path = self.states / f"{state.tag}.json"
        try:
            _make_private(self.states)
            if path.is_symlink():
                raise Refused(f"{path} is a symbolic link; remove it", path=str(path))
            _replace(path, json.dumps(to_json(state), indent=2) + "\n")
        except OSError as error:
            raise HoldfastError(f"cannot write {path}: {error.strerror}; see the folder's owner and free space", path=str(path)) from None

    def forget(self, tag: str) -> None:
        """Remove the state. Nothing else reads it, and a state that is gone already is what was wanted."""
        path = self.states / f"{tag}.json"
        try:
            path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise HoldfastError(f"cannot remove {path}: {error.strerror}; see the folder's owner", path=str(path)) from None


def _tags(folder: Path) -> Iterable[str]:
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            yield parse_tag(path.stem)
        except BadInput:
            continue  # not a file of ours


def _read(path: Path, advice: str) -> object:
    """The JSON in a regular file; ``None`` where there is no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        cause = "it is a symbolic link" if path.is_symlink() else error.strerror
        raise Refused(f"cannot read {path}: {cause}; {advice}", path=str(path)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(f"cannot read {path}: it is not a regular file; {advice}", path=str(path))
    with open(handle, "rb") as file:
        text = file.read(_LARGEST + 1)
    try:
        if len(text) > _LARGEST:
            raise ValueError
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is damaged (no JSON of at most {_LARGEST} bytes); {advice}", path=str(path)) from None
    if content is None:
        raise BadInput(f"{path} is damaged (it is empty); {advice}", path=str(path))
    return content


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, so that a reader sees the old one or the new one. Raises `OSError`, `Refused`."""
    _make_private(path.parent)
    _replace(path, text)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink():
        raise Refused(f"{folder} is a symbolic link; remove it", path=str(folder))
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the start
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # else the rename itself may be lost with the power
    finally:
        os.close(folder)
