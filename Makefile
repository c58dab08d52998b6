# galab: `make` lists the targets. Each works alone, with Python 3.11 or newer and pip; each installs what it needs.
#
#   make run ARGS="--seconds 600"      extra flags for the command behind a target
#   make test ARGS="-m 'not slow'"       the quick tests alone, in two minutes
#   make test WORKERS=4                as many tests at once, in place of one per core
#   make test PYTHON=/path/to/python   another interpreter for the environment
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu    torch without CUDA: 200 MB in place of several GB
#   GALAB_DATA=/path/to/data make run  the folder that holds the data sets

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Other people's libraries, for comparison only, in an environment of their own.
PEERS := .venv-peers
# The oldest versions that setup.cfg allows, in an environment of their own; torch is the one at hand.
FLOORS := .venv-floors
EXTRAS := test,offline,export,dev
# Extras that the tests need as well.
TESTED := rl,cluster,llm
ARGS ?=
# Tests at once. Each process takes a gigabyte, so no more than eight.
WORKERS ?= auto --maxprocesses=8
TORCH_INDEX ?=
# The first interpreter that answers: a version manager leaves commands behind that only print an error.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

# The folder of a torch that PYTHON can import and that setup.cfg accepts: CUDA builds are large, so it is not fetched twice.
FIND_TORCH = import os, re, sys, torch; \
	assert "version = %d.%d." % sys.version_info[:2] in open("$(VENV)/pyvenv.cfg").read(); \
	want = re.search(r"torch>=([0-9]+)[.]([0-9]+)", open("setup.cfg").read()).groups(); \
	have = re.match(r"([0-9]+)[.]([0-9]+)", torch.__version__).groups(); \
	assert tuple(map(int, have)) >= tuple(map(int, want)); \
	print(os.path.dirname(os.path.dirname(torch.__file__)))

.PHONY: help
help: ## list the targets
	@echo "galab: neural networks without gradients. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo 'Extra flags: make run ARGS="--seconds 600". Data: GALAB_DATA=FOLDER make run. More: the top of the Makefile.'

.PHONY: run
run: $(VENV)/.installed ## evolve an MNIST classifier in about 90 seconds, into runs/
	@$(BIN)/galab run --preset mnist-quick $(ARGS)

# Each test process, and each Python that a test starts, computes on one thread (tests/conftest.py) and finds galab compiled.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: test
test: $(VENV)/.tested ## run the tests, some at once; ARGS="-m 'not slow'" leaves out what takes long
	@$(PYTEST) --ignore=tests/test_architecture.py $(ARGS)

.PHONY: check
check: $(VENV)/.tested ## lint, check the types, and check that modules import on their own and downwards only
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py

.PHONY: check-release
check-release: $(VENV)/.tested ## what takes an hour: many kills of every kind of run, long fuzzing, the built package
	@GALAB_KILLS=50 GALAB_KILL_STRIDE=1 GALAB_EXAMPLES=1000 $(PYTEST) -m release $(ARGS)

.PHONY: test-floors
test-floors: $(FLOORS)/.installed ## the quick tests with the oldest versions of other packages that setup.cfg allows
	@PYTHONDONTWRITEBYTECODE= $(FLOORS)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m 'not slow' -W ignore::DeprecationWarning $(ARGS)

.PHONY: bench
bench: $(VENV)/.installed ## measure speed and memory against their bounds and, after bench-peers, other libraries
	@$(BIN)/python bench/run.py $(ARGS)

.PHONY: bench-peers
bench-peers: $(PEERS)/.installed ## install other people's libraries (JAX; 1 GB) to measure galab against

.PHONY: board
board: $(VENV)/.installed ## open TensorBoard on runs/
	@$(BIN)/python -m tensorboard.main --logdir runs $(ARGS)

.PHONY: clean
clean: ## remove the environments, caches and build leftovers; runs/ stays
	@rm -rf $(VENV) $(PEERS) $(FLOORS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	@find $(wildcard galab tests bench analysis) -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call environment,FOLDER,PYTHON) makes an environment, $(call find_pip,FOLDER) sets $$pip. A Python without ensurepip
