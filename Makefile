# `make demo` runs everything here, `make test` checks everything. Needs Python 3.11 or later with venv, and make.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
CODE := bus gateway fanout tocsin loadtest tests
NPM := $(shell command -v npm 2>/dev/null)
NODE := $(patsubst %/package-lock.json,%/node_modules/stamp,$(wildcard web/package-lock.json tests/*/package-lock.json))

# The tests start more than a thousand processes of ours, each of which would compile all that it runs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-test install-node demo test test-cluster test-sentinel quick lint types contracts coverage page load soak bench clean

help:
	@echo 'make demo [PORT=8000]   run the whole system and its page'
	@echo 'make install            make .venv and install into it, when needed'
	@echo 'make test               every check; quick: without the slow ones'
	@echo 'make test-cluster       the tests on a Redis Cluster; make test-sentinel: on a Sentinel trio'
	@echo 'make load               load test of a system of its own, with an HTML report'
	@echo 'make bench              the figures, as a table and in bench.json'
	@echo 'make soak               faults at random for ten minutes; SOAK="--site cluster --seconds 3600"'
	@echo 'make page               take the picture of the page again'
	@echo 'make clean              remove what the others made, but never data (.tocsin)'

# Installing: each stamp is newer than what it was made from, or it is made again ------------------------------------

install: .venv/stamp-install
install-test: .venv/stamp-test
install-node: $(NODE)

.venv/stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or later is needed; name one: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo 'python3 has no venv here; on Debian or Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@touch $@

.venv/stamp-install: pyproject.toml | .venv/stamp-venv
	$(PIP) -e '.[dev-server]'
	@touch $@

.venv/stamp-test: pyproject.toml | .venv/stamp-venv
	$(PIP) -e '.[test]'
	@touch .venv/stamp-install $@

%/node_modules/stamp: %/package-lock.json
ifdef NPM
	cd $* && npm ci --silent --no-audit --no-fund
	@touch $@
else
	@echo 'no npm here: the tests that need Node will be skipped'
endif

# Running ------------------------------------------------------------------------------------------------------------

demo: install
	@exec $(BIN)/tocsin dev --port $(PORT)

load: install-test
	$(BIN)/python -m loadtest.run $(LOAD)

soak: install-test
	$(BIN)/python -m tests.faults.soak $(SOAK)

bench: install-test
	$(BIN)/python -m loadtest.bench $(BENCH)

# Checking -----------------------------------------------------------------------------------------------------------

# So many files of tests at a time: one for each core, but three to six, for most of them wait for a process or a clock.
AT_ONCE ?= $(shell n=$$(getconf _NPROCESSORS_ONLN || echo 1); echo $$((n < 3 ? 3 : n > 6 ? 6 : n)))
SIDE_BY_SIDE = -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

test: install-test install-node lint types contracts coverage
	$(BIN)/pytest $(SIDE_BY_SIDE) $(PYTEST)

# The same tests on other forms of Redis; those about a single server, and those that try all forms anyway, stay out.
test-cluster test-sentinel: install-test install-node
	$(BIN)/pytest $(SIDE_BY_SIDE) --redis=$(@:test-%=%) -m 'not browser and not conformance' $(PYTEST)

quick: install-test lint types contracts
	$(BIN)/pytest -q -m 'not slow and not browser and not conformance' $(PYTEST)

lint: install-test
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .

types: install-test
	$(BIN)/mypy

# --debug, because without it a contract that names what does not exist ends in silence.
contracts: install-test
	@$(BIN)/lint-imports --no-logo --debug

coverage: install-test
	@$(BIN)/python tests/coverage_per_module.py

page: install-test
	$(BIN)/python docs/take_picture.py

clean:
	rm -rf .venv build dist reports bench.json *.egg-info web/node_modules tests/*/node_modules .coverage
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
