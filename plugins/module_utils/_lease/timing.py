# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a lease binds whom (DESIGN.md section 6). Pure.

Why two nodes never hold at once, in true seconds, with every clock running at a rate between 1-rho and 1+rho:

* The holder counts from before it sent its last write that took effect. It stops at ``hold`` on its clock. What may still
  follow, the refresh window and the kernel's delay in removing an address, is taken off the address's lifetime as far as the
  timing affords it (``reserve``), and the margin covers the rest. Together that is at most ``T(1-rho)`` on its clock, so at
  most ``T`` after the write took effect.
* A standby counts from the end of the first read that showed that write, so from after it took effect, and waits
  ``T(1+rho)`` on its own clock: at least ``T``.
* Failsafe: each other node's promise begins after the holder's question was sent and lasts ``T(1+rho)`` on its own clock, so at
  least ``T``; the holder counts from before it sent the oldest of these questions, and stops as above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput

#: Addresses live for whole seconds, so up to one second of the time left is lost to rounding.
_ROUNDING = 1.0
#: The kernel removes an address up to a second after its lifetime when it has just looked at others: it looks at most once a
#: second (ADDRCONF_TIMER_FUZZ_MAX in include/net/addrconf.h, check_lifetime in net/ipv4/devinet.c). The rest is for its work queue.
KERNEL_DELAY = 1.05
#: For setting the lifetime itself; so a renewal that only just comes in time is not one that comes too late.
_SETTING = 0.05
#: Clocks further apart than this are broken; a larger allowance hides it.
_WORST_RATE = 0.2


@dataclass(frozen=True)
class Timing:
    """All in seconds but ``rho``.

    :param ttl: T, for how long a write binds every other node.
    :param renew: R, from one renewal to the next.
    :param call: C, the longest that one store call may take; a call is one attempt.
    :param margin: D, what the holder keeps in hand for the kernel to remove the address, and for the refresh window.
    :param poll: P, from one look of a standby to the next.
    :param rho: by what share a clock may run fast or slow.
    :param stop_budget: what the dependents need to stop, before the deadline.
    """

    ttl: float = 10.0
    renew: float = 2.0
    call: float = 1.5
    margin: float = 2.0
    poll: float = 1.0
    rho: float = 0.02
    stop_budget: float = 0.0

    @property
    def hold(self) -> float:
        """For how long after sending a successful write the holder may serve."""
        return self.ttl * (1 - self.rho) - self.margin

    @property
    def window(self) -> float:
        """The longest that refreshing the address in the kernel may take, from reading the clock; part of the margin."""
        return self.margin / 4

    @property
    def reserve(self) -> float:
        """By how much less than until the deadline an address is let live.

        All that may make it late, if a renewal may then still fail once: so it is gone by the deadline. Else as much of that as goes, and at least
        what the margin does not cover.
        """
        late = KERNEL_DELAY + self.window
        spare = self.hold - self.stop_budget - self._need - _SETTING
        return max(0.0, late - self.margin, min(late, spare))

    @property
    def _need(self) -> float:
        """What a renewal takes that fails once, and the rounding of lifetimes."""
        return self.renew + 2 * self.call + _ROUNDING

    def stop_from(self, deadline: float) -> float:
        """When to begin to stop serving, so that the dependents have stopped by ``deadline``."""
        return deadline - self.stop_budget

    def wait(self, promised: float) -> float:
        """For how long a record has to stay unchanged before it is void, when its holder was promised ``promised`` seconds."""
        return max(self.ttl, promised) * (1 + self.rho)

    def validate(self) -> Timing:
        """This timing if a renewal can fail once and the next still come in time; else `BadInput` with the numbers in one line."""
        for field in fields(self):
            value = getattr(self, field.name)
            least_ok = value >= 0 if field.name in ("rho", "stop_budget") else value > 0
            if not least_ok or math.isnan(value) or value > 1e6:
                raise BadInput(
                    f"timing: {field.name} = {value:g} is out of range; give a number of seconds above 0 (rho: a share from 0 to {_WORST_RATE:g})"
                )
        if self.rho > _WORST_RATE:
            raise BadInput(f"timing: rho = {self.rho:g} is out of range; clocks that far apart are broken, give at most {_WORST_RATE:g}")
        need = self._need
        have = self.hold - self.stop_budget
        if need > have + 1e-9:
            raise BadInput(
                f"timing: R + 2C + 1 = {self.renew:g} + 2*{self.call:g} + 1 = {need:g} s is more than T(1-rho) - D - stop_budget = "
                f"{self.ttl:g}*{1 - self.rho:g} - {self.margin:g} - {self.stop_budget:g} = {have:g} s; "
                f"raise ttl to at least {self._least_ttl(need):g}, or lower the others",
                need=need,
                have=have,
            )
        return self

    def _least_ttl(self, need: float) -> float:
        exact = (need + self.stop_budget + self.margin) / (1 - self.rho)
        return -(-exact * 10 // 1) / 10


#: The two profiles of DESIGN.md sections 6 and 8.
PROFILES = {
    "standard": Timing(),
    "fast": Timing(ttl=4.0, renew=0.5, call=0.5, margin=0.75, poll=0.25),
}

#: For how long the holder of a record that nobody can read any more may have been promised it, whatever profile it has.
LONGEST_TTL = max(profile.ttl for profile in PROFILES.values())
