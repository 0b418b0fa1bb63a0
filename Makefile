# SPDX-License-Identifier: GPL-3.0-or-later
# The front doors. Each installs what it needs: see tests/front-door.

.PHONY: help demo test test-all

help:
	@echo "make demo       a VPC in a box: two nodes, a service, faults one after another, and the outage that clients saw"
	@echo "make test       the gates (lint, types, documentation, ansible-test), all unit tests, one integration test for each scenario: 12 minutes"
	@echo "make test-all   everything: all integration tests, also the long ones: TODO minutes"

demo test test-all:
	@tests/front-door $@
