# Everything lives in .venv; nothing global is touched. `make setup` is repeated only when its inputs change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# tests run in so many processes, a thread each; a process needs up to 4 GB
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
PACKAGES := engine kernels exporters models evaluation data bench commands cli.py errors.py __init__.py setup.py tests

.PHONY: setup demo test test-full test-faults test-browser test-gpu gpu-bundle bench lint format clean

setup: $(VENV)/.ready

$(VENV)/.ready: setup.py pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'umd-engine needs Python 3.11 or newer; try make setup PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,report]'
	touch $@

# build/mypy/umd_engine leads mypy and the linter to the package, whose folder is the repository root
build/mypy/umd_engine:
	mkdir -p build/mypy
	ln -sfn ../.. $@

lint: setup build/mypy/umd_engine
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

test: lint
	$(PYTEST) -m "not full and not gpu and not faults and not browser"

test-full: lint
	$(BIN)/python tests/examples.py build/examples
	$(PYTEST) -m "not gpu"

test-faults: setup
	$(BIN)/python -m pytest -m faults

# The profiler's page in Chromium: Debian's package, or $(BIN)/playwright install chromium; skipped where there is none.
test-browser: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser

demo: setup
	$(BIN)/umd-engine demo --out demo-run

# On a machine with a GPU and its own torch: PYTHON=python3 make test-gpu, after `make gpu-bundle` elsewhere.
test-gpu:
	PYTHON=$(PYTHON) sh tests/gpu.sh

gpu-bundle: setup
	sh tests/gpu_bundle.sh $(BIN)/python

# Everything that is compared; one operation: umd-engine bench kernels --op distance
bench: setup
	$(BIN)/python -m umd_engine.bench

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
