# `make run` trains the main job, `make test` runs the quick tests. Each makes .venv first and
# brings it up to date where pyproject.toml or constraints.txt has changed.

CONFIG ?= configs/cyclegan.py
ARGS ?=
# PYTHON: the Python to make .venv with; the first of `candidates` that fits where it isn't set.
EXTRAS ?= test
VENV := .venv

python := $(VENV)/bin/python
installed := $(VENV)/.installed

.DELETE_ON_ERROR:
.PHONY: run test lint slow format clean

# Further flags: make run ARGS="--config.seed=1"
run: $(installed)
	$(python) -m jaxgan.main --config=$(CONFIG) $(ARGS)

# Two at a time, a file of tests by one of them: its tests share what was trained.
test: $(installed)
	$(python) -m pytest -n 2 --dist loadfile $(ARGS)

# The promises that take minutes: real runs, kills, whole trainings.
slow: $(installed)
	$(python) -m pytest -m slow $(ARGS)

lint: $(installed)
	$(python) -m ruff check .
	$(python) -m ruff format --check .

format: $(installed)
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

clean:
	rm -rf $(VENV)

$(installed): $(python) pyproject.toml constraints.txt
	@$(python) -m pip --version >/dev/null 2>&1 || $(python) -m ensurepip
	$(python) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

candidates = $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python)
$(python):
	@for name in $(candidates); do \
	    $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	        >/dev/null 2>&1 && found=$$name && break; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "No Python 3.11 or newer with venv among: $(candidates). Install one (on Debian and" \
	        "Ubuntu python3-venv too), or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $(VENV)
