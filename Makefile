# Everything that is done to this repository by hand or by CI. Targets with a ## comment are printed by `make`.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

# Every module but the tools, the root first. Each is tested in the workspace, and built without it as its users have it.
MODULES := $(filter-out tools,$(patsubst %/,%,$(dir $(wildcard go.mod bench/go.mod cmd/*/go.mod examples/*/go.mod))))
MODULES := $(patsubst ./,.,$(MODULES))

# The tools are built from the versions in tools/go.mod, once, into a directory that git ignores.
BIN := $(CURDIR)/.cache/bin

# Added to every go test, say TESTFLAGS='-count=1 -v'.
TESTFLAGS ?=
# How long each fuzz target runs.
FUZZTIME ?= 10s
# Passed to the benchmarks, say BENCHFLAGS='-short'. The same with -h lists what there is.
BENCHFLAGS ?=

# Packages with tests, so that the others are not listed as having none.
TESTED := go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: vet build unit race ## vet, build and test every module; needs nothing but Go, and a C compiler for the race detector

.PHONY: vet
vet: ## go vet of every module
	@for m in $(MODULES); do echo "== go vet: $$m"; (cd $$m && go vet ./...); done

.PHONY: build
build: ## build every module by itself, without the workspace
	@for m in $(MODULES); do echo "== go build without go.work: $$m"; (cd $$m && GOWORK=off go build ./...); done

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

.PHONY: fuzz
fuzz: ## run each fuzz target for a while: FUZZTIME=10s
	@grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | while IFS=: read -r file func; do \
		echo "== $${func#func } in $$(dirname "$$file"), $(FUZZTIME)"; \
		go test -run='^$$' -fuzz="^$${func#func }\$$" -fuzztime=$(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/staticcheck ## golangci-lint with .golangci.yaml, and staticcheck, for every module
	@found=0; for m in $(MODULES); do \
		echo "== golangci-lint: $$m"; (cd $$m && $(BIN)/golangci-lint run ./...) || found=1; \
		echo "== staticcheck: $$m"; (cd $$m && $(BIN)/staticcheck ./...) || found=1; \
	done; exit $$found

.PHONY: fmt
fmt: $(BIN)/gofumpt ## format all Go files
	@$(BIN)/gofumpt -l -w .

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

.PHONY: examples
examples: ## run every example
	@for d in examples/*/; do \
		case $$d in \
		examples/gosource/) args="$$(go env GOROOT)/src" ;; \
		examples/fixeddata/) args="-max 4000000 -turns 40" ;; \
		*) args= ;; \
		esac; \
		echo "== $$d"; (cd "$$d" && go run . $$args); \
	done

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
clean: ## remove the built tools
	rm -rf .cache
