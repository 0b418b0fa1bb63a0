# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers that several files of tests share."""

from __future__ import annotations

import pytest

#: For tests of leases of a few seconds and of outages of milliseconds: if the machine stands still for that long, a checker that is right steps down.
STALLS = pytest.mark.rerun(reason="a machine that is shared may stand still for a second, which is as long as what is measured here")
