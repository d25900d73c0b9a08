# Needs Python 3.11 or later with venv, and nothing else. PYTHON=python3.12 make test picks another one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPORT ?= robust-report

.PHONY: test demo lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m pytest robustness_tests/ --defense=dustbin --robust-report=$(REPORT)

# Two workers with one thread each: threads that wait for another worker's are many times slower.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pytest-robust needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(REPORT) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
