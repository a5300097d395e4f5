# One place for every task. `make help` lists the targets; CI runs `make test` (.ci/run) and nothing else.
# Needs Python >= 3.11 with venv, and make. Everything else is installed into .venv from requirements.lock, by hash.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
READY := $(VENV)/.ready
BUILD := .build
STARTER ?= starter
# numba's disk cache remembers neither NUMBA_BOUNDSCHECK nor what else a run was compiled with: a warm cache would hand the
# boundscheck run unchecked code. So every way of running has a cache of its own.
CACHE = NUMBA_CACHE_DIR=$(CURDIR)/$(BUILD)/numba
PYTEST := $(PY) -m pytest --no-header
LOCK_COMMAND := $(BIN)/uv pip compile --quiet --no-emit-index-url --no-emit-find-links --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock"
KERNEL_TESTS := -m "kernel and not slow"

##@ Use it

.PHONY: help
help: ## list every target
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## create .venv with the locked versions and .venv/bin/riskengine

# pip fetches uv, uv the rest: 30 s with empty caches where pip alone takes 120 s. uv does not read pip.conf, so where only
# pip knows the way to a package index, pip does it all.
$(READY): requirements.lock requirements-bootstrap.lock pyproject.toml
	@python=$$(for candidate in $(PYTHON) python3.11 python3; do \
		if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo $$candidate; break; fi; done); \
	if [ -z "$$python" ]; then \
		echo "make setup: no Python >= 3.11 with venv found; install python3.11 and python3.11-venv, or say make PYTHON=/path/to/python" >&2; \
		exit 1; fi; \
	test -x $(PY) || { echo "make setup: creating $(VENV) with $$python"; $$python -m venv $(VENV); }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@echo "make setup: installing the locked versions"
	@$(BIN)/uv pip sync --quiet --python $(PY) --require-hashes requirements.lock \
		|| $(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "make setup: ready; try make demo, or $(BIN)/riskengine --help"

.PHONY: demo
demo: $(READY) ## simulate, train, serve, and watch fraud unfold: the whole engine in about two minutes
	@$(BIN)/riskengine demo

.PHONY: serve
serve: $(READY) ## start the server on the starter configuration in ./starter (made if absent)
	@test -e $(STARTER)/server.yaml || $(BIN)/riskengine init $(STARTER)
	@$(BIN)/riskengine serve $(STARTER)

##@ Prove it

.PHONY: test
test: check ## create the environment and run what CI runs

.PHONY: check
check: $(READY) ## lint, protos-check, test-fast, test-kernels, bench-smoke, in this order
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory protos-check
	@$(MAKE) --no-print-directory test-fast
	@$(MAKE) --no-print-directory test-kernels
	@$(MAKE) --no-print-directory bench-smoke
	@echo "make check: all passed"

.PHONY: lint
lint: $(READY) ## formatting, ruff, mypy --strict, import layers, the README's figures
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PY) -m tools.tables --check

.PHONY: protos-check
protos-check: $(READY) ## buf lint, buf breaking against protos/baseline.binpb, generated code is current
	$(PY) -m tools.protos check

.PHONY: test-fast
test-fast: $(READY) ## every test that is not marked slow
	$(CACHE)/jit $(PYTEST) -m "not slow"

.PHONY: test-kernels
test-kernels: $(READY) ## kernel tests as plain Python with coverage, then compiled with bounds checks
	$(CACHE)/interpreted NUMBA_DISABLE_JIT=1 HYPOTHESIS_PROFILE=interpreted \
		$(PY) -m coverage run -m pytest --no-header $(KERNEL_TESTS)
	$(PY) -m coverage report
	$(CACHE)/checked NUMBA_BOUNDSCHECK=1 $(PYTEST) $(KERNEL_TESTS)

.PHONY: test-slow
test-slow: $(READY) ## the tests marked slow
	$(CACHE)/jit $(PYTEST) -m slow

.PHONY: fuzz
fuzz: $(READY) ## property tests with fresh seeds and fifty times the examples (minutes to hours)
	$(CACHE)/jit HYPOTHESIS_PROFILE=fuzz $(PYTEST) -m property --timeout=3600

.PHONY: soak
soak: $(READY) ## hours of kills, power losses, full disks (SOAK="kills --kills 100 --minutes 10" for a part)
	@$(CACHE)/jit $(PY) -m tools.soak $(SOAK)

.PHONY: sabotage
sabotage: $(READY) ## break the code on purpose, one way at a time, and expect a check to turn red
	$(PY) -m tools.sabotage

##@ Measure it

.PHONY: bench
bench: $(READY) ## run the benchmarks; each appends to benchmarks/results/*.jsonl
	@$(PY) -m tools.bench
	@$(PY) -m tools.tables
	@$(PY) -m tools.plots

.PHONY: tables
tables: $(READY) ## write the figures of the README from benchmarks/results
	@$(PY) -m tools.tables

.PHONY: plots
plots: $(READY) ## draw the pictures of the README from benchmarks/results
	@$(PY) -m tools.plots

.PHONY: bench-smoke
bench-smoke: $(READY) ## run every benchmark at its smallest size: does it still work?
	@$(PY) -m tools.bench --smoke

##@ Keep it

.PHONY: format
format: $(READY) ## format the code and apply ruff's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: protos
protos: $(READY) ## regenerate the code of protos/ into riskengine/
	$(PY) -m tools.protos generate

.PHONY: protos-baseline
protos-baseline: $(READY) ## at a release only: today's protos become the ones not to break
	$(PY) -m tools.protos baseline

.PHONY: lock
lock: $(READY) ## pin versions and hashes anew for what pyproject.toml asks (LOCK=--upgrade for newer ones)
	$(LOCK_COMMAND) $(LOCK) --all-extras pyproject.toml --output-file requirements.lock
	echo uv | $(LOCK_COMMAND) --constraint requirements.lock --no-annotate - --output-file requirements-bootstrap.lock

.PHONY: clean
clean: ## remove .venv and all caches; what the engine wrote (./starter) stays
	rm -rf $(VENV) $(BUILD) .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage dist
	find riskengine tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +
