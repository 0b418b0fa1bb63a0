# SPDX-License-Identifier: GPL-3.0-or-later
"""The armed run (DESIGN.md section 8): one `ansible-playbook holdfast.ha.recover` started in advance, waiting in its first task."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook_run import Run, write_configuration
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order, PlaybookTrigger
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from ansible_collections.holdfast.ha.plugins.module_utils._checker.version import version

#: What an armed run can be told; an order with more is run cold.
PLAYBOOK = "recover"
#: Seconds between two looks at whether it still stands and fits, and its longest life: what it read, such as keys of AWS, grows old.
_LOOK, _LONGEST_LIFE = 5.0, 1800.0
#: First and longest pause in seconds after one that ended by itself, which it should not.
_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
#: Seconds that a run which was just handed its order has the processor for itself before the next one is armed.
_HEAD_START = 1.0
#: Ansible's own looking around costs a waiting run 3 % of a core; with this it costs half a per cent.
_CONFIGURATION = "[defaults]\ninternal_poll_interval = 0.02\n"
_COLLECTION = Path(__file__).resolve().parents[4]


class Armed:
    """Keeps one run waiting, from `start` to `stop`. Safe from several threads."""

    def __init__(
        self,
        settings: PlaybookTrigger,
        log: Callable[..., None],
        *,
        folder: Path,
        definitions: Path,
        look: float = _LOOK,
        longest_life: float = _LONGEST_LIFE,
    ) -> None:
        self._settings, self._log = settings, log
        self._folder, self._definitions = folder, definitions
        self._look, self._longest_life = look, longest_life
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._stopped = True
        self._not_before = 0.0
        self._run: Run | None = None
        self._fits = ""
        self._since = 0.0
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Arm. Returns at once; safe to repeat."""
        with self._lock:
            if not self._stopped:
                return
            self._stopped = False
            self._stop.clear()
            self._wake.set()
            self._keeper = threading.Thread(target=self._keep, name="armed run", daemon=True)
            self._keeper.start()

    def stop(self) -> None:
        """End it, with all that it started."""
        with self._lock:
            self._stopped = True
            keeper, run, self._run = self._keeper, self._run, None
        self._stop.set()
        self._wake.set()
        if run is not None:
            run.kill()
        if keeper is not None:
            keeper.join(timeout=30)

    def take(self, order: Order) -> Run | None:
        """A run that has this order now, and another one is armed behind it; ``None`` where none fits, and a cold one has to be started."""
        if order.playbook != PLAYBOOK or order.variables:
            return None
        with self._lock:
            run, self._run = self._run, None
            self._not_before = time.monotonic() + _HEAD_START
        self._wake.set()
        if run is None:
            return None
        if run.alive and self._fits == self._fingerprint() and run.hand_over(order):
            return run
        threading.Thread(target=run.kill, name="end of an armed run", daemon=True).start()
        return None

    @property
    def is_waiting(self) -> bool:
        """Whether a run stands there, and is past its preparations."""
        with self._lock:
            run = self._run
        return run is not None and run.alive and run.waiting.is_set()

    def describe(self) -> dict[str, Any]:
        """``pid`` (``None`` where none stands), whether it waits already, the collection's version, ``memory`` in bytes (PSS), age in seconds."""
        with self._lock:
            run = self._run
        if run is None or not run.alive:
            return {"pid": None, "waiting": False, "version": version(), "memory": None, "age": None}
        age = round(time.monotonic() - self._since, 1)
        return {"pid": run.pid, "waiting": run.waiting.is_set(), "version": version(), "memory": memory(run.pid), "age": age}

    def _keep(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause or self._look)
            self._wake.clear()
            with self._lock:
                if self._stopped:
                    return
                run = self._run
            if run is not None and not run.alive:
                pause = min(max(pause * 2, _PAUSE), _LONGEST_PAUSE)
                self._log("trouble", what="armed run", reason=run.result()[1], again_in=pause)
                self._drop(run)
                continue
            if run is not None and run.waiting.is_set():
                pause = 0.0
            if run is not None and self._is_stale():
                self._drop(run)
                run = None
            if run is None:
                early = self._not_before - time.monotonic()
                if early > 0:
                    self._stop.wait(early)
                self._arm()

    def _is_stale(self) -> bool:
        return self._fits != self._fingerprint() or time.monotonic() - self._since > self._longest_life

    def _drop(self, run: Run) -> None:
        with self._lock:
            if self._run is not run:
                return  # it has been taken meanwhile
            self._run = None
        run.kill()

    def _arm(self) -> None:
        fits = self._fingerprint()
        try:
            run = Run(self._settings, PLAYBOOK, {}, armed=True, configuration=write_configuration(self._folder, "ansible.cfg", _CONFIGURATION))
        except OSError as error:
            self._log("trouble", what="armed run", reason=str(error.strerror))
            return
        with self._lock:
            if not self._stopped:
                self._run, self._fits, self._since = run, fits, time.monotonic()
                return
        run.kill()

    def _fingerprint(self) -> str:
        """Of all that a waiting run has read already: collection, variables, definitions, the program."""
        return fingerprint(
            [*_of_collection(), Path(self._settings.variables), Path(self._settings.command), *sorted(self._definitions.glob("*.json"))]
        )


def fingerprint(paths: Iterable[Path]) -> str:
    """Changes when one of the files is written, comes or goes."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            about = path.stat()
            digest.update(f"{path}\0{about.st_ino}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
        except OSError:
            digest.update(f"{path}\0missing\0".encode())
    return digest.hexdigest()


def _of_collection() -> list[Path]:
    """The files that change with each version of the collection, and the playbook and roles that a waiting run has read."""
    return [_COLLECTION / name for name in ("MANIFEST.json", "FILES.json", "galaxy.yml", "playbooks/recover.yml")]


def memory(top: int) -> int | None:
    """The proportional set size of a process and all below it, in bytes; ``None`` where the kernel does not say."""
    total = 0
    for pid in (top, *below(top)):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += 1024 * sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    return total or None
