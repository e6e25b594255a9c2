# Every word works on a fresh clone: each first makes the environment it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The releases that the tests pass with: what others release changes nothing here by itself.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# One build at a time: the words may be run side by side.
BUILD_LOCK := flock build/lock

.PHONY: help demo test score chaos chaos-stream lint type bench fuzz sanitize dist build dev clean stack constraints

help:            ## list the words
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/made:
	@$(PYTHON) build_check.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/installed: $(VENV)/made constraints.txt pyproject.toml setup.py $(wildcard core/*.pyx core/*.pxd core/*.h)
	@mkdir -p build
	$(PIP_INSTALL) --group build
	$(BUILD_LOCK) $(PIP_INSTALL) --no-build-isolation --editable ".[kafka]"
	touch $@

$(VENV)/test-tools: $(VENV)/installed
	$(PIP_INSTALL) --group test --group oracles
	touch $@

$(VENV)/lint-tools: $(VENV)/installed
	$(PIP_INSTALL) --group lint --group test
	touch $@

$(VENV)/bench-tools: $(VENV)/test-tools
	$(PIP_INSTALL) --group bench
	touch $@

build: $(VENV)/installed     ## build the package in place

dev: $(VENV)/lint-tools $(VENV)/bench-tools     ## everything a developer needs

$(VENV)/servers: $(VENV)/installed loadtest/servers/pom.xml
	$(BIN)/python -m reassoc.loadtest.servers.install
	touch $@

# File after file, as they come: those that take minutes wait for servers, and stand next to each other.
test: $(VENV)/test-tools $(VENV)/servers     ## set up and pass the tests, on servers of their own
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

STACK_WORKERS ?= 2

stack: $(VENV)/servers     ## Kafka, Redis, PostgreSQL and workers on this machine, without containers
	$(BIN)/python -m reassoc.loadtest.servers.stack --folder build/stack --workers $(STACK_WORKERS)

lint: $(VENV)/lint-tools     ## format and lint checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint core
	$(BIN)/clang-format --dry-run --Werror core/*.h

type: $(VENV)/lint-tools     ## mypy strict and pyright
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(VENV)/bench-tools     ## the benches; each asserts the answer it timed
	mkdir -p build/bench
	cd bench && POLARS_MAX_THREADS=1 ../$(BIN)/python -m pytest -q -p no:cacheprovider . \
		--benchmark-columns=min,median,max,rounds --benchmark-json=../build/bench/last.json
	$(BIN)/python bench/report.py build/bench/last.json

# Seeds of each of the two profiles, and payments of each feed; a feed is removed once it is scored.
SCORE_SEEDS ?= 10
SCORE_PAYMENTS ?= 100000

score: $(VENV)/installed     ## generated feeds matched and held against their truth; fails where money could go wrong
	$(BIN)/python -m reassoc.loadtest.scoring_run --seeds $(SCORE_SEEDS) --payments $(SCORE_PAYMENTS) --claims 1.2 --work build/score

# Processes that are killed, and payments of the feed; 300 kills take about ten minutes.
CHAOS_SEED ?= 1
CHAOS_KILLS ?= 300
CHAOS_PAYMENTS ?= 1000

chaos: $(VENV)/installed     ## a warehouse that is killed all the time, held against one that is left in peace
	rm -rf build/chaos
	$(BIN)/python -m reassoc.loadtest.chaos --seed $(CHAOS_SEED) --kills $(CHAOS_KILLS) --payments $(CHAOS_PAYMENTS) --work build/chaos

# Things that happen to servers and workers, and payments of the feed; 60 take about ten minutes.
STREAM_KILLS ?= 60
STREAM_PAYMENTS ?= 2000

chaos-stream: $(VENV)/installed     ## a stream of workers and servers that are killed all the time, held against a quiet run
	rm -rf build/chaos-stream
	$(BIN)/python -m reassoc.loadtest.stream_chaos --seed $(CHAOS_SEED) --kills $(STREAM_KILLS) --payments $(STREAM_PAYMENTS) --work build/chaos-stream

DEMO_PAYMENTS ?= 2000
demo: $(VENV)/installed     ## make a small feed, run the main job on it and show the result
	rm -rf build/demo
	mkdir -p build/demo
	$(BIN)/reassoc generate --out build/demo/feed --payments $(DEMO_PAYMENTS) --seed 7 --defects
	$(BIN)/reassoc match build/demo/feed --directory build/demo/feed/directory.toml \
		--layout build/demo/feed/lockbox.layout.toml --out build/demo/out --as-of 2026-03-31
	@echo
	@head -n 4 build/demo/out/matches.csv
	@echo "... the rest of it lies in build/demo/out: matches.csv, remittances.csv, payments.csv, links.csv, findings.csv, released/"
	@echo
	@echo "One of the matches that wait for a person:"
	@$(BIN)/reassoc explain build/demo/out $$(grep -m1 ',review,T6,' build/demo/out/matches.csv | cut -c1-16)
	@echo
	@echo "The result held against the truth of the feed (reassoc score build/demo/out build/demo/feed):"
	@$(BIN)/reassoc score build/demo/out build/demo/feed | sed -n '/^By tier/,/^ total/{/^ total/G;p};/^Shares/,$$p'
	@echo
	@echo "The same feed in a warehouse, which holds 835s until their money is there (build/demo/home):"
	@mkdir -p build/demo/home/layouts
	@cp -r build/demo/feed build/demo/home/in && rm build/demo/home/in/truth.csv
	@mv build/demo/home/in/directory.toml build/demo/home/
	@mv build/demo/home/in/lockbox.layout.toml build/demo/home/layouts/
	@find build/demo/home/in -type f -exec touch -d '1 minute ago' {} +
	$(BIN)/reassoc serve --home build/demo/home --drain --as-of 2026-03-31
	@echo
	@echo "A week of a warehouse, to watch: $(BIN)/reassoc serve --demo"

constraints: $(VENV)/bench-tools $(VENV)/lint-tools     ## take the newest releases of what is used; then test and commit
	$(BUILD_LOCK) $(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --no-build-isolation \
		--group build --group test --group oracles --group lint --group bench --editable ".[kafka]"
	$(BIN)/python -m pip check
	{ echo "# The releases that the tests pass with. \"make constraints\" writes it."; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

dist: $(VENV)/installed     ## source distribution and wheel
	$(PIP_INSTALL) build
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean:           ## remove what the other words made
	rm -rf build dist $(VENV) $(VENV)-* *.egg-info core/*.so

# Seconds for each of the fuzzers; a find ends the run and is kept under tests/fuzz/crashers.
FUZZ_SECONDS ?= 60

fuzz: $(VENV)/test-tools     ## mutation fuzzing of the readers over the samples
	cd tests && ../$(BIN)/python -m fuzz.fuzz_x12 --seconds $(FUZZ_SECONDS)
	cd tests && ../$(BIN)/python -m fuzz.fuzz_ach --seconds $(FUZZ_SECONDS)
	cd tests && ../$(BIN)/python -m fuzz.fuzz_bai2 --seconds $(FUZZ_SECONDS)

# The sanitizers need their own build. It stands beside the real one, in a copy of the sources, so
# that neither overwrites the other's extensions; the tests then import it because it comes first.
SANITIZED := build/sanitize
SANITIZE_CC ?= gcc
SANITIZE_ENV = PYTHONPATH=$(abspath $(SANITIZED))/build/pkgroot PYTHONMALLOC=malloc \
	LD_PRELOAD="$$($(SANITIZE_CC) -print-file-name=libasan.so) $$($(SANITIZE_CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:allow_user_segv_handler=1 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 REASSOC_HYPOTHESIS=$(SANITIZE_HYPOTHESIS)
SANITIZE_HYPOTHESIS ?= quick
SANITIZE_SECONDS ?= 30
SANITIZE_SOURCES = setup.py pyproject.toml $(wildcard README.md LICENSE) core stream loadtest
SANITIZE_TESTS ?= tests/unit tests/property tests/golden tests/fuzz

sanitize: $(VENV)/test-tools     ## the tests and the fuzzers under ASan and UBSan
	mkdir -p $(SANITIZED)
	tar -cf - --exclude='*.so' --exclude=__pycache__ $(SANITIZE_SOURCES) | tar -C $(SANITIZED) -xf -
	cd $(SANITIZED) && CC=$(SANITIZE_CC) REASSOC_SANITIZE=1 ../../$(BIN)/python setup.py --quiet build_ext --inplace
	$(SANITIZE_ENV) $(BIN)/python tests/sanitizer_check.py $(abspath $(SANITIZED))
	$(SANITIZE_ENV) $(BIN)/python -m pytest -q -p no:cacheprovider $(SANITIZE_TESTS)
	cd tests && $(SANITIZE_ENV) ../$(BIN)/python -m fuzz.fuzz_x12 --seconds $(SANITIZE_SECONDS)
	cd tests && $(SANITIZE_ENV) ../$(BIN)/python -m fuzz.fuzz_ach --seconds $(SANITIZE_SECONDS)
	cd tests && $(SANITIZE_ENV) ../$(BIN)/python -m fuzz.fuzz_bai2 --seconds $(SANITIZE_SECONDS)
