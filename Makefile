# What people type. Each target does all of its own set-up; what is behind it stands in xtask/.
#   make up [DIR=folder] [ARGS="--for 30s"]    a whole local world, in one command
#   make test                                  all tests
SHELL := /bin/sh
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PATH := $(PATH):$(HOME)/.cargo/bin
# A job server of make's would throttle cargo, which has its own.
unexport MAKEFLAGS MFLAGS
SETUP := sh xtask/setup.sh
XTASK := cargo xtask
.DEFAULT_GOAL := help
.PHONY: help build up test check lint fmt soak fuzz bench-setup bench clean-world

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

build: ## the program, in release, as ./webos
	@$(SETUP) build
	@cargo build --release --locked --package webos
	@ln -sfn "$(CARGO_TARGET_DIR)/release/webos" webos

up: build ## a local world: realm, home, three lent nodes, a service, a console (DIR=, ARGS=)
	@exec ./webos up $(if $(DIR),"$(DIR)") $(ARGS)

test: ## everything that must hold
	@$(SETUP) test
	@$(XTASK) test

check: ## the quick round: format, clippy, unit tests
	@$(SETUP) build
	@$(XTASK) check

lint: ## format, clippy, stairs, lengths, licences, limits, documents, the console's page
	@$(SETUP) test
	@$(XTASK) lint

fmt: ## format the sources
	@cargo fmt --all

soak: ## the long runs: 10,000 seeds of each simulation, every kill test at full length
	@$(SETUP) test
	@$(XTASK) soak

fuzz: ## every decoder of foreign bytes, for 20 minutes each (SECONDS=)
	@$(SETUP) fuzz
	@$(XTASK) fuzz --seconds $(or $(SECONDS),1200)

bench-setup: ## webos-bench and the peers it compares with
	@$(SETUP) bench
	@$(XTASK) bench-setup

bench: build bench-setup ## the slice's table (ARGS=--short)
	@exec ./webos bench slice $(ARGS)

clean-world: ## remove the local world and its data
	@if [ -x webos ]; then ./webos down --purge; else echo "there is no ./webos: nothing to remove"; fi
