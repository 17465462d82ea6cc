# Thermocline: everything a person or a pipeline runs. `make help` lists it.
#
# All targets use the dev profile (dependencies and the engine are optimised in it), so RocksDB and the other
# dependencies are compiled once for `run`, `test` and `verify`. Only `bench` uses the release profile.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TARGET := $(or $(CARGO_TARGET_DIR),target)
SHELL_SCRIPTS := $(filter-out %.md,$(wildcard scripts/*)) .ci/run
CARGO := cargo

.PHONY: help bootstrap run test verify format lint docs deny generated shell fix test-long random mutation coverage \
	leaks balance bench bench-etcd bench-promises checker

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

bootstrap: ## Install the packages that build and tests miss (Debian, Ubuntu), or say which
	@scripts/bootstrap --tests

run: ## Build, start a local fleet, import real data, watch it tier (under 3 minutes after the build)
	@scripts/bootstrap --data
	@scripts/build
	@$(TARGET)/debug/thermoctl demo $(ARGS)

test: bootstrap ## All tests, doctests included, with the same build as `run`
	@scripts/test

verify: bootstrap format lint docs deny generated shell checker ## The gate: changes nothing, fails on any finding
	@echo 'verify: no finding'

format: ## rustfmt, checking only
	@$(CARGO) fmt --all --check

lint: ## clippy; a warning fails
	@$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

docs: ## rustdoc; a warning fails
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items --quiet

deny: ## cargo-deny: licences, duplicates, sources; advisories where their database can be fetched
	@scripts/deny

generated: ## Generated files are what their sources say
	@scripts/build
	@$(TARGET)/debug/crdgen --check

shell: ## The shell scripts parse
	@for script in $(SHELL_SCRIPTS); do \
		if head -n 1 $$script | grep -q bash; then bash -n $$script; else sh -n $$script; fi; done
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi

checker: ## The checker of histories, in Go: formatted, vetted, its dependency vendored as pinned
	@scripts/checker

fix: bootstrap ## Format, apply clippy's suggestions, write the generated files again
	@$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	@$(CARGO) fmt --all
	@scripts/build
	@$(TARGET)/debug/crdgen

test-long: bootstrap random mutation coverage leaks balance ## Hours: random runs, mutation of the guards, coverage, leaks, balance

random: ## The random tests with many more cases (RANDOM_FACTOR=N, default 20)
	@scripts/random

balance: ## A fleet spreads what is on one node, then moves nothing under a steady load (BALANCE_QUIET_SECONDS=600)
	@scripts/build
	@BALANCE_QUIET_SECONDS=$${BALANCE_QUIET_SECONDS:-600} $(CARGO) test --locked --workspace --test local_fleet -- \
		--ignored --nocapture balance

mutation: ## Switch every guard of the engine off, one by one; fails where no test notices
	@scripts/mutation

coverage: ## Line coverage of node/engine; fails under 90 %
	@scripts/coverage

leaks: ## A short run of the engine under a leak checker
	@scripts/leaks

bench: bootstrap ## The figures of the README, in the release profile (ARGS="--rounds 3 all")
	@$(CARGO) build --locked --release --package thermocline-benches
	@GLIBC_TUNABLES=$${GLIBC_TUNABLES-glibc.malloc.hugetlb=1} $(TARGET)/release/thermocline-benches $(or $(ARGS),all)

bench-etcd: ## Writes to three nodes against three members of etcd, in the release profile (ARGS="--seconds 5")
	@scripts/bootstrap --etcd
	@$(CARGO) build --locked --release --package thermocline-benches --package thermoctl --package thermocline-node
	@GLIBC_TUNABLES=$${GLIBC_TUNABLES-glibc.malloc.hugetlb=1} $(TARGET)/release/thermocline-benches \
		--rounds 3 etcd $(ARGS)

bench-promises: ## What replication promises: gaps, restarts, lost disks, in the release profile (ARGS="--kills 5")
	@$(CARGO) build --locked --release --package thermocline-benches --package thermoctl --package thermocline-node
	@$(TARGET)/release/thermocline-benches promises $(ARGS)
