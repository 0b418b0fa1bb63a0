# SPDX-License-Identifier: GPL-3.0-or-later
# Two front doors. Each brings what it needs: see tests/front-door.

.PHONY: help demo test

help:
	@echo "make demo   a VPC in a box: two nodes, a service, faults one after another, and the outage that clients saw"
	@echo "make test   every check: lint, types, documentation, ansible-test, unit and integration tests"

demo test:
	@tests/front-door $@
