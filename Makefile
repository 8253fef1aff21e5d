# Everything for a fresh Linux machine that has Python 3.11+ and make. `make help` lists it.

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .cache/uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.installed
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint bench clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

install: $(STAMP)  ## the local environment .venv, exactly as uv.lock says

demo: $(STAMP)  ## the whole system on loopback, an agent at work, and a harness killed in the middle
	@$(BIN)/holdfast demo

test: $(STAMP)  ## the whole suite against real servers
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal

lint: $(STAMP)  ## format, lint, types
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright

check: lint test  ## what CI runs: format, lint, types, tests

bench: $(STAMP)  ## the figures, each beside a floor from the same run
	@$(BIN)/python -m benchmarks

clean:  ## remove what install and the tests have made; data of `holdfast up` (.holdfast) stays
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' not found. Install Python 3.11 or later, or: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) -V) is too old. Holdfast needs Python 3.11 or later: make install PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: this Python cannot make environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@test "$$(uname -s)" = Linux || { echo "make: Holdfast runs on Linux (its sandboxes need Linux namespaces)." >&2; exit 1; }
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The environment is remade only when the lock file or the project file has changed.
$(STAMP): uv.lock pyproject.toml | $(UV)
	UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --quiet --python "$$(command -v $(PYTHON))"
	@touch $@
