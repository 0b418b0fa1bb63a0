# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``."""

import sys

from lab.command import main

sys.exit(main())
