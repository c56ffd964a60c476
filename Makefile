# make demo and make test: nothing else to know on day one. Both set everything up by themselves.
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-deep check format lock system docs clean

PYTHON := .venv/bin/python
# the rooms are linted through their links: there their relative imports mean what they say
LINTED := custody custody/flows custody/policies custody/dependencies custody/sandbox custody/ledger custody/reports tests benchmarks tools examples
# deep: the same tests with the full counts (kills, soaks, mutations)
CUSTODY_TEST_DEPTH ?= quick
export CUSTODY_TEST_DEPTH

help:
	@echo "make demo    set everything up, send real agent programs through every real step, leave a report"
	@echo "make test    set everything up, run the tests"
	@echo "make check   formatter, linter, types, import contracts, wheel"
	@echo "make system  install what tests of pages need from Debian (root)"
	@echo "make lock    renew the requirement files"

setup:
	@tools/bootstrap.sh

demo: setup
	@env -u SUDO_UID .venv/bin/custody demo --into custody-demo

test: setup
	@$(PYTHON) -m pytest $(PYTEST) --cov --cov-report=
	@$(PYTHON) tools/coverage_rooms.py

test-deep:
	@CUSTODY_TEST_DEPTH=deep $(MAKE) --no-print-directory test

check: setup
	@$(PYTHON) -m ruff format --check --quiet $(LINTED) || { echo "error: run make format" >&2; exit 1; }
	@$(PYTHON) -m ruff check --quiet $(LINTED)
	@$(PYTHON) -m mypy custody tests
	@.venv/bin/lint-imports --no-logo
	@$(PYTHON) -m pytest -q -p no:randomly tests/test_docs.py tests/test_layout.py
	@$(PYTHON) tools/check_wheel.py

format: setup
	@$(PYTHON) -m ruff format $(LINTED)
	@$(PYTHON) -m ruff check --fix $(LINTED)

docs: setup
	@$(PYTHON) tools/make_docs.py

lock:
	@tools/lock.sh

system:
	@tools/system.sh

clean:
	rm -rf .venv .bootstrap .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build .coverage .coverage.* custody-demo
