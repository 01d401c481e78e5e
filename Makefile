# `make` prints what there is. CI runs the same targets.

WORKERS ?= 2
COUNT ?= 5000
URLS ?=
SEED ?=
MINUTES ?= 10
SERVICES = deploy/local/services
# Wherever the target folder is. What was built there is run from there: `cargo run` of one package would build it anew,
# with the features that this package alone asks of its dependencies.
BUILT = $(shell cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

.DEFAULT_GOAL := help
.PHONY: help run test test-faults test-matrix test-deploy soak bench bench-full bench-extraction bench-parts rules manifests dist ci fmt fmt-check lint doc up down

help: ## This list
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: up ## Fetch the sample shop's pages, or URLS=my-urls.txt, with WORKERS=2 processes, and show what came of it
	cargo build --release --package fetchline --package fetchline-tests --bin fetchline --bin demo
	@eval "$$($(SERVICES) env)" && $(BUILT)/release/demo \
		--workers $(WORKERS) --count $(COUNT) $(if $(URLS),--urls '$(URLS)')

test: up ## Every test of the workspace, the end-to-end ones included, on real services
	@eval "$$($(SERVICES) env)" && cargo test --workspace

test-faults: ## Kill, stop and cut workers, broker and database, and count what is lost: nothing; SEED=1 repeats a run
	FAULT_SEED=$(SEED) cargo test --workspace --features fetchline-tests/faults --test faults -- --test-threads=1 --nocapture

soak: ## All faults mixed over 100,000 URLs, for MINUTES=10
	cargo build --package fetchline --package fetchline-tests --bin fetchline --bin soak
	$(BUILT)/debug/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: ## fetchline beside asyncio, Scrapy and a bare loop, into docs/benchmarks.md; about 20 minutes
	tests/bench/run

bench-full: ## The same at the full sizes, with a million URLs; over an hour
	tests/bench/run --full

bench-extraction: ## What extraction costs beside a fetch, as a ratio
	cargo build --release --package fetchline-tests --bin shop
	cargo bench --package fetchline-tests --bench extraction

bench-parts: ## What each part of a URL's way costs: time, allocations, instructions
	tests/bench/parts

rules: ## Check the alerts of deploy/prometheus, by promtool
	@deploy/local/install prometheus >/dev/null
	promtool check rules deploy/prometheus/rules.yml
	promtool test rules deploy/prometheus/rules_test.yml

manifests: ## Render deploy/kubernetes and hold it against the schemas of Kubernetes 1.31 to 1.37
	@tests/kubernetes/check

ci: fmt-check lint doc rules manifests test test-faults ## All that has to hold before a change lands

ENV = .env
.env: ## Passwords for docker-compose.yml, by chance
	@(umask 077 && while IFS= read -r line; do case $$line in \
		*=) echo "$$line$$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')" ;; *) echo "$$line" ;; esac; \
		done <.env.example >$(ENV))

dist: ## The binary as it is handed out, in target/dist: full optimisation, stripped, with its commit
	FETCHLINE_COMMIT=$$(git describe --always --dirty --abbrev=12) cargo build --locked --profile dist --package fetchline

test-matrix: ## The end-to-end tests on RabbitMQ and MySQL or MariaDB of Debian 12, 13 and sid; as root
	tests/matrix/run

test-deploy: ## Build the image, run docker-compose.yml and what it promises; as root
	tests/deploy/run

fmt: ## Format the code
	cargo fmt --all

fmt-check: ## Check the format of the code
	cargo fmt --all --check

lint: ## Clippy, with warnings denied
	cargo clippy --workspace --all-targets --all-features -- -D warnings

doc: ## Build the documentation, with warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

up: ## Provide RabbitMQ and MySQL or MariaDB
	@$(SERVICES) up

down: ## End what was started here
	@$(SERVICES) down
