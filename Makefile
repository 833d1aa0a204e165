# make run   sets up and generates a certified Darcy data set, compares, draws it
# make test  sets up and runs every test;   make lint  format, lint, types
# make quick runs after each change what finds most: operators, Krylov methods, `solve`, the store of data sets, the package
# make bench compares with the rivals; FAST=1 in small sizes, ONLY="batch float32" some cases, PROBLEMS=128² some of their problems
# make validate  measures the tables of the papers again, in stages; PAPER=skr one paper, FAST=1 in small sizes, ONLY="orders chunks" some stages
# Nothing is reinstalled until pyproject.toml changes.

PYTHON ?= python3
NUM_SAMPLES ?= 256
OUT ?= build/darcy64
PAPER ?= skr learning_to_relax gaussian_process conjugate_directions channel_flow neural_operators
QUICK := tests/operators tests/solvers/krylov tests/solvers/test_certificate.py tests/solvers/test_solve.py tests/datasets/store tests/test_package.py tests/test_docs.py
VENV := .venv
BIN := $(VENV)/bin
export PYTHONSAFEPATH := 1

.PHONY: run test quick lint bench validate docs clean

run: $(VENV)/run.stamp
	$(BIN)/krylax generate darcy --num-samples $(NUM_SAMPLES) --num-points 64 64 --out $(OUT)
	$(BIN)/krylax verify $(OUT)
	$(BIN)/python benchmarks/recycling.py $(OUT)
	$(BIN)/krylax preview $(OUT)

test: $(VENV)/dev.stamp
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --durations=5 -q

quick: $(VENV)/dev.stamp
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile -q -m "not slow" $(QUICK)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(VENV)/bench.stamp
	$(BIN)/python benchmarks $(if $(FAST),--fast) $(if $(ONLY),--only $(ONLY)) $(if $(PROBLEMS),--problems "$(PROBLEMS)")

validate: $(VENV)/bench.stamp
	for paper in $(PAPER); do $(BIN)/python validation/$$paper $(if $(FAST),--fast) $(if $(ONLY),--only $(ONLY)) $(if $(REDO),--redo) || exit 1; done

docs: $(VENV)/docs.stamp
	$(BIN)/mkdocs build --strict

clean:
	rm -rf build dist site

$(VENV)/run.stamp: pyproject.toml
	$(call install,cli)

$(VENV)/dev.stamp: pyproject.toml
	$(call install,dev)
	touch $(VENV)/run.stamp

$(VENV)/bench.stamp: pyproject.toml
	$(call install,bench)

$(VENV)/docs.stamp: pyproject.toml
	$(call install,docs)

# One editable install; pip checks what an extra adds to an existing environment.
define install
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(1)]"
touch $@
endef
