# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks: a program in each ``bench_*.py``, which `tests/holdfast-bench` starts, and what they share."""
