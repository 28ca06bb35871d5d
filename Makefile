# Needs Python 3.11 or newer, make and git. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results
# What the decoders are tested against; tests that need it are skipped with TORCH= (empty).
TORCH ?= torch==2.13.0

.PHONY: demo test test-all check docs site bench dist clean

# Each stamp stands for an environment that has an extra; it is made anew when pyproject changes.
$(VENV)/pip: 
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "jaxcollapse needs Python 3.11 or newer; set PYTHON=python3.12, say"'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/plot: $(VENV)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plot]'
	touch $@

$(VENV)/test: $(VENV)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet $(TORCH) --editable '.[test]'
	touch $@ $(VENV)/plot

$(VENV)/docs: $(VENV)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

## The paper's Figure 1: sweep, results file, figures, table.
demo: $(VENV)/plot
	$(BIN)/python experiments/figure1_gaussian.py --out $(RESULTS)/figure1_gaussian --overwrite

## The tests, style and types.
test: $(VENV)/test check
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=10

## Also those that take minutes; programs are compiled as users' are, which tests else do quickly.
test-all: $(VENV)/test check
	XLA_FLAGS= $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow"

check: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## The documentation, every snippet of which is run: site/index.html.
docs: site
	$(BIN)/python -m pytest -n 2 -m "slow or not slow" tests/test_readme.py tests/test_docs.py

# Warnings are errors, dead links and anchors among them.
site: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

## How fast this machine runs chains, beside NumPy and PyTorch, and language models.
bench: $(VENV)/test
	$(BIN)/jaxcollapse bench --against numpy torch --seconds 1800 --out benchmarks/results
	$(BIN)/python benchmarks/language_model.py --out benchmarks/results

## A wheel and a source distribution, checked, and the wheel alone in an environment of its own.
dist:
	rm -rf build dist
	$(PYTHON) -m venv $(VENV)/dist
	$(VENV)/dist/bin/python -m pip install --quiet build twine
	$(VENV)/dist/bin/python -m build --quiet .
	$(VENV)/dist/bin/twine check --strict dist/*
	$(PYTHON) -m venv --clear $(VENV)/wheel
	$(VENV)/wheel/bin/python -m pip install --quiet "$$(echo dist/*.whl)[sweep]"
	cd dist && $(abspath $(VENV))/wheel/bin/jaxcollapse run gaussian --dim 1 --num-samples 10 --seeds 2 \
	  --generations 3 --out wheel.nc --overwrite && rm wheel.nc

clean:
	rm -rf $(VENV) $(RESULTS) site
