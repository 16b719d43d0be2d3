# make demo      trains the small model that ships in the package and prints the path of its report      (minutes, no GPU)
# make test      sets up .venv and runs the tests                  make test-all  the slow ones too
# make check     lint, format, types, import contract, file sizes  make clean     what can be made again, and .venv
# Needs Python 3.11 or newer, pip and make, nothing else.

PYTHON := $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt
MAKEFLAGS += --no-print-directory
# Nothing here asks a server for anything: the model and the data ship in the package.
export HF_HUB_OFFLINE ?= 1
export WANDB_MODE ?= offline

.PHONY: demo test test-all check clean

demo: .venv/installed
	@$(BIN)/python train.py

test: .venv/installed-dev
	@$(BIN)/python -m pytest

test-all: .venv/installed-dev
	@$(BIN)/python -m pytest -m "not gpu and not network"

check: .venv/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/test_layout.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "g2rpo needs Python 3.11 or newer, found neither python3.11 nor such a python3 on the PATH" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints/ci.txt | $(BIN)/pip
	@echo "installing g2rpo into .venv (PyTorch included: minutes the first time)"
	@$(INSTALL) -e .
	@touch $@

.venv/installed-dev: pyproject.toml constraints/ci.txt | $(BIN)/pip
	@echo "installing g2rpo and its development tools into .venv (PyTorch included: minutes the first time)"
	@$(INSTALL) -e ".[dev]"
	@touch .venv/installed $@
