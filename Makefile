# Each of these works as the first thing typed in a fresh clone: it makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# Tests start many processes: each has one thread, and finds compiled what another imported, even where the environment
# says not to keep that.
TESTS_ENV := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
# One process more than there are cores: some tests wait for a server or a signal.
PYTEST := pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadscope --no-loadscope-reorder

.PHONY: demo test coverage test-newest lint types check lock clean

demo: $(VENV)/.installed
	$(BIN)/depthfinder run $(ARGS)

test: $(VENV)/.installed
	$(TESTS_ENV) $(BIN)/$(PYTEST) $(ARGS)

# What `make test` leaves out: other sizes of what it has tested.
coverage: $(VENV)/.installed
	$(TESTS_ENV) $(BIN)/$(PYTEST) -m grid $(ARGS)

# The tests again with the newest that pyproject allows and the registry has, in an environment beside the locked one;
# how that differs from the lock is printed.
test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade --upgrade-strategy eager --editable ".[dev]"
	-.venv-newest/bin/python -I .ci/as_locked.py requirements.lock
	$(TESTS_ENV) .venv-newest/bin/$(PYTEST) $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

check: lint types test

# What the lock names and nothing else: no dependency is looked for beside it, and the build backend is from it too.
$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	$(BIN)/python -I .ci/as_locked.py requirements.lock
	touch $@

# Versions that are in the lock stay while they fit; `make lock ARGS=--upgrade` takes the newest of everything.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv==$(UV_VERSION)
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --no-python-downloads --extra dev \
		--annotation-style line --custom-compile-command "make lock" $(ARGS) \
		--output-file requirements.lock pyproject.toml requirements.in

clean:
	rm -rf $(VENV) .venv-newest .venv-lock depthfinder-out
