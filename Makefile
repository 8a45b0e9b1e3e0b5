# Everything that is done with this repository, by name. `make` alone lists it.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Programs that are built once and kept, outside the checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/image-registry-operator
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# Test programs that need no cluster: those that do say so by what they use.
PURE_TESTS := $(patsubst tests/%.rs,--test %,$(shell grep --files-without-match 'mod support\|devcluster::' tests/*.rs))
# The tests that compare generated files, and write them when told to.
GENERATORS := committed_crds_are_what_the_types_generate \
	committed_platform_crds_are_what_is_generated_for_devcluster variant_b_is_the_generated_one
# Where debug builds land; .cargo/config.toml names the target.
DEBUG = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc --print host-tuple)/debug

IMAGE ?= localhost/cluster-image-registry-operator:dev
CONTAINER_TOOL ?= $(firstword $(foreach tool,podman buildah docker,$(if $(shell command -v $(tool)),$(tool))))

##@ Use

.PHONY: help
help: ## This list
	@echo 'The image registry operator of OKD. Start with `make demo`; README.md tells the rest.'
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: prerequisites ## A whole cluster on this machine: a registry comes up, takes a push, a pod runs from it (needs root)
	cargo build --locked --workspace --bins
	exec $(DEBUG)/devcluster demo

##@ Test

# How many programs of tests run beside each other; with more than two of them on two cores, what measures time fails.
LANES ?= 2
.PHONY: test
test: prerequisites ## Every test, on real clusters where one is needed (end to end: needs root); LANES=1: one after another
	tests/side-by-side $(LANES)

.PHONY: test-fast
test-fast: ## The tests that need no cluster
	cargo test --locked --workspace --lib --bins $(PURE_TESTS)

BENCH ?=
.PHONY: bench
bench: prerequisites build ## Start, edits, idle load and memory in figures: half an hour on a quiet machine (BENCH='--minutes 1': shorter)
	cargo run --locked --quiet --package devcluster -- bench $(BENCH) \
		--operator $(or $(CARGO_TARGET_DIR),target)/$$(rustc --print host-tuple)/release/cluster-image-registry-operator

.PHONY: lint
lint: fmt clippy deny ## Formatting, clippy, licences and duplicate dependencies

.PHONY: fmt
fmt:
	cargo fmt --all --check

.PHONY: clippy
clippy:
	cargo clippy --locked --workspace --all-targets -- --deny warnings

# Not the advisories: their database is a git repository that not every machine reaches, and an advisory that comes out
# today must not fail the build of an old commit. `make audit` asks for them.
.PHONY: deny
deny: $(CARGO_DENY)
	cargo fetch --locked --quiet # also what other platforms need: cargo-deny looks at all of it
	$(CARGO_DENY) --offline --workspace check licenses bans sources

.PHONY: audit
audit: $(CARGO_DENY) ## Known vulnerabilities in dependencies (fetches the advisory database)
	$(CARGO_DENY) --workspace check advisories

# About 4 minutes on a busy 2-core machine (3.5 of CPU time), once.
$(CARGO_DENY):
	@echo 'Building cargo-deny $(CARGO_DENY_VERSION); this takes some minutes, once.'
	cargo install --quiet --locked cargo-deny --version $(CARGO_DENY_VERSION) \
		--root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION) --target-dir $(CACHE)/cargo-deny-build
	rm -rf $(CACHE)/cargo-deny-build

.PHONY: prerequisites
prerequisites: ## What demo and tests need from the system's package manager
	tests/devcluster/install-prerequisites

##@ Build

.PHONY: build
build: ## The program as it is shipped: one static binary
	cargo build --locked --release --bin cluster-image-registry-operator

.PHONY: image
image: ## Its container image (IMAGE=name:tag)
	@test -n '$(CONTAINER_TOOL)' || { echo 'Needs podman, buildah or docker.' >&2; exit 1; }
	$(CONTAINER_TOOL) build --file Containerfile --tag $(IMAGE) .

.PHONY: generate
generate: ## Files made of others: crds/ (and those of devcluster) of src/api, variant B of the Deployment of variant A
	UPDATE_GOLDEN=1 cargo test --locked --workspace --test crds --test manifests -- --exact $(GENERATORS)
