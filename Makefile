# Needs Python 3.11 or newer and make. Everything is installed into .venv here, nothing outside it.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
# Options of the benchmarks, e.g. make bench-peers ARGS="--models mlp --measures train"
ARGS ?=
# Options of pip for the peers; benchmarks/peers/requirements.txt names one that saves a long download.
PEERS_PIP ?=

.PHONY: help demo test fuzz lint docs bench bench-kernels bench-peers
.DELETE_ON_ERROR:

help:
	@echo "make demo   install into $(VENV) if needed, then run: graphcore demo"
	@echo "make test   install into $(VENV) if needed, then run every test, the CUDA simulator's in a process of their own"
	@echo "make fuzz   the random tests with new cases; make test draws the same in every run"
	@echo "make lint   ruff and mypy"
	@echo "make docs   how it works, as web pages in docs/_build/html"
	@echo "make bench  graphcore against the machine's roof: steps, inference, first step, memory, kernels"
	@echo "make bench-kernels  every kind of matrix product and convolution on one thread"
	@echo "make bench-peers    graphcore beside Keras, PyTorch and ONNX Runtime, installed into $(PEERS)"
	@echo "            options of both: ARGS=\"--models mlp --measures train --rounds 3 --seconds 0.3\""

demo: $(VENV)/.installed
	@echo "==> $(BIN)/graphcore demo"
	@$(BIN)/graphcore demo

# Numba reads NUMBA_ENABLE_CUDASIM once, when it is imported: hence two processes.
test: $(VENV)/.installed-dev
	@echo "==> tests (warnings are errors; the marker 'slow' names the long ones)"
	@$(BIN)/python -m pytest
	@echo "==> tests in Numba's CUDA simulator"
	@NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest -m cudasim

# The tests draw the same random cases in every run; these are new ones.
fuzz: $(VENV)/.installed-dev
	@echo "==> the random tests, with cases that no run has drawn before"
	@HYPOTHESIS_PROFILE=fresh $(BIN)/python -m pytest -m hypothesis $(ARGS)

lint: $(VENV)/.installed-dev
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> mypy --strict"
	@$(BIN)/mypy --strict

docs: $(VENV)/.installed-dev
	@echo "==> sphinx, into docs/_build/html"
	@$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

bench: $(VENV)/.installed
	@echo "==> graphcore against the machine's roof (quiet machine, please)"
	@$(BIN)/python -m benchmarks $(ARGS)

bench-kernels: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.contractions $(ARGS)

bench-peers: $(VENV)/.installed $(PEERS)/.installed
	@echo "==> graphcore and its peers in turn (quiet machine, please)"
	@$(BIN)/python -m benchmarks.peers --python $(PEERS)/bin/python $(ARGS)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.12")'
	@echo "==> making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "==> installing graphcore and what it needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "==> installing graphcore and the tools for its tests into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "==> installing the peers into $(PEERS)"
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet $(PEERS_PIP) --requirement benchmarks/peers/requirements.txt
	@touch $@
