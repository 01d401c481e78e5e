# `make` prints the targets. CI runs the same ones.

WORKERS ?= 2
COUNT ?= 5000
URLS ?=
SEED ?=
SEEDS ?= 300
MINUTES ?= 10
SUITE ?=
# Most end-to-end tests wait most of the time.
TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))
SERVICES = deploy/local/services
# The target folder. Targets run the binaries in it: `cargo run` of one package would build them
# again, with only the features that this package needs of its dependencies.
BUILT = $(shell cargo metadata --no-deps --format-version 1 | \
	sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# What `make mutants` mutates, and the module whose tests it runs: the path of the file, or MODULE.
FILE ?= crates/worker/src/settle/ledger.rs
MODULE ?= $(subst /,::,$(shell echo '$(FILE)' | \
	sed 's|^crates/[^/]*/src/||; s|\.rs$$||; s|/mod$$||'))

# Whether packages can be installed without asking for a password, which a build would hide.
CAN_INSTALL = $(shell { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; } && echo yes)

.DEFAULT_GOAL := help
.PHONY: help run test fuzz mutants sim test-sim test-faults test-cluster test-matrix test-deploy
.PHONY: test-clients test-console soak bench bench-full bench-years bench-extraction bench-parts
.PHONY: signatures rules manifests dist deb
.PHONY: ci fmt fmt-check lint doc hygiene up down

help: ## Print this list
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  make %-16s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Fetch the sample shop or URLS=urls.txt with WORKERS=2, print a summary
	@$(if $(CAN_INSTALL),,$(SERVICES) up)
	@$(SERVICES) up & services=$$!; \
		cargo build --profile demo --no-default-features --package fetchline \
			--package fetchline-tests --bin fetchline --bin demo; \
		built=$$?; wait $$services && exit $$built
	@eval "$$($(SERVICES) env)" && $(BUILT)/demo/demo \
		--workers $(WORKERS) --count $(COUNT) $(if $(URLS),--urls '$(URLS)')

test: up ## Run all tests, including the end-to-end tests, with TEST_THREADS=6
	@eval "$$($(SERVICES) env)" && RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace

sim: ## Run workers in SEEDS=300 simulated worlds; SEED=17 repeats one; docs/testing.md
	@tests/sim/prepare
	cd tests/sim && cargo run --offline --profile sim --target-dir ../../target -- \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

test-sim: up ## Test the simulation: that it repeats itself, finds faults, and is true to a broker
	@tests/sim/prepare
	@eval "$$($(SERVICES) env)" && cd tests/sim && \
		cargo test --offline --profile sim --target-dir ../../target

test-faults: ## Kill, stop and disconnect everything, check that nothing is lost; SEED=1
	FAULT_SEED=$(SEED) cargo test --workspace --features fetchline-tests/faults --test faults -- \
		--test-threads=1 --nocapture

test-cluster: ## Kill and freeze nodes of two clusters of three, count; 3 GB, SEED=1
	deploy/local/cluster start
	FAULT_SEED=$(SEED) cargo test --workspace --features fetchline-tests/cluster --test cluster -- \
		--test-threads=1 --nocapture; ended=$$?; deploy/local/cluster stop; exit $$ended

fuzz: ## Try random inputs of strangers, each property for MINUTES=10
	FUZZ_MINUTES=$(MINUTES) cargo test --workspace --test fuzz

mutants: ## Mutate FILE=crates/worker/src/settle/ledger.rs and run the tests of its module
	cargo mutants --workspace --in-place --file '$(FILE)' -- --lib $(MODULE)

soak: ## Mix all faults over 100,000 URLs for MINUTES=10; SEED=1 repeats a run
	cargo build --workspace --bin soak
	$(BUILT)/debug/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: ## Compare with asyncio, Scrapy, a bare loop; 20 min; docs/benchmarks.md
	tests/bench/run

bench-full: ## The same with a million URLs; more than an hour
	tests/bench/run --full

bench-years: ## Fetch 3,000 pages in 365 nights, while the tables grow; docs/years.md
	tests/bench/run years

bench-extraction: ## Measure the cost of extraction as a ratio to a fetch, and its quality
	cargo build --release --package fetchline-tests --bin shop
	cargo bench --package fetchline-tests --bench extraction
	cargo test --package fetchline-extract --test corpus_table -- --nocapture

bench-parts: ## Measure each step: time, allocations, instructions
	tests/bench/parts

signatures: up ## Verify signed requests with a Python library
	tests/signatures/check

rules: ## Check and test the alerts in deploy/prometheus with promtool
	@deploy/local/install prometheus >/dev/null
	promtool check rules deploy/prometheus/rules.yml
	promtool test rules deploy/prometheus/rules_test.yml

manifests: ## Check deploy/kubernetes against the schemas of Kubernetes 1.31 to 1.37
	@tests/kubernetes/check

ci: fmt-check lint doc hygiene rules manifests signatures test test-faults ## Run all checks of CI

ENV = .env
.env: ## Create .env with random passwords for docker-compose.yml
	@(umask 077 && while IFS= read -r line; do case $$line in \
		*=) echo "$$line$$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')" ;; *) echo "$$line" ;; esac; \
		done <.env.example >$(ENV))

dist: ## Build the binary for distribution, with all features, in target/dist
	FETCHLINE_COMMIT=$$(git describe --always --dirty --abbrev=12) \
		cargo build --locked --profile dist --package fetchline --features otlp

deb: dist ## Build a Debian package in target/debian, from the binary of `make dist`
	deploy/debian/build

test-matrix: ## Run the end-to-end tests on Debian 12, 13 and sid; needs root
	tests/matrix/run

test-clients: up ## Run the programs of docs/clients in six languages
	cargo build --package fetchline
	tests/clients/run $(BUILT)/debug/fetchline

test-console: up ## Do the tasks of an operator in a browser; SUITE=trixie for its broker
	tests/console/run $(SUITE)

test-deploy: ## Build the image and test docker-compose.yml; needs root
	tests/deploy/run

fmt: ## Format the code
	cargo fmt --all

fmt-check: ## Check the formatting
	cargo fmt --all --check

lint: ## Run Clippy, with warnings denied
	cargo clippy --workspace --all-targets --all-features -- -D warnings

hygiene: ## Check spelling, shell scripts and dependencies
	tests/lint/run

doc: ## Build the documentation, with warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

up: ## Start RabbitMQ and MySQL or MariaDB, or use those that are up
	@$(SERVICES) up

down: ## Stop the services that were started here
	@$(SERVICES) down
