# Needs Python 3.11 or newer and make. Everything is installed into .venv here, nothing outside it.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint bench
.DELETE_ON_ERROR:

help:
	@echo "make demo   install into $(VENV) if needed, then run: graphcore demo"
	@echo "make test   install into $(VENV) if needed, then run every test, the CUDA simulator's in a process of their own"
	@echo "make lint   ruff and mypy"
	@echo "make bench  times: import, first training step cold and warm, step time"

demo: $(VENV)/.installed
	@echo "==> $(BIN)/graphcore demo"
	@$(BIN)/graphcore demo

# Numba reads NUMBA_ENABLE_CUDASIM once, when it is imported: hence two processes.
test: $(VENV)/.installed-dev
	@echo "==> tests (warnings are errors; the marker 'slow' names the long ones)"
	@$(BIN)/python -m pytest
	@echo "==> tests in Numba's CUDA simulator"
	@NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest -m cudasim

lint: $(VENV)/.installed-dev
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> mypy --strict"
	@$(BIN)/mypy --strict

bench: $(VENV)/.installed
	@echo "==> benchmarks/start_up.py (each figure from processes of its own)"
	@$(BIN)/python benchmarks/start_up.py

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
