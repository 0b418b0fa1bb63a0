# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection supports."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the changed status prediction without modifying anything.
  diff_mode:
    support: full
    description: Returns details on what has changed, or would have, as the table of the resource before and after.
  platform:
    support: full
    platforms: linux
    description: Runs on Linux.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: This module never changes anything.
  diff_mode:
    support: N/A
    description: There is nothing to compare.
  platform:
    support: full
    platforms: linux
    description: Runs on Linux.
"""
