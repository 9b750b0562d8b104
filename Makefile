SHELL := /bin/bash

# Every module of this repository, the root one last.
MODULES := $(shell find . -name go.mod -not -path '*/testdata/*' -exec dirname {} \; | sort -r)
LINT    := $(shell go env GOPATH)/bin/golangci-lint

# each runs a command in every module, and stops at the first that fails.
each = @set -e; for module in $(MODULES); do (cd $$module; echo "[$$module] $(1)"; $(1)); done

.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## Run all tests with the race detector, on PostgreSQL, SQLite and MariaDB: 10 minutes or more
	@scripts/test.sh

.PHONY: quick
quick: ## Run go vet and the tests that need nothing but Go: under a minute
	@scripts/quick.sh

.PHONY: chaos
chaos: postgres ## Run the long form of the tests that kill workers, for releases: 10 minutes at most
	set -o pipefail; DATAFLOW_CHAOS=long go test -tags chaos -v -count=1 -timeout 15m ./internal/chaos | grep --line-buffered -v '^=== '

.PHONY: week
week: postgres ## Run a whole simulated week of 500 flows' schedules on each database, for releases: about 10 minutes
	set -o pipefail; DATAFLOW_CHAOS=long go test -v -count=1 -timeout 30m ./internal/week | grep --line-buffered -v '^=== '

.PHONY: together
together: postgres ## Run two workers and every command on one PostgreSQL at once, and kill workers, for releases: 2 minutes at most
	DATAFLOW_CLI_LONG=1 go test -race -v -count=1 -timeout 10m -run '^TestTogether$$' ./internal/cli

.PHONY: versions
versions: ## Run the tests of the Postgres driver, pgtable and pgchange, and the quickstart, on PostgreSQL 13 to 18: about 10 minutes
	scripts/versions.sh 13 14 15 16 17 18

.PHONY: changes
changes: ## Follow changes while workers are killed and the server restarts, on PostgreSQL 13 to 18, for releases: an hour at most
	scripts/changes.sh 13 14 15 16 17 18

.PHONY: ruby
ruby: ## Run the Ruby gem's own classes against this library's JSON, which needs Ruby and the gem's source
	scripts/ruby.sh

.PHONY: model
model: ## Check the model of claims, leases and checkpoints, which needs spin and gcc
	internal/chaos/model/check.sh

.PHONY: check
check: formatted ## Check formatting, vet, lint and go.mod; run it before each commit
	scripts/workspace.sh go vet -tags chaos
	scripts/workspace.sh $(LINT) run --build-tags chaos
	$(call each,go mod tidy -diff)

.PHONY: formatted
formatted: golangci-lint ## Check formatting only
	$(call each,$(LINT) fmt --diff)

.PHONY: fmt
fmt: golangci-lint ## Format all Go files
	$(call each,$(LINT) fmt)

.PHONY: lint
lint: golangci-lint ## Run the linters only
	scripts/workspace.sh $(LINT) run --build-tags chaos

.PHONY: compile-time
compile-time: ## Measure the CPU time to build 1 flow, and 20 flows of 20 types; see docs/benchmarks.md
	scripts/compile-time.sh

.PHONY: bench
bench: postgres ## Compare flows with what does the same work without the library; see docs/benchmarks.md
	cd benchmarks && go run .

.PHONY: bench-scale
bench-scale: postgres ## Measure what a run costs beside a job of River, many flows, and millions of ended runs: an hour or more
	cd benchmarks && go run ./scale $(SCALE)

.PHONY: quickstart
quickstart: ## Run examples/quickstart
	go run ./examples/quickstart

.PHONY: clean
clean: ## Remove what tests, examples and builds leave behind
	rm -rf bin coverage coverage.*
	find . \( -name .git -o -name testdata \) -prune -o -type f \( -name '*.db' -o -name '*.db-wal' -o -name '*.db-shm' \) -exec rm -f {} +

.PHONY: postgres
postgres:
	@scripts/ensure-postgres.sh

.PHONY: golangci-lint
golangci-lint:
	@scripts/ensure-lint.sh
