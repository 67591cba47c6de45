# Every command a person types. Each target is one line of help after `##`.
# Nothing is written outside target/ and, for `make run`, portcullis-data/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test check bench bench-peers bench-growth bench-auth bench-attacks dist-pgo fuzz

# More arguments for `portcullis up` and for the measurements: make run ARGS="--instances 5",
# make bench-peers ARGS=--quick, make bench-auth ARGS=--quick
ARGS ?=
# How long each target of `make fuzz` runs.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = requests responses chunked_bodies proxy_headers client_hellos forwarded cookies configurations

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

# On a terminal, job control gives the command its own foreground process group:
# Ctrl-C then reaches Portcullis alone, which drains and exits 0, instead of also
# making make report an interrupt.
run: ## build and start edge and auth on this machine; Ctrl-C stops them
	@scripts/build-tools
	@echo "Building (the first time takes a few minutes) ..." >&2
	@cargo build --release --locked
	@if [ -t 0 ]; then set -m; target/release/portcullis up $(ARGS); exit $$?; \
	else exec target/release/portcullis up $(ARGS); fi

test: ## run every test
	@scripts/build-tools test
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked --no-fail-fast; \
	else \
		cargo test --workspace --locked --no-fail-fast --lib --bins --tests --examples; \
	fi
	cargo test --workspace --locked --doc

check: ## formatting, lints and documentation, warnings denied
	@scripts/build-tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --bin portcullis --no-default-features --features edge --locked -- -D warnings
	cargo clippy --bin portcullis --no-default-features --features auth --locked -- -D warnings
	@# Who reads a module's documentation reads its private parts as well.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --locked --document-private-items

bench: ## measure the pure parts, failed logins, a whole cluster under load and how soon a logout counts
	@scripts/build-tools
	cargo bench --locked --bench selection --bench containment --bench routing --bench pipeline --bench authorize --bench tokens --bench revocations
	cargo bench --locked --package portcullis-auth --bench login_timing
	cargo bench --locked --profile dist --bench cluster --bench logout

# Three rounds of everything take some nine minutes, the build apart.
bench-peers: ## measure Portcullis beside nginx, HAProxy and Caddy; ARGS=--quick, ARGS=--help
	@scripts/build-tools peers
	cargo bench --locked --profile dist --bench peers -- $(ARGS)

bench-growth: ## measure how the cost of a request grows with connections, endpoints, routes, workers and policies
	@scripts/build-tools peers
	cargo bench --locked --profile dist --bench peers -- \
		--only growth --contenders portcullis,nginx,haproxy $(ARGS)

# Seven rounds of everything take some eight minutes, the build apart.
bench-auth: ## measure auth under load beside the bare cost of its work; ARGS=--quick, ARGS=--help
	@scripts/build-tools databases
	cargo bench --locked --profile dist --bench auth -- $(ARGS)

# Three rounds of everything take some sixteen minutes, the build apart.
bench-attacks: ## measure what a client notices while another attacks, beside nginx; ARGS=--help
	@scripts/build-tools peers
	cargo bench --locked --profile dist --bench attacks -- $(ARGS)

# A build that counts, the bench programs, two short measurements and a build with fat LTO: half an hour.
dist-pgo: ## build target/dist-pgo/portcullis: what is shipped, arranged by what the benches do
	@scripts/build-tools peers
	@scripts/build-tools databases
	@scripts/build-tools profiles
	@scripts/dist-pgo

# What the fuzzer finds stays in target/fuzz/; an input worth keeping goes to
# fuzz/corpus/, which tests read. No `unsafe` here, so no sanitizer: stable will do.
fuzz: ## throw bytes at what reads those of strangers, FUZZ_SECONDS=60 for each target
	@scripts/build-tools
	@if ! cargo fuzz --version >/dev/null 2>&1; then \
		echo "Fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz" >&2; exit 1; \
	fi
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/found/$$target; \
		cargo fuzz run --sanitizer none --target-dir target/fuzz $$target \
			target/fuzz/found/$$target fuzz/corpus/$$target -- -max_len=4400 \
			-max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=target/fuzz/found/$$target- ; \
	done
