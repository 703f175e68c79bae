# Only relative paths: make splits names at spaces, and a project folder may have one in its name.

SHELL = /bin/sh
PYTHON = .venv/bin/python
PIP = $(PYTHON) -m pip --disable-pip-version-check --no-input
OLDEST = 12# of Python 3

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help run test load lint requirements

help: ## this list
	@echo 'make …'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

run: .venv/requirements ## set up what is missing, then serve on PORT (8000) until Ctrl-C
	@exec $(PYTHON) -m roadmap.server.run

test: .venv/tests-requirements ## the whole suite, on a temporary PostgreSQL of its own
	@exec $(PYTHON) -m tests.suite $(ARGS)

load: .venv/load-requirements ## the load tests against the peers; ONLY=joins for one row
	@ONLY='$(ONLY)' exec $(PYTHON) -m tests.load

lint: .venv/tests-requirements ## formatter, linter, types, templates, missing migrations, pins
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m djlint --check --lint --quiet roadmap waitlist healthcheck
	@# It would compare with a database too; none need be there.
	$(PYTHON) -W 'ignore:Got an error checking:RuntimeWarning' manage.py makemigrations --check --dry-run
	$(PYTHON) -m tests.pins

requirements: .venv/tests-requirements ## compile both lists of exact pins from pyproject.toml
	$(PIP) install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) --group test --constraints requirements.txt --output-file tests/requirements.txt
	$(COMPILE) --group load --constraints requirements.txt --constraints tests/requirements.txt \
		--output-file tests/load/requirements.txt

COMPILE = $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.$(OLDEST) --no-emit-index-url \
	--no-emit-find-links --custom-compile-command 'make requirements'

# What is installed, by the time at which its list was read.
.venv/requirements: requirements.txt | $(PYTHON)
	@echo 'Installing the requirements into .venv'
	@$(PIP) install -qq --requirement requirements.txt || { \
		echo 'The requirements could not be installed, pip says why above: try again with a network.' >&2; exit 1; }
	@touch $@

.venv/tests-requirements: tests/requirements.txt .venv/requirements
	@echo 'Installing what the tests need into .venv'
	@$(PIP) install -qq --requirement requirements.txt --requirement tests/requirements.txt || { \
		echo 'The requirements could not be installed, pip says why above: try again with a network.' >&2; exit 1; }
	@touch $@

.venv/load-requirements: tests/load/requirements.txt .venv/tests-requirements
	@echo 'Installing what the load tests compare with into .venv'
	@$(PIP) install -qq --requirement tests/load/requirements.txt || { \
		echo 'The requirements could not be installed, pip says why above: try again with a network.' >&2; exit 1; }
	@touch $@

# Any Python on PATH that is new enough, `python3` first. `pip` is asked for last: a virtual environment that was
# interrupted while it was made, or whose Python is gone, is made anew.
$(PYTHON):
	@IFS=:; for name in python3 python3.14 python3.13 python3.12; do for folder in $$PATH; do \
		found="$$folder/$$name"; \
		if "$$found" -c 'import sys; sys.exit(sys.version_info < (3, $(OLDEST)))' 2>/dev/null; then \
			echo "Making .venv with $$("$$found" --version)"; \
			"$$found" -m venv --clear .venv && exit 0; \
			rm -rf .venv; \
			echo "$$found cannot make a virtual environment: install its venv module (Debian: python3-venv)." >&2; \
			exit 1; \
		fi; \
	done; done; \
	echo 'Python 3.$(OLDEST) or newer is needed and none was found on PATH: install one, then try again.' >&2; \
	exit 1
