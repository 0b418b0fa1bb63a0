# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker's state machine is set to, remembers, is told and asks for: frozen values. Pure. Times are seconds on one clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Checks:
    """How a resource is watched. All in seconds but the counts ``rise``, ``fall`` and ``max_recoveries``.

    :param interval: From one look at the kernel to the next; events of the kernel come besides.
    :param deep_interval: From one look at EC2 to the next.
    :param rise: So many healthy looks in a row end a fault; ``fall``: so many failed ones make it.
    :param grace: After the start nothing is acted on for so long.
    :param max_recoveries: More than so many within ``window`` is flapping: nothing is tried for ``hold_down``.
    :param backoff: The first pause after a recovery that failed; doubled for each further one, up to ``backoff_max``.
    :param failback_delay: For how long a node of better priority has to be ready before the resource returns to it.
    """

    interval: float = 5.0
    deep_interval: float = 30.0
    rise: int = 1
    fall: int = 1
    grace: float = 5.0
    max_recoveries: int = 5
    window: float = 600.0
    backoff: float = 5.0
    backoff_max: float = 300.0
    hold_down: float = 60.0
    failback_delay: float = 60.0
