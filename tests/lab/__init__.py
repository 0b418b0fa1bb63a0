# SPDX-License-Identifier: GPL-3.0-or-later
"""A VPC in a box: EC2's control plane, its data plane with real packets, instance metadata, nodes and clients (DESIGN.md section 9)."""
