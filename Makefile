# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Builds obey them too: visdom, which adv-lib needs, is built from source, with a setuptools older than the newest.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

.PHONY: demo test test-fast lint bench clean

demo: $(INSTALLED)
	$(BIN)/sweeps run demo

# Fast tests first: most mistakes show within a minute.
test: test-fast
	$(BIN)/python -m pytest -q -m slow

test-fast: lint
	$(BIN)/python -m pytest -q -m "not slow" -n auto --maxprocesses 4

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Ratios of the short benchmarks, against the last commit that was measured on such a machine: ten minutes.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.history

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python >= 3.11 is needed, found %d.%d" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PINNED) $(BIN)/pip install --quiet -e '.[dev]'
	touch $@
