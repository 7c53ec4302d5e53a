# make run    serve the demo world on 127.0.0.1:8000 (PORT=... for another port)
# make demo   show the engine in one go and end
# make test   all tests
# make soak   the longer forms of tests: 20 kills of a service under load, in 2 minutes
# make sbom   write sbom.json, a list of all pinned packages (CycloneDX)
# make check  format, lint, types and tests
# make native compile the loops of recsys/kernels in place (make run, demo and test have done it)
# make clean  forget the demo: data, artifact, state of people, caches

PORT ?= 8000
STATE ?= var/state.db
## The file of the demo is this folder's own, so whoever starts it vouches for the clock. Other files are guarded.
CONFIRM :=
ifeq ($(STATE),var/state.db)
CONFIRM := SANAD_CLOCK_CONFIRMED_AT=$$(date -u +%Y-%m-%dT%H:%M:%SZ)
endif
export PYTHON
## everything that is needed is in the packages; nothing may ask a hub
export SANAD_CACHE := $(CURDIR)/.cache
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export PYTHONUTF8 := 1

SANAD := .venv/bin/sanad
PINS := pyproject.toml constraints.txt scripts/setup $(wildcard recsys/kernels/*.[ch])

.PHONY: help run demo test soak sbom check native clean

help:
	@sed -n 's/^# //p' Makefile

run: .venv/ready-run
	@$(SANAD) demo --prepare
	@exec env $(CONFIRM) $(SANAD) serve var/artifact --state $(STATE) --port $(PORT)

demo: .venv/ready-run
	@$(SANAD) demo

test: .venv/ready-dev
	@.venv/bin/python -m pytest

soak: .venv/ready-dev
	@.venv/bin/python -m pytest -m soak --soak -s

sbom:
	@scripts/sbom

check: .venv/ready-dev
	@scripts/check

.venv/ready-run: $(PINS)
	@scripts/setup run

.venv/ready-dev: $(PINS)
	@scripts/setup dev

native:
	@.venv/bin/python -c 'from setuptools import setup; setup()' --quiet build_ext --inplace

clean:
	@echo "Wiping var/ (demo data, artifact, state and events of people) and .cache/ (encoder, vectors)."
	@rm -rf var .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@echo "The packages in .venv stay; 'rm -r .venv' wipes them too."