# (Debian's, without python3.11-venv) cannot put pip into an environment, but its own pip can install there.
environment = test -x $(1)/bin/python || { \
	if $(2) -c 'import ensurepip, venv' 2>/dev/null; then $(2) -m venv $(1); \
	else $(2) -m venv --without-pip $(1); fi; } || { rm -rf $(1); \
	echo "'$(2) -m venv' failed; on Debian and Ubuntu: apt install python3.11-venv" >&2; exit 1; }
find_pip = if $(1)/bin/python -m pip --version >/dev/null 2>&1; then pip="$(1)/bin/python -m pip"; \
	else pip="$(PYTHON) -m pip --python $(1)/bin/python"; fi; \
	$$pip --version >/dev/null || { \
	echo "no pip for $(1): '$(PYTHON)' has neither ensurepip nor pip; on Debian and Ubuntu: apt install python3.11-venv" >&2; \
	exit 1; }

# The stamps are written last, so that an install that failed half-way is done again.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "expected Python 3.11 or newer, got '$(PYTHON)'; install it, or give make PYTHON=/path/to/python" >&2; exit 1; }
	@$(call environment,$(VENV),$(PYTHON))
	@cp constraints.txt $(VENV)/constraints.txt
	@torch=$$($(PYTHON) -c '$(FIND_TORCH)' 2>/dev/null); \
	 site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	 rm -f $$site/galab_torch.pth; \
	 if test -n "$$torch" && test "$$torch" != "$$site" && ! test -d $$site/torch; then \
		echo "using the torch in $$torch"; \
		echo "$$torch" > $$site/galab_torch.pth; \
		grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt; fi
	@$(call find_pip,$(VENV)); \
	 echo "installing into $(VENV); the first time takes a minute, and longer where torch is fetched"; \
	 $$pip install --quiet -c $(VENV)/constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[$(EXTRAS)]'
	@touch $@

# What tests need and runs do not.
$(VENV)/.tested: $(VENV)/.installed
	@$(call find_pip,$(VENV)); \
	 $$pip install --quiet -c $(VENV)/constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[$(TESTED)]'
	@touch $@

$(FLOORS)/.installed: setup.cfg $(VENV)/.installed
	@$(call environment,$(FLOORS),$(PYTHON))
	@sed -n 's/^    \([A-Za-z][A-Za-z0-9_-]*\)>=\([0-9.]*\)$$/\1==\2.*/p' setup.cfg | grep -v '^torch==' | sort -u > $(FLOORS)/floors.txt
	@site=$$($(FLOORS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	 from=$$($(BIN)/python -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))'); \
	 for part in torch torchgen functorch; do ln -sfn $$from/$$part $$site/$$part; done
	@$(call find_pip,$(FLOORS)); \
	 echo "installing the oldest versions into $(FLOORS); the first time takes a minute or two"; \
	 grep -v '^ruff==\|^mypy==' $(FLOORS)/floors.txt > $(FLOORS)/wanted.txt; \
	 $$pip install --quiet -r $(FLOORS)/wanted.txt 'setuptools<82' sympy networkx fsspec typing_extensions && \
	 $$pip install --quiet --no-deps -e .
	@touch $@

# torch is galab's own: its folder is put on the path, behind what is installed here, so it is not fetched twice.
$(PEERS)/.installed: $(VENV)/.installed bench/peers/requirements.txt
	@$(call environment,$(PEERS),$(BIN)/python)
	@rm -f $(PEERS)/lib/python*/site-packages/galab_torch.pth
	@$(call find_pip,$(PEERS)); \
	 echo "installing into $(PEERS); the first time takes a minute or two"; \
	 $$pip install --quiet --no-deps --ignore-requires-python -r bench/peers/requirements.txt
	@site=$$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	 $(BIN)/python -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' > $$site/galab_torch.pth
	@$(PEERS)/bin/python -c 'import eggroll, eggroll_trainer, evosax, evotorch, evox, torcheggroll'
	@touch $@
