# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker as `python -m`, from a checkout. The collection's artifact has `main` alone: Galaxy's importer refuses this file's name."""

from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._checker.main import main

if __name__ == "__main__":
    raise SystemExit(main())
