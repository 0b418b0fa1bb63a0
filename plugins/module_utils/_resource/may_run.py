# SPDX-License-Identifier: GPL-3.0-or-later
"""The fact that dependents of a resource may run on this node: a file beside the resource's state (DESIGN.md section 7).

Invariants
1. The fact is on disk before the first dependent starts. Whoever starts one sets it before the start, and once more after it.
2. It is removed only after all dependents were observed inactive, and they are observed once more after its removal.
3. So whatever order a start and a removal happen in, a dependent that runs has its fact: either the second setting comes after the removal,
   or the start came before it, and the last observation sees the dependent.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._resource.boot import FILE as BOOT_ID
from ansible_collections.holdfast.ha.plugins.module_utils._resource.boot import boot_id
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import write_private

_LONGEST = 200
_STOPPING = b"stopping"


class MayRun:
    """The fact for one resource. Safe from several threads and processes.

    :param folder: Where the states of the resources are.
    :param boot_id: The file with the id of this boot.
    """

    def __init__(self, folder: Path, tag: str, boot_id: Path = BOOT_ID) -> None:
        self._path, self._boot_id = folder / f"{tag}.may_run", boot_id

    @property
    def is_set(self) -> bool:
        """Whether a dependent may run. A file that cannot be read counts."""
        return self._path.is_symlink() or self._path.exists()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody is stopping dependents, so that one that does not run is no fault."""
        try:
            return _STOPPING in self._path.read_bytes()[:_LONGEST].split()[1:]
        except OSError:
            return False

    @property
    def is_of_this_boot(self) -> bool:
        """Whether it was set since the machine started. A file that cannot be read counts as such, which is the more careful answer."""
        try:
            with self._path.open("rb") as file:
                return file.read(_LONGEST).split()[:1] == [self._boot()]
        except OSError:
            return True

    def set(self, *, stopping: bool = False) -> None:
        """Record that a dependent may run from now on. Raises `HoldfastError`: then nothing may be started.

        :param stopping: Somebody is stopping them on purpose; until the next start.
        """
        try:
            if self._path.is_symlink():
                raise Refused(f"{self._path} is a symbolic link; remove it", path=str(self._path))
            words = [self._boot(), *([_STOPPING] if stopping else [])]
            write_private(self._path, b" ".join(words).decode("ascii") + "\n")
        except OSError as error:
            raise HoldfastError(
                f"recording that dependents may run failed: {self._path}: {error.strerror}. See the folder's owner and free space.",
                path=str(self._path),
            ) from None

    def clear(self) -> None:
        """Record that none runs. Raises `HoldfastError`."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise HoldfastError(f"removing {self._path} failed: {error.strerror}. See the folder's owner.", path=str(self._path)) from None

    def _boot(self) -> bytes:
        return boot_id(self._boot_id).encode("ascii")
