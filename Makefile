# vector_search. Every target does its own set-up; see README.md.
#
# PG_CONFIG=/path/to/pg_config uses that PostgreSQL (15 to 19) instead of the embedded 18.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: all help setup demo demo-terminal ask test-browser test test-pure test-server test-asan test-cassert test-clients fuzz recipes lint docs bench bench-kernel bench-build install install-compat package deb rpm pgxn test-arm test-arm-server test-19 test-packages test-rpm test-docker test-citus test-sqlsmith audit stop clean

help: ## Shows the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: ## Prepares this machine: tools, embedded PostgreSQL
	@scripts/setup.sh
	@scripts/embedded.sh

demo: ## Starts the page on loopback: TEXTS=folder-or-csv takes your own texts
	@examples/page/run.sh

demo-terminal: ## Runs the demo without a browser: real texts, an index, questions in natural language
	@examples/demo/run.sh

ask: ## Asks the terminal demo's server one question: make ask Q="what lives in the sea?"
	@target/venv/bin/python examples/demo/ask.py "$(Q)"

test: ## Runs all tests, on PostgreSQL 18 and 15 (or on PG_CONFIG's)
	@scripts/test.sh

test-pure: ## Runs the tests that need no PostgreSQL
	cargo test --locked --no-default-features

test-server: ## Runs the SQL and server tests only
	@scripts/test.sh server

recipes: ## Tries the recipes on real text, and the worker: RECIPES=full for the tables of docs/recipes
	@scripts/setup.sh
	@pg_config="$${PG_CONFIG:-$$(scripts/embedded.sh)}"; scripts/install.sh "$$pg_config" && scripts/test_recipes.sh "$$pg_config"

test-browser: ## Clicks through the page with Chromium, and checks what it shows against SQL
	@scripts/setup.sh
	@pg_config="$${PG_CONFIG:-$$(scripts/embedded.sh)}"; scripts/install.sh "$$pg_config" && scripts/test_browser.sh "$$pg_config"

test-asan: ## Runs the tests that need no PostgreSQL under AddressSanitizer
	@scripts/test_asan.sh

fuzz: ## Fuzzes text, binary, pages and scans of damaged indexes, by coverage: SECONDS, RUNS, TARGETS
	@FUZZ_SECONDS=$(or $(SECONDS),60) FUZZ_RUNS=$(RUNS) scripts/fuzz.sh run $(TARGETS)

test-cassert: ## Runs the SQL and server tests in a PostgreSQL with assertions: MAJOR=15 for 15, STEPS=valgrind, HARD=1
	@scripts/setup.sh
	@MAJOR=$(or $(MAJOR),18) scripts/test_cassert.sh $(STEPS)

test-clients: ## Runs pgvector's clients and their own tests against the extension
	@scripts/test_clients.sh

lint: ## Checks format, lints and documentation for both feature sets
	@scripts/lint.sh

docs: ## Makes the documentation as a site, target/book/html (mdBook)
	@scripts/docs.sh

bench: ## Measures kernels, build, size, recall and speed, compared with pgvector
	@benches/run.sh

bench-kernel: ## Measures the kernels only
	cargo bench --no-default-features --bench kernel

bench-build: ## Measures builds in memory, without a server: DATA, ROWS, DIMS as benches/build.rs says
	cargo bench --no-default-features --bench build

install: ## Builds and installs the extension into PG_CONFIG's PostgreSQL
	@scripts/setup.sh
	@scripts/install.sh "$${PG_CONFIG:-$$(scripts/embedded.sh)}"

install-compat: ## Installs the extension "vector" too, for apps written for pgvector
	@scripts/install_compat.sh "$${PG_CONFIG:-$$(scripts/embedded.sh)}"

package: ## Makes target/package: the files to copy into PG_CONFIG's PostgreSQL
	@scripts/package.sh

all: package

deb: ## Makes Debian packages for PostgreSQL 18, and each other of this machine that has headers
	@scripts/deb.sh $(PG_CONFIG)

rpm: ## Makes an RPM for PG_CONFIG's PostgreSQL
	@scripts/rpm.sh

pgxn: ## Makes the source archive for PGXN
	@scripts/pgxn.sh

test-packages: deb ## Installs, uses and removes the Debian packages in bare Debians (root)
	@scripts/test_packages.sh

test-rpm: rpm ## Installs, uses and removes the RPMs in a bare folder (root)
	@scripts/test_rpm.sh

test-docker: ## Runs the steps of packaging/Dockerfile in folders, without Docker (root)
	@scripts/test_docker.sh $(PG_MAJOR)

test-arm: ## Runs the tests that need no PostgreSQL on emulated aarch64 (root)
	@scripts/test_arm.sh

test-arm-server: ## Builds for aarch64, and runs the SQL tests on an emulated arm64 PostgreSQL 18 (root)
	@scripts/test_arm_server.sh

test-19: ## Builds for PostgreSQL 19, runs the SQL and server tests, tries the packages, in a Debian in a folder (root)
	@scripts/test_19.sh

test-citus: ## Tests distributed tables, if PG_CONFIG's PostgreSQL has Citus: a coordinator and workers on loopback
	@scripts/setup.sh
	@scripts/test_citus.sh "$${PG_CONFIG:-$$(scripts/embedded.sh)}"

test-sqlsmith: ## Runs random statements by SQLsmith (Debian's package): SECONDS=3600 for an hour, SEED=2 for others
	@scripts/setup.sh
	@pg_config="$${PG_CONFIG:-$$(scripts/embedded.sh)}"; scripts/install.sh "$$pg_config" && scripts/test_sqlsmith.sh "$$pg_config" $(SECONDS)

audit: ## Checks licences, sources and advisories of all crates with cargo-deny
	@scripts/audit.sh

stop: ## Stops the servers of demo, tests and benchmarks
	@examples/page/run.sh stop
	@scripts/stop.sh

clean: stop ## Stops the servers and removes everything built
	rm -rf target
