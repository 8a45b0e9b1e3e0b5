# All tasks of this repository. `make` without a target lists them.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Cache for programs that are built once, outside the checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/image-registry-operator
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# Test programs that need no cluster: nothing in them uses `support` or `devcluster`. A program is a file or a folder of tests/.
PURE_TESTS := $(patsubst %,--test %,$(shell for program in tests/*.rs tests/*/main.rs; do \
	files=$${program%/main.rs}; grep --quiet --recursive 'mod support\|devcluster::' $$files || basename $$files .rs; done))
# The tests that compare generated files, and write them if UPDATE_GOLDEN is set.
GENERATORS := the_consoles_config_map_has_the_dashboard committed_crds_are_what_the_types_generate \
	committed_platform_crds_are_what_is_generated_for_devcluster variants::variant_b_is_the_generated_one copies::the_bases_are_copies_of_the_install_set \
	chart::the_charts_readme_documents_each_value
# Folder of debug builds; .cargo/config.toml names the target.
DEBUG = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc --print host-tuple)/debug

export IMAGE ?= localhost/cluster-image-registry-operator:dev

##@ Use

.PHONY: help
help: ## List all targets
	@echo 'The image registry operator of OKD, and for any Kubernetes. Start with `make demo`; see README.md.'
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

DEMO ?= okd
.PHONY: demo
demo: demo-kind prerequisites ## A whole cluster on this machine: a registry starts, an image is pushed, a pod runs it (needs root; DEMO=kubernetes: without OKD's APIs)
	cargo build --locked --package go-programs
	@# Go and cargo work beside each other: alone, neither keeps all cores busy. xargs passes Ctrl-C on, and fails if one of them fails.
	@# image/build builds devcluster too.
	printf '%s\0' '$(DEBUG)/go-programs $(DEMO)' 'PROFILE=dev image/build operator' | xargs -0 -n 1 -P 2 bash -c
	exec $(DEBUG)/devcluster demo --on $(DEMO) --operator $(or $(CARGO_TARGET_DIR),target)/image-dev/operator

.PHONY: demo-kind
demo-kind:
	@case '$(DEMO)' in okd | kubernetes) ;; *) echo 'make demo: DEMO is okd or kubernetes' >&2; exit 2 ;; esac

##@ Test

# Number of test programs that run in parallel; with more than two on two cores, tests that measure time fail.
LANES ?= 2
.PHONY: test
test: prerequisites ## Every test, on real clusters where necessary (end to end needs root); LANES=1: one lane
	tests/side-by-side $(LANES)

.PHONY: test-fast
test-fast: ## The tests that need no cluster
	cargo test --locked --workspace --lib --bins $(PURE_TESTS)

BENCH ?=
.PHONY: bench
bench: prerequisites build ## Measure start, edits, idle load and memory: 20 to 30 minutes on a quiet machine (BENCH='--minutes 1': shorter)
	cargo run --locked --quiet --package devcluster -- bench $(BENCH) \
		--operator $(or $(CARGO_TARGET_DIR),target)/$$(rustc --print host-tuple)/release/cluster-image-registry-operator

.PHONY: lint
lint: fmt clippy deny ## Check formatting, clippy, licences and duplicate dependencies

.PHONY: fmt
fmt:
	cargo fmt --all --check

.PHONY: clippy
clippy:
	cargo clippy --locked --workspace --all-targets -- --deny warnings

# Without advisories: not every machine can reach the git repository of their database, and a new advisory must not fail the
# build of an old commit. `make audit` checks them.
.PHONY: deny
deny: $(CARGO_DENY)
	cargo fetch --locked --quiet # also dependencies of other platforms: cargo-deny checks all
	$(CARGO_DENY) --offline --workspace check licenses bans sources

.PHONY: audit
audit: $(CARGO_DENY) ## Check dependencies for known vulnerabilities (fetches the advisory database)
	$(CARGO_DENY) --workspace check advisories

# About 4 minutes on a busy 2-core machine (3.5 of CPU time), once.
$(CARGO_DENY):
	@echo 'Building cargo-deny $(CARGO_DENY_VERSION), once; this takes a few minutes.'
	cargo install --quiet --locked cargo-deny --version $(CARGO_DENY_VERSION) \
		--root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION) --target-dir $(CACHE)/cargo-deny-build
	rm -rf $(CACHE)/cargo-deny-build

.PHONY: prerequisites
prerequisites: ## Install the system packages that the demo and the tests need
	tests/devcluster/install-prerequisites

##@ Build

.PHONY: build
build: ## Build the release binary: one static file
	image/build program

.PHONY: image
image: image-prerequisites ## Build the image of the operator, without a container daemon, and its bill of materials (IMAGE=name:tag)
	image/build operator

.PHONY: image-hosted
image-hosted: image-prerequisites ## Build the image for hosted control planes: the operator's, with a shell and curl
	image/build hosted

.PHONY: image-prerequisites
image-prerequisites:
	tests/devcluster/install-prerequisites image

.PHONY: generate
generate: ## Generate crds/ (and the CRDs of devcluster) from src/api, variant B of the Deployment from variant A, the ConfigMap of the dashboard, and the copies and README of the chart
	UPDATE_GOLDEN=1 cargo test --locked --workspace --test crds --test manifests --test monitoring --test packaging -- --exact $(GENERATORS)
