# Everything that is done to this repository by hand or by CI. Targets with a ## comment are printed by `make`.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

# Every module but the tools, the root first. Each is tested in the workspace, and built without it as its users have it:
# but for those that need a version of the root module which is not published yet.
MODULES := $(filter-out tools,$(patsubst %/,%,$(dir $(wildcard go.mod bench/go.mod cmd/*/go.mod examples/*/go.mod))))
MODULES := $(patsubst ./,.,$(MODULES))
AHEAD   := $(shell for m in $(MODULES); do \
	grep -q 'brinepool/brine v0\.0\.0$$' $$m/go.mod && ! grep -q '^replace .*brinepool/brine ' $$m/go.mod && echo $$m; done)

# The tools are built from the versions in tools/go.mod, once, into a directory that git ignores.
BIN := $(CURDIR)/.cache/bin

# Added to every go test, say TESTFLAGS='-count=1 -v'.
TESTFLAGS ?=
# How long each fuzz target runs.
FUZZTIME ?= 10s
# Passed to the benchmarks, say BENCHFLAGS='-short'. The same with -h lists what there is.
BENCHFLAGS ?=

# The Python package has a virtual environment with its tests' needs and the linters, in the same directory, and so have
# its peers. PYTHON makes them; it must be 3.10 or newer.
PYTHON ?= python3
VENV   := $(CURDIR)/.cache/venv
# Where else there is Python; ruff treats it all alike.
PYTHON_DIRS := python bench/python bench/ledger examples tools internal/conformance
RUFF        := RUFF_CACHE_DIR=.cache/ruff $(VENV)/bin/ruff --config python/pyproject.toml
# What a program in a checkout needs to have Brine.
IN_CHECKOUT := PYTHONPATH=$(CURDIR)/python BRINE_ENGINE=$(BIN)/brine
PYTEST      := -m pytest -o cache_dir=$(CURDIR)/.cache/pytest
# Added to every pytest, say PYTESTFLAGS='-x -k hazards'.
PYTESTFLAGS ?=
# The interpreters of pytest-others, and what it runs with each.
PYTHONS     ?= $(shell $(PYTHON) tools/pythons.py)
SELECTION   ?= site dropin initret

# Packages with tests, so that the others are not listed as having none.
TESTED := go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: vet build unit race pytest ## vet, build and test everything; needs Go, Python, and a C compiler for the race detector

.PHONY: vet
vet: ## go vet of every module
	@for m in $(MODULES); do echo "== go vet: $$m"; (cd $$m && go vet ./...); done

.PHONY: build
build: ## build every module by itself, without the workspace
	@for m in $(filter-out $(AHEAD),$(MODULES)); do echo "== go build without go.work: $$m"; (cd $$m && GOWORK=off go build ./...); done

.PHONY: unit
unit: ## go test of every module
	@for m in $(MODULES); do echo "== go test: $$m"; (cd $$m && $(TESTED) | xargs -r go test $(TESTFLAGS)); done

.PHONY: race
race: ## go test of the root module under the race detector
	@if [ "$$(go env CGO_ENABLED)" = 1 ]; then \
		echo "== go test -race: ."; $(TESTED) | xargs -r go test -race $(TESTFLAGS); \
	else \
		echo "== go test -race: left out, it needs a C compiler"; \
	fi

.PHONY: pytest
pytest: $(VENV)/.done brine ## the tests of the Python package: PYTESTFLAGS=-x
	@echo "== pytest: $$($(VENV)/bin/python -V)"
	@$(IN_CHECKOUT) $(VENV)/bin/python $(PYTEST) $(PYTESTFLAGS) python/tests

