# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulated EC2 API: moto behind a strict layer. Each name is imported when it is first used, because moto alone takes a second."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.control.calls import Call, CallLog
    from lab.control.faults import Fault
    from lab.control.iam.identities import Credentials
    from lab.control.plane import ControlPlane

__all__ = ["Call", "CallLog", "ControlPlane", "Credentials", "Fault"]
_MODULES = {"Call": "calls", "CallLog": "calls", "ControlPlane": "plane", "Credentials": "iam.identities", "Fault": "faults"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
