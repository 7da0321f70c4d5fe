# `make demo` and `make test` are all the set-up there is; both create .venv where it is missing.
# `make test` is the fast set that every change should pass; `make test-all` adds what takes long (kills, two processes,
# the model at its published size, whole runs).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow test-all lint format docs wheel clean

demo: .venv/ready
	@echo "== dbeta diagnose: the real 12-lead ECG that pydicom ships (its own annotation: normal sinus rhythm)"
	$(BIN)/dbeta diagnose "$$($(BIN)/python -c 'import pydicom.data; print(pydicom.data.get_testdata_file("waveform_ecg.dcm"))')"

test: .venv/ready lint
	@echo "== pytest, the fast set"
	$(BIN)/python -m pytest -n auto --dist loadscope -m "not slow"

test-slow: .venv/ready
	@echo "== pytest, what takes long"
	$(BIN)/python -m pytest -n auto --dist loadscope -m slow

test-all: test test-slow

lint: .venv/ready
	@echo "== ruff, mypy and import-linter"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/ready
	@echo "== writing docs/reference/ from the code"
	$(BIN)/python docs/reference.py

wheel: .venv/ready
	@echo "== building the wheel into dist/"
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# Rebuilt when what is to be installed changes.
.venv/ready: pyproject.toml constraints.txt
	@echo "== creating .venv and installing dbeta with the tested versions of constraints.txt (a few minutes the first time)"
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "dbeta needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv dist build
