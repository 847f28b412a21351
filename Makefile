# Everything a user needs: `make bench` and `make test` set themselves up.
PYTHON ?= python3
EXPERIMENT ?= quick
SEARCH ?= search-quick
BIN := .venv/bin

.PHONY: help setup bench search report test check fix
help:
	@echo "make bench [EXPERIMENT=quick] [ARGS=--small]   run an experiment and report it"
	@echo "make search [SEARCH=search-quick]              tune the arms of a search, retrain the best"
	@echo "make report [EXPERIMENT=quick]                 report what is saved, run nothing"
	@echo "make test | check | fix                        tests | all checks | format and repair"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' \
		|| { echo "resizer-bench needs Python 3.11.4 or newer: make setup PYTHON=python3.12"; exit 1; }
	@echo "installing into .venv: torch and its companions take some minutes the first time"
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv \
		&& uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		$(PYTHON) -m venv .venv \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

bench: setup
	@$(BIN)/resizer-bench run $(EXPERIMENT) $(ARGS)

search: setup
	@$(BIN)/resizer-bench search $(SEARCH) $(ARGS)

report: setup
	@$(BIN)/resizer-bench report $(EXPERIMENT) $(ARGS)

test: setup
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fix: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