.PHONY: pytest-others
pytest-others: brine ## some of them with every other Python that is found: PYTHONS=python3.13
	@for p in $(PYTHONS); do \
		v=.cache/venv-$$("$$p" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		if ! cmp -s python/requirements-test.txt $$v/.done; then \
			echo "== making $$v, once"; \
			"$$p" -m venv --clear $$v; \
			$$v/bin/python -m pip install -q --disable-pip-version-check -r python/requirements-test.txt; \
			cp python/requirements-test.txt $$v/.done; \
		fi; \
		echo "== pytest: $$($$v/bin/python -V)"; \
		$(IN_CHECKOUT) $$v/bin/python $(PYTEST) -q $(PYTESTFLAGS) $(patsubst %,python/tests/test_%.py,$(SELECTION)); \
	done

.PHONY: pytest-all
pytest-all: pytest pytest-others ## both

.PHONY: fuzz
fuzz: ## run each fuzz target for a while: FUZZTIME=10s
	@grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | while IFS=: read -r file func; do \
		echo "== $${func#func } in $$(dirname "$$file"), $(FUZZTIME)"; \
		go test -run='^$$' -fuzz="^$${func#func }\$$" -fuzztime=$(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/staticcheck $(VENV)/.done ## golangci-lint and staticcheck for every module; ruff and mypy
	@found=0; for m in $(MODULES); do \
		echo "== golangci-lint: $$m"; (cd $$m && $(BIN)/golangci-lint run ./...) || found=1; \
		echo "== staticcheck: $$m"; (cd $$m && $(BIN)/staticcheck ./...) || found=1; \
	done; \
	echo "== ruff: $(PYTHON_DIRS)"; \
	$(RUFF) check $(PYTHON_DIRS) || found=1; \
	$(RUFF) format --check --quiet --diff $(PYTHON_DIRS) || found=1; \
	echo "== mypy: python"; (cd python && $(VENV)/bin/mypy) || found=1; \
	exit $$found

.PHONY: fmt
fmt: $(BIN)/gofumpt $(VENV)/.done ## format all Go and Python files
	@$(BIN)/gofumpt -l -w .
	@$(RUFF) check -q --select I --fix $(PYTHON_DIRS)
	@$(RUFF) format $(PYTHON_DIRS)

.PHONY: cross
cross: ## vet and build the root module for the other systems, without C
	@for os in darwin freebsd; do \
		echo "== vet and build: $$os"; \
		GOWORK=off CGO_ENABLED=0 GOOS=$$os go vet ./...; \
		GOWORK=off CGO_ENABLED=0 GOOS=$$os go build ./...; \
	done

.PHONY: bench
bench: ## run the benchmarks against floors and peers: BENCHFLAGS=-short
	go run ./bench $(BENCHFLAGS)

.PHONY: bench-python
bench-python: $(VENV)-bench/.done brine ## Brine beside other pools of Python: BENCHFLAGS=--short
	@$(IN_CHECKOUT) $(VENV)-bench/bin/python bench/python/peers.py $(BENCHFLAGS)

.PHONY: examples
examples: ## run every example in Go
	@for d in $(dir $(wildcard examples/*/main.go)); do \
		case $$d in \
		examples/gosource/) args="$$(go env GOROOT)/src" ;; \
		examples/fixeddata/) args="-max 4000000 -turns 40" ;; \
		*) args= ;; \
		esac; \
		echo "== $$d"; (cd "$$d" && go run . $$args); \
	done

.PHONY: outputs
outputs: $(VENV)-examples/.done brine ## run the examples in Python, and put what they print into the documents
	@PATH=$(VENV)-examples/bin:$(BIN):$$PATH $(IN_CHECKOUT) python tools/outputs.py README.md docs/THE-BILL.md examples/python/*/README.md

.PHONY: brine
brine: ## build the command brine: .cache/bin/brine
	@go build -o $(BIN)/brine ./cmd/brine

.PHONY: venv
venv: $(VENV)/.done ## make the virtual environment of the Python package: .cache/venv

$(VENV)/.done:          requirements = python/requirements-dev.txt
$(VENV)/.done:          python/requirements-dev.txt python/requirements-test.txt
$(VENV)-bench/.done:    requirements = bench/python/requirements.txt
$(VENV)-bench/.done:    bench/python/requirements.txt
$(VENV)-examples/.done: requirements = examples/python/requirements.txt
$(VENV)-examples/.done: examples/python/requirements.txt
$(VENV)%.done:
	@echo "== making $(@D), once"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -q --disable-pip-version-check -r $(requirements)
	@touch $@

.PHONY: tools
tools: $(addprefix $(BIN)/,golangci-lint staticcheck gofumpt benchstat) ## build the tools

$(BIN)/golangci-lint: package = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(BIN)/staticcheck:   package = honnef.co/go/tools/cmd/staticcheck
$(BIN)/gofumpt:       package = mvdan.cc/gofumpt
$(BIN)/benchstat:     package = golang.org/x/perf/cmd/benchstat
$(BIN)/%: tools/go.mod tools/go.sum
	@echo "== building $*, once"
	@cd tools && GOWORK=off go build -o $@ $(package)

.PHONY: clean
clean: ## remove the built tools, and what building the wheel leaves
	rm -rf .cache python/build python/dist python/*.egg-info python/brine/_bin
