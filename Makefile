# Bare `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
CONFIG ?= config.yaml
DEVICE ?= cpu
DATA ?= ../shared/data
# What docs/results.md was printed with; every fold of the large sets takes longer: make results RESULTS=
RESULTS ?= --resamples 300 --judged-folds 2
INSTALLED := $(VENV)/.installed-$(DEVICE)
PINS := requirements/bootstrap.txt requirements/$(DEVICE).txt requirements/dev.txt requirements/environment.py

PEERS := litellm routellm

# The tests use only what the repository holds.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 VLLM_NO_USAGE_STATS=1 \
	DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0

.PHONY: help install serve test check format bench bench-peers profile study scaling results lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo "  Settings: CONFIG=$(CONFIG) (serve), DATA=$(DATA) (results, study), DEVICE=cpu|gpu (install), PYTHON=$(PYTHON) (3.11 or newer)"

install: $(INSTALLED) ## make the environment in .venv and install the pinned packages

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Pointsman needs Python 3.11 or newer, and '$(PYTHON)' is not: give one with PYTHON=python3.11." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "'$(PYTHON) -m venv' failed: install your system's python3-venv package, or give another PYTHON." >&2; \
		rm -rf $(VENV); exit 1; }

$(INSTALLED): $(PINS) pyproject.toml | $(VENV)/bin/python
	@$(VENV)/bin/python requirements/environment.py install --device $(DEVICE)
	@rm -f $(VENV)/.installed-* && touch $@

serve: install ## run the demo, or another application: make serve CONFIG=serve/configs/demo-experts.yaml
	@$(VENV)/bin/pointsman serve $(CONFIG)

test: install ## run every test; one part of them: make test TESTS=tests/unit
	@$(OFFLINE) $(VENV)/bin/pytest $(TESTS)

check: install ## lint, check the format and the types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: install ## format the code and apply the safe fixes of the linter
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: install ## measure Pointsman beside ray.serve.llm's own ingress, then plans, then every router alone
	@$(OFFLINE) $(VENV)/bin/pointsman bench

bench-peers: $(PEERS:%=.peers/%/.installed) ## measure Pointsman beside LiteLLM, RouteLLM and ray.serve.llm; shorter: make bench-peers ARGS="--users 1,64"
	@$(OFFLINE) $(VENV)/bin/python -m serve.peers $(ARGS)

profile: install ## say what a request costs each process, and what the Router spends it on
	@$(OFFLINE) $(VENV)/bin/python -m serve.profiling $(ARGS)

# What cannot be installed is left out of the comparison, which says so.
.peers/%/.installed: requirements/peers-%.txt requirements/environment.py | install
	@rm -f $@ && $(VENV)/bin/python requirements/environment.py peer --name $* && touch $@ || echo "$* is left out."

study: install ## compare all-large, all-small, routes and a cascade under load, for docs/load.md; shorter: make study ARGS="--only real"
	@$(OFFLINE) $(VENV)/bin/python -m serve.study --data $(DATA) $(ARGS)

results: install ## write docs/results.md and its pictures anew; one part: make results PART=pools
	@$(OFFLINE) $(VENV)/bin/python -m serve.results --data $(DATA) --out docs $(RESULTS) $(if $(PART),--only $(PART))

scaling: install ## measure autoscaling and growth, about 17 minutes; one part: make scaling ARGS="--only day"
	@$(OFFLINE) $(VENV)/bin/python -m serve.scaling --data $(DATA) --out docs $(ARGS)

lock: $(VENV)/bin/python ## resolve the pinned lists in requirements/ anew
	@$(VENV)/bin/python requirements/environment.py lock

clean: ## remove the environment and every cache
	@rm -rf $(VENV) .peers build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
