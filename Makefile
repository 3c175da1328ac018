# Everything runs from .venv/, which `setup` builds from the pins in requirements.txt.
# Needs make and Python 3.11 to 3.14; another one than python3: make setup PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DELETE_ON_ERROR:
.PHONY: help setup demo test up check format docs bench clean
.DEFAULT_GOAL := help

help:
	@echo 'make setup    the environment, in .venv/'
	@echo 'make demo     a lake from the sandbox exchange, offline'
	@echo 'make test     the tests'
	@echo 'make up       the web server and daemon, live'
	@echo 'make check    format, lint, types'
	@echo 'make format   format, and mend what ruff can'
	@echo 'make docs     the reference tables of docs/, from the code'
	@echo 'make bench    the benchmarks'
	@echo 'make clean    remove caches and build output; keeps .venv/ and every lake'

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@command -v '$(PYTHON)' >/dev/null || { \
		echo 'setup: there is no $(PYTHON). Install Python 3.11 or later, then run make again.' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
		echo "setup: Python 3.11 to 3.14 is needed, $(PYTHON) is $$('$(PYTHON)' --version 2>&1)." >&2; \
		echo 'Install one and name it: make setup PYTHON=python3.12' >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'setup: $(PYTHON) cannot make environments (ensurepip is absent).' >&2; \
		echo 'Debian and Ubuntu: apt-get install python3-venv (or python3.12-venv and so on).' >&2; exit 1; }
	'$(PYTHON)' -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(READY)
	$(BIN)/python -m demo

test: $(READY)
	$(BIN)/pytest -n 2

up: $(READY)
	$(BIN)/crypto-data start

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(READY)
	$(BIN)/python docs/reference.py

bench: $(READY)
	$(BIN)/python -m bench

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .demo .bench .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
