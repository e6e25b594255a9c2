# Every word works on a fresh clone: each first makes the environment it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
.DEFAULT_GOAL := help
# One build at a time: the words may be run side by side.
BUILD_LOCK := flock build/lock

.PHONY: help demo test lint type bench fuzz sanitize dist build dev clean

help:            ## list the words
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/made:
	@$(PYTHON) build_check.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml setup.py $(wildcard core/*.pyx core/*.pxd core/*.h)
	@mkdir -p build
	$(BIN)/python -m pip install --quiet --group build
	$(BUILD_LOCK) $(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	touch $@

$(VENV)/test-tools: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group test --group oracles
	touch $@

$(VENV)/lint-tools: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group lint --group test
	touch $@

$(VENV)/bench-tools: $(VENV)/test-tools
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

build: $(VENV)/installed     ## build the package in place

dev: $(VENV)/lint-tools $(VENV)/bench-tools     ## everything a developer needs

test: $(VENV)/test-tools     ## set up and pass the tests
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/lint-tools     ## format and lint checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/cython-lint core

type: $(VENV)/lint-tools     ## mypy strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

clean:           ## remove what the other words made
	rm -rf build dist $(VENV) $(VENV)-* *.egg-info core/*.so
