# Everything on a fresh machine: `make demo` (the main job) and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint types tests stress docs bench comparisons gpu-check models tables figures pictures report screenshots runs clean
.DELETE_ON_ERROR:

help: ## list all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## the main job: digits with and without ISDA, three seeds each; table, curves, report
	@$(BIN)/isda-bench train experiment=demo
	@$(BIN)/isda-bench tables experiment=demo out=runs/demo
	@$(BIN)/isda-bench report experiment=demo out=runs/demo/report.html

test: lint types tests ## lint, types and the whole suite

lint: $(VENV)/ready-test ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/ready-test ## mypy
	@$(BIN)/mypy

tests: $(VENV)/ready-test ## the suite (ARGS="-m slow" for the long ones)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses=8 --dist worksteal $(ARGS)

stress: $(VENV)/ready-test ## attacks: kills, full disks, damage, random command lines, ... (ARGS="--seed=1 -k kills"); half an hour
	@$(BIN)/python -m pytest tests/stress -m slow $(ARGS)

docs: $(VENV)/ready-test ## the documents as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet && echo "written: build/site/index.html"

bench: $(VENV)/ready ## measure: results/benchmarks/<device>.json and .md
	@$(BIN)/isda-bench benchmark $(ARGS)

comparisons: $(VENV)/ready ## measure beside other code: results/benchmarks/<device>_comparisons.json and .md
	@$(BIN)/python benchmarks/run.py $(ARGS)

gpu-check: $(VENV)/ready ## check this GPU in ten minutes: results/benchmarks/gpu_check_<device>.json
	@$(BIN)/python scripts/gpu_check.py $(ARGS)

models: $(VENV)/ready ## the table of networks: results/models.md
	@$(BIN)/isda-bench models $(ARGS)

tables: $(VENV)/ready ## tables and curves of all finished runs (ARGS="experiment=demo out=runs/demo")
	@$(BIN)/isda-bench tables $(ARGS)

figures: $(VENV)/ready ## the paper's figures from finished runs: runs/figures (ARGS="experiment=comparison")
	@$(BIN)/isda-bench figures $(ARGS)

pictures: $(VENV)/ready ## the committed figures, the README's too, from the committed records: results/figures
	@$(BIN)/isda-bench figures records=results/records runs_dir=build/none out=results/figures

report: $(VENV)/ready ## one page with tables, figures, claims and every run: results/report.html
	@$(BIN)/isda-bench report $(ARGS)

screenshots: $(VENV)/ready-test ## pictures of report, documents and terminal, to be looked at: build/screenshots (needs Chromium)
	@$(BIN)/isda-bench screenshots $(ARGS)

runs: $(VENV)/ready ## list run directories, prune them (ARGS="state=unfinished prune=runs")
	@$(BIN)/isda-bench runs $(ARGS)

clean: ## remove the environment and caches; runs/ and data/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info src/*.egg-info

# A stamp is written last: an installation that broke off is done again.
$(VENV)/ready: requirements.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "isda_bench needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Could not make $(VENV) with '$(PYTHON) -m venv' (Debian: apt install python3-venv; or the disk is full)." >&2; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt || $(call install_failed)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . || $(call install_failed)
	@touch $@

$(VENV)/ready-test: $(VENV)/ready requirements-test.txt
	@echo "installing the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-test.txt || $(call install_failed)
	@touch $@

define install_failed
{ echo "The installation failed (pip's message is above): is the package index reachable," >&2; \
  echo "and is there room on the disk ($$(df -h . | awk 'NR==2 {print $$4}') free here; about 2 GB are needed)?" >&2; \
  echo "The same command tries again." >&2; exit 1; }
endef
