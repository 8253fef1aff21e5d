# Everything for a fresh Linux machine that has Python 3.11+ and make. `make help` lists it.

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .cache/uv/bin/uv
UV_STAMP := .cache/uv/.installed-$(UV_VERSION)
BIN := .venv/bin
WORKERS ?= auto

# Two stamps: what Holdfast needs to run, and the tools of its developers on top of that.
STAMP := .venv/.installed
DEV := .venv/.installed-dev

# Trust the certificates of the system, so that the proxy of a company with its own authority is trusted here too.
# uv brings a list of its own for a machine without one. SSL_CERT_FILE, SSL_CERT_DIR and PIP_CERT of the user come first.
CA_BUNDLE := $(firstword $(SSL_CERT_FILE) $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem))
UV_SYSTEM_CERTS ?= $(if $(CA_BUNDLE)$(SSL_CERT_DIR),1,0)
export UV_SYSTEM_CERTS
export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON_DOWNLOADS := never

# Progress for people; nothing where the output is kept.
QUIET := [ -t 2 ] || quiet=--quiet

# The environment is made anew if PYTHON is given and is not the Python that it was made with.
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(STAMP)),)
VERSION_OF = $(shell exec 2>/dev/null; $(1) -c 'import sys; print(sys.version)')
ifneq ($(call VERSION_OF,$(PYTHON)),$(call VERSION_OF,$(BIN)/python))
$(STAMP): other-python
endif
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install dev demo test check lint bench clean other-python

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

install: $(STAMP)  ## the local environment .venv, exactly as uv.lock says; PYTHON=python3.13 chooses the Python
	@echo "Installed. Now: . .venv/bin/activate && holdfast up --scripted"

dev: $(DEV)  ## the same with the tools of developers: pytest, ruff, pyright

demo: $(STAMP)  ## the whole system on loopback, an agent at work, and a harness killed in the middle
	@$(BIN)/holdfast demo

test: $(DEV)  ## the whole suite against real servers
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal

lint: $(DEV)  ## format, lint, types
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright

check: lint test  ## format, lint, types, tests

bench: $(DEV)  ## the figures, each beside a floor from the same run
	@$(BIN)/python -m benchmarks

clean:  ## remove what install and the tests have made; data of `holdfast up` (.holdfast) stays
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python that cannot be used is refused before anything is fetched.
define require_python
	@test "$$(uname -s)" = Linux || { echo "make: Holdfast runs on Linux (its sandboxes need Linux namespaces)." >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' not found. Install Python 3.11 or later, or: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) -V 2>&1) is too old. Holdfast needs Python 3.11 or later: make install PYTHON=python3.11" >&2; exit 1; }
endef

$(UV_STAMP):
	$(require_python)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: this Python cannot make environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Fetching the installer uv $(UV_VERSION) (about 25 MB) into .cache/uv"
	@$(PYTHON) -m venv .cache/uv
	@$(QUIET); bundle='$(CA_BUNDLE)'; pip=".cache/uv/bin/python -m pip"; \
	if [ -n "$$bundle" ] && [ -z "$$PIP_CERT" ] && ! $$pip config get global.cert >/dev/null 2>&1; then export PIP_CERT="$$bundle"; fi; \
	$$pip install $$quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(STAMP): uv.lock pyproject.toml | $(UV_STAMP)
	$(require_python)
	@echo "Fetching what Holdfast needs (about 110 MB, less what uv has in its cache; 300 MB installed) into .venv"
	@$(QUIET); [ -e $(DEV) ] || group=--no-dev; $(UV) sync --frozen --extra embedded $$quiet $$group --python "$$(command -v $(PYTHON))"
	@touch $@

$(DEV): $(STAMP)
	@echo "Fetching the tools of developers (about 90 MB, less what uv has in its cache; 250 MB installed) into .venv"
	@$(QUIET); $(UV) sync --frozen --extra embedded $$quiet --python "$$(command -v $(PYTHON))"
	@touch $@
