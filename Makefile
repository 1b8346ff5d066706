# Everything that people and CI run. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first Python that fits; choose another with `make venv PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo "$$python" && break; \
	done)
VENV := .venv
RUN := $(VENV)/bin/python
IMAGES ?= 10000
MINUTES ?= 30
ROUNDS ?= 4
export FOLDER
COMPILE := $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: help venv demo test lint up down bench bench-deps train faults clusters fuzz-deps soak web pictures lock onnx

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

demo: venv ## the whole road over the pictures in FOLDER=~/Pictures and over IMAGES=10000 digits, and searches; EXIT=1 ends after that
	@$(RUN) -m stack demo $(if $(FOLDER),--folder "$$FOLDER") --images "$(IMAGES)" $(if $(filter-out 0,$(EXIT)),--exit)

test: venv ## lint, types and every test; fetches what it needs
	@$(MAKE) --no-print-directory lint
	@$(RUN) -m stack fetch
	@$(RUN) -m pytest $(or $(ARGS),-n 2 --no-loadscope-reorder)

up: venv ## start the stack, detached; returns when it is ready
	@$(RUN) -m stack up

down: venv ## stop the stack; data stay
	@$(RUN) -m stack down

pictures: venv $(VENV)/.pictures ## take the README's screenshots, on stacks of their own
	@$(RUN) -m stack fetch
	@$(RUN) -m tests.browser.pictures

lint: venv ## ruff and mypy
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

faults: venv $(VENV)/.fuzz ## all tests that kill, cut off and damage things, and all that take long; LOOKALIKE_TEST_SEED=n repeats a run
	@$(RUN) -m stack fetch
	@$(if $(ARGS),,$(RUN) -m pytest -m "alone")
	@$(RUN) -m pytest -m "(faults or thorough) and not clusters $(if $(ARGS),,and not alone)" $(or $(ARGS),-n 2 --no-loadscope-reorder)

clusters: venv ## kill, freeze, empty and restart three brokers and three nodes under load, each server ROUNDS=4 times
	@$(RUN) -m stack fetch
	@LOOKALIKE_TEST_ROUNDS="$(ROUNDS)" $(RUN) -m pytest -m clusters $(ARGS)

fuzz-deps: venv $(VENV)/.fuzz ## install atheris, with which `make faults` fuzzes what reads strangers' bytes (Linux on x86-64)

soak: venv ## kill parts at random for MINUTES=30 while images come and searches go on, and judge every answer; SEED=n repeats it
	@$(RUN) -m stack fetch
	@$(RUN) -m tests.soak --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)")

bench: venv $(VENV)/.bench ## measure everything, an hour: bench/results, docs/plots, goals; ARGS="--only search-60000" for a part
	@$(RUN) -m stack fetch
	@$(RUN) -m bench all $(ARGS)

bench-deps: venv $(VENV)/.bench ## install the libraries and systems that are measured beside ours, and matplotlib

web: venv ## build the page anew: types from OpenAPI, then web/dist (needs Node 20)
	@cd web && npm ci --ignore-scripts
	@mkdir -p web/dist  # which the API looks for
	@$(RUN) -m api openapi > web/openapi.json
	@cd web && npm run -s types && npm run -s build

onnx: venv ## install ONNX Runtime, which imported ONNX networks need
	@$(VENV)/bin/uv pip install -q --python $(RUN) --require-hashes -r requirements-onnx.lock

train: .venv-train/.installed ## train an encoder with TensorFlow, in an environment of its own; ARGS=… for its options
	@.venv-train/bin/python -m model train $(ARGS)

venv: $(VENV)/.command ## build the Python environment in .venv, with the command `lookalike`

lock: venv ## resolve the requirements*.in files again
	$(COMPILE) requirements.in -o requirements.lock
	$(COMPILE) requirements-dev.in -c requirements.lock -o requirements-dev.lock
	$(COMPILE) requirements-onnx.in -c requirements.lock -o requirements-onnx.lock
	$(COMPILE) requirements-bench.in -c requirements.lock -o requirements-bench.lock
	$(COMPILE) --no-deps requirements-pictures.in -o requirements-pictures.lock
	$(COMPILE) --no-deps requirements-fuzz.in -o requirements-fuzz.lock
	$(COMPILE) requirements-train.in -c requirements.lock -o requirements-train.lock

# uv installs in seconds what takes pip minutes. It is itself locked, in requirements-dev.lock; pip fetches it.
define install
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Building $(1) …"
	@$(PYTHON) -m venv $(1)
	@awk '/^[a-z]/ {on = /^uv==/} on' requirements-dev.lock > $(1)/uv.lock
	@$(1)/bin/pip install -q --disable-pip-version-check --require-hashes --no-deps -r $(1)/uv.lock
	@$(1)/bin/uv pip install -q --python $(1)/bin/python --require-hashes $(addprefix -r ,$(2))
endef

$(VENV)/.installed: requirements.lock requirements-dev.lock
	$(call install,$(VENV),$^)
	@touch $@

# The command and its client, editable: both stay in this folder.
$(VENV)/.command: $(VENV)/.installed pyproject.toml clients/python/pyproject.toml
	@$(VENV)/bin/uv pip install -q --python $(RUN) --no-deps -e . -e clients/python
	@touch $@

.venv-train/.installed: requirements.lock requirements-train.lock
	$(call install,.venv-train,$^)
	@touch $@

$(VENV)/.pictures: requirements-pictures.lock $(VENV)/.installed
	@$(VENV)/bin/uv pip install -q --python $(RUN) --no-deps --require-hashes -r $<
	@touch $@

$(VENV)/.fuzz: requirements-fuzz.lock $(VENV)/.installed
	@$(VENV)/bin/uv pip install -q --python $(RUN) --no-deps --require-hashes -r $<
	@touch $@

$(VENV)/.bench: requirements-bench.lock $(VENV)/.installed
	@$(VENV)/bin/uv pip install -q --python $(RUN) --require-hashes -r $<
	@touch $@
