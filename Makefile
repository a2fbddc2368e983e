# make quickstart: train on real images that come with the package, and compare.
# make test:       run all tests.       make check: style and types.
#
# Both set up .venv first; nothing else is to be installed by hand.
#   PYTHON=python3.12   another interpreter (3.11 or newer)
#   CONSTRAINTS=        newer versions of PyTorch than those the project is tested with
#   OUTPUT=runs/second  another folder for the quickstart's run
#   PYTEST_ARGS='-k masks'
#   PYTEST_WORKERS=0    all tests in one process, as for a debugger

PYTHON ?= python3
CONSTRAINTS ?= constraints/ci.txt
OUTPUT ?= runs/quickstart
PYTEST_ARGS ?=
PYTEST_WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
INSTALL = $(BIN)/python -m pip install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: quickstart test check setup setup-dev format docs clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

quickstart: $(READY)
	$(BIN)/jepa train --config image/quickstart --output $(OUTPUT)
	$(BIN)/jepa health $(OUTPUT)
	$(BIN)/jepa report $(OUTPUT)

test: $(READY_DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile \
	    --no-loadscope-reorder $(PYTEST_ARGS)

check: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY_DEV)
	$(INSTALL) -e '.[docs]'
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

setup: $(READY)

setup-dev: $(READY_DEV)

# What people run needs no development tools; what developers run covers both.
$(READY): pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(INSTALL) -e .
	@touch $@

$(READY_DEV): pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(INSTALL) -e '.[dev]'
	@touch $(READY) $@

# pip is what a half-made environment lacks, so that a second try begins anew.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "make: no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	    "make: $(PYTHON) is Python %d.%d, and 3.11 or newer is needed; name one: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
