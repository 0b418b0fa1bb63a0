# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's control plane: moto behind a layer that is as strict as EC2, counts calls and injects faults."""

from __future__ import annotations

from lab.control.calls import Call, CallLog
from lab.control.faults import Fault
from lab.control.iam.identities import Credentials
from lab.control.plane import ControlPlane

__all__ = ["Call", "CallLog", "ControlPlane", "Credentials", "Fault"]
