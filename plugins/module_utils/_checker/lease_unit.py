# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit that stops the dependents of a resource when its lease is over, whether the checker still runs or not.

``holdfast-lease@TAG.service`` waits for the deadline of the lease, which the checker writes to a file at each renewal, and then ends. The dependents
are bound to the unit (``BindsTo=``), so systemd stops them when it ends, and starts none of them while the lease is not held here.

Invariants
1. The file never has a deadline that is later than the one until which the address may live.
2. Dependents that run are bound only while their unit runs. Else systemd would stop them when it reads the binding.
3. The binding is in /run: after a boot no dependent runs, and the checker binds them anew.

Source: systemd.unit(5), BindsTo=
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Dependent

#: The template of the unit, as the role `monitor` installs it; where systemd reads what lasts until the next boot; and the deadlines.
TEMPLATE, RUNTIME, DEADLINES = Path("/etc/systemd/system/holdfast-lease@.service"), Path("/run/systemd/system"), Path("/run/holdfast")
_DROP_IN = "50-holdfast-{}.conf"
_BINDING = "# Written by the holdfast checker\n[Unit]\nBindsTo=holdfast-lease@{0}.service\nAfter=holdfast-lease@{0}.service\n"
_SUFFIXES = (".service", ".socket", ".target", ".mount", ".timer", ".path", ".scope", ".slice", ".swap", ".automount", ".device")
Run = Callable[[Sequence[str]], Completed]


def unit_name(name: str) -> str:
    """The name of a unit in full, as systemctl completes it. Pure."""
    return name if name.endswith(_SUFFIXES) else f"{name}.service"


def centiseconds(deadline: float | None) -> str:
    """A deadline as the unit reads it: hundredths of a second of CLOCK_BOOTTIME, rounded down; 0 for none. Pure."""
    return f"{0 if deadline is None else max(0, int(deadline * 100))}\n"


class LeaseUnit:
    """The unit of one resource.

    :param run: Starts a program of this host and waits for it.
    :param log: Takes the name of an event and its facts.
    """

    def __init__(
        self,
        tag: str,
        run: Run,
        log: Callable[..., None],
        *,
        template: Path = TEMPLATE,
        runtime: Path = RUNTIME,
        deadlines: Path = DEADLINES,
    ) -> None:
        self._tag, self._run, self._log = tag, run, log
        self._template, self._runtime, self._file = template, runtime, deadlines / f"{tag}.deadline"
        self._trouble = ""

    @property
    def is_installed(self) -> bool:
        """Whether this host has the unit. A host without systemd has none."""
        return self._template.exists() and self._runtime.is_dir()

    def set_deadline(self, deadline: float | None) -> None:
        """Write until when the dependents may run, in seconds of CLOCK_BOOTTIME; ``None`` for no longer."""
        if not self.is_installed:
            return
        fresh = self._file.with_name(f".{self._file.name}.new")
        try:
            fresh.write_text(centiseconds(deadline), encoding="ascii")
            os.replace(fresh, self._file)
        except OSError as error:
            self._tell(f"writing {self._file} failed: {error.strerror}. The dependents of {self._tag} stop when the last deadline has passed.")
        else:
            self._tell("")

    def bind(self, dependents: Sequence[Dependent], held: bool, running: bool) -> None:
        """Bind the dependents that are units, and release the units that are no dependents any more.

        :param held: Whether the lease is held here, so that the unit can run.
        :param running: Whether a dependent runs. While the lease is not held, the dependents are then left as they are.
        """
        if not self.is_installed:
            return
        wanted = {self._runtime / f"{unit_name(one.service)}.d" / _DROP_IN.format(self._tag) for one in dependents if one.service}
        present = set(self._runtime.glob(f"*.d/{_DROP_IN.format(self._tag)}"))
        if wanted == present or (running and not held):
            return
        if held and not self._succeeds("systemctl", "start", f"holdfast-lease@{self._tag}.service"):
            return
        try:
            for path in wanted - present:
                path.parent.mkdir(mode=0o755, exist_ok=True)
                path.write_text(_BINDING.format(self._tag), encoding="ascii")
                path.chmod(0o644)
            for path in present - wanted:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(f"binding the dependents of {self._tag} to their lease failed: {error}")
            return
        self._succeeds("systemctl", "daemon-reload")

    def _succeeds(self, *argv: str) -> bool:
        done = self._run(argv)
        if done.rc != 0:
            self._tell(f"{' '.join(argv)} failed: {' '.join(done.stderr.split()) or f'exit code {done.rc}'}")
        return done.rc == 0

    def _tell(self, trouble: str) -> None:
        """Log a trouble once, and its end."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._log("trouble" if trouble else "well", tag=self._tag, **({"reason": trouble} if trouble else {}))


def forget_others(tags: Iterable[str], run: Run, *, runtime: Path = RUNTIME) -> None:
    """Release the units that are bound to a resource that is not defined any more."""
    kept = {_DROP_IN.format(tag) for tag in tags}
    others = [path for path in runtime.glob(f"*.d/{_DROP_IN.format('*')}") if path.name not in kept]
    for path in others:
        path.unlink(missing_ok=True)
    if others:
        run(["systemctl", "daemon-reload"])
