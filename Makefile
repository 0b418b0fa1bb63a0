# SPDX-License-Identifier: GPL-3.0-or-later
# The front doors. Each installs what it needs: see tests/front-door.

.PHONY: help demo test test-all

help:
	@echo "make demo       a VPC in a box: two nodes, a service, faults one after another, and the outage that clients saw"
	@echo "make test       the gates, all unit tests, an integration test for each scenario, the exclusivity tests: some 10 minutes on two cores"
	@echo "make test-all   everything, also nodes that boot and the long tests: some 65 minutes on two cores"

demo test test-all:
	@tests/front-door $@
