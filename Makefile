# Two commands for everybody: `make demo` and `make test`. Each sets up what it needs in .venv, and needs only
# Python 3.10 or newer (PYTHON=python3.12 picks one) with pip.
PYTHON ?= python3
VENV ?= .venv
DATA ?=
# CI installs what a lock file pins. Without one everything is the newest that pyproject.toml allows.
LOCK ?=
# Windows keeps a virtual environment's programs elsewhere.
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED = $(PIP) install --require-hashes -r $(LOCK) && $(PIP) install --no-deps --no-build-isolation -e .

.PHONY: demo test check docs matrix bench soak lock audit dist format clean

demo: $(VENV)/.demo
	$(BIN)/python examples/quickstart.py $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(VENV)/.check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

# The site, in build/docs. A warning, such as one about a dead link, is an error. Needs Python 3.11.
docs: $(VENV)/.docs
	@rm -rf build/docs build/doctrees
	$(BIN)/python -m sphinx -q -n -W --keep-going -d build/doctrees docs build/docs

# Tries every fault of docs/reliability.md, and writes that page.
matrix: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -m row --matrix=write $(ARGS)

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run.py $(ARGS)

# Ten thousand signed calls from threads and from tasks, and an evaluation of 2,000 prompts, of a service that fails;
# three minutes.
soak: $(VENV)/.test
	$(BIN)/python tests/soak.py $(ARGS)
	$(BIN)/python tests/soak_evaluation.py

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --upgrade \
	--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: $(VENV)/.python
	$(PIP) install uv
	printf 'hatchling\neditables\n' | $(COMPILE) --output-file requirements-ci.lock \
	  --extra local --extra progress --extra test --extra test-trackers --extra check --extra docs pyproject.toml -
	$(COMPILE) --output-file .ci/release.lock .ci/release.in

audit:
	bash .ci/audit

# Builds the distributions in dist/ and their SBOM in build/, and tries them in clean environments.
dist:
	bash .ci/release-check

format: $(VENV)/.check
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .venv-* .bench dist build

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "bedrock_rft needs Python 3.10 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(PIP) install -e '.[local,progress]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml $(LOCK)
	$(if $(LOCK),$(LOCKED),$(PIP) install -e '.[local,progress,test]')
	@touch $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml $(LOCK)
	$(if $(LOCK),$(LOCKED),$(PIP) install -e '.[cli,local,docs]')
	@touch $@

$(VENV)/.check: $(VENV)/.python pyproject.toml $(LOCK)
	$(if $(LOCK),$(LOCKED),$(PIP) install -e '.[local,progress,test,check]')
	@touch $@
