# Everything is set up in .venv on first use; see README.md for the same lines without make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test chromium lint lab pocket-voice clean

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py

test: $(STAMP) lint chromium
	$(BIN)/python -m pytest -n 2 -q

# The browser that the tests of the notebooks drive; installed on Debian when it is missing.
chromium: $(STAMP)
	@$(BIN)/python tests/browser/chromium.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Half an hour on a card such as an H100; resumes where it was stopped (training/pocket/README.md).
pocket-voice: $(STAMP)
	$(BIN)/python -m training.pocket.run

lab: $(STAMP)
	$(BIN)/qwen-audio lab

# Hashes are checked for every package. PyTorch is fetched first and installed from the folder, because pip, when it
# checks hashes, passes over a CPU build that is on offer; the line after completes a CUDA build with the CUDA libraries
# that the build itself names (a CPU build needs none).
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
$(STAMP): requirements.lock requirements-torch.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) download --no-deps --dest $(VENV)/wheels torch==2.13.0
	$(PIP) install --no-deps --require-hashes --no-index --find-links $(VENV)/wheels -r requirements-torch.lock
	$(PIP) install torch==2.13.0
	rm -rf $(VENV)/wheels
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
