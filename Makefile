# `make` lists the targets. PYTHON names the interpreter to start from (3.11 or later).
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help run test test-slow test-all faults bench lint lock seed clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: ## Start everything on this machine: PORT=8080 TENANT_PORT=8081; Ctrl-C stops it
	@deploy/local/bootstrap.sh run && exec setpriv --pdeathsig TERM $(PY) deploy/local/run.py

test: ## Run the fast tests, two at a time: ARGS="-k search -x" goes to pytest
	@deploy/local/bootstrap.sh test && exec $(PY) -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test-slow: ## Run the tests of tests/slow, and the property tests with more examples: ARGS as above
	@deploy/local/bootstrap.sh test-slow && \
		exec $(PY) -m pytest $(PARALLEL) -m "slow or hypothesis" --hypothesis-profile=all $(ARGS)

test-all: ## Run all tests: `make test`, then `make test-slow`, both in any case
	@fast=0; $(MAKE) test || fast=1; $(MAKE) test-slow && exit $$fast

faults: ## Break workers, database and bus under clients that chat, over and over: FAULTS=60
	@deploy/local/bootstrap.sh test-slow && FAULTS=$(or $(FAULTS),60) exec $(PY) -m pytest tests/slow/chaos $(ARGS)

bench: ## Measure the service beside what it could reach: ROWS="radius one" SECONDS=3 ARGS=--list
	@deploy/local/bootstrap.sh bench && \
		exec setpriv --pdeathsig TERM $(PY) -m tests.benchmarks --seconds $(or $(SECONDS),3) $(ARGS) $(ROWS)

lint: ## Check style, types, import rules, systemd units, known vulnerabilities, and that the migrations match the models
	@deploy/local/bootstrap.sh lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m deploy.local.check_migrations
	$(PY) -m deploy.local.check_units
	@if $(PY) -c "import requests; requests.head('https://api.osv.dev', timeout=10)" 2>/dev/null; then \
		$(PY) -m pip_audit --progress-spinner off -s osv --disable-pip --require-hashes -r tests/requirements.txt; \
	else echo "lint: https://api.osv.dev cannot be reached, so no package was checked for known vulnerabilities"; fi

# Outside .venv, because it needs packages that nothing else does. The files name no package index.
LOCK = .local/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --annotation-style=line \
	--no-emit-index-url --no-emit-trusted-host --no-emit-options
lock: ## Resolve requirements.in into exact versions with hashes: UPGRADE=--upgrade for newer ones
	@test -x .local/lock/bin/pip-compile || \
		{ $(or $(PYTHON),python3) -m venv .local/lock && .local/lock/bin/pip install --quiet pip-tools==7.6.2; }
	CUSTOM_COMPILE_COMMAND='make lock' $(LOCK) $(UPGRADE) --output-file requirements.txt requirements.in
	CUSTOM_COMPILE_COMMAND='make lock' $(LOCK) $(UPGRADE) --output-file tests/requirements.txt tests/requirements.in
	CUSTOM_COMPILE_COMMAND='make lock' $(LOCK) $(UPGRADE) --output-file tests/benchmarks/requirements.txt tests/benchmarks/requirements.in

seed: ## Fill the database of a running `make run` for load tests: LISTINGS=200000
	@test -f .local/run/env || { echo "make seed: start 'make run' in another terminal first" >&2; exit 1; }
	$(PY) -m flask --env-file .local/run/env seed --listings $(or $(LISTINGS),200000)

clean: ## Remove .venv and .local with the local database; refuses while `make run` is up
	@test ! -e .local/run/lock || flock --nonblock .local/run/lock true || { echo "make clean: 'make run' is up" >&2; exit 1; }
	rm -rf .venv .local
