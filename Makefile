# make demo    the device install, real sample photographs, a screened page (no torch, no TensorFlow)
# make serve   the instrument on those photographs: open http://127.0.0.1:8080
# make test    everything installed, checked and tested
# make hil     the virtual Pi, the true camera stack, deploying to a machine that boots (root; see hil_tests/README.md)
# make check   style and types only
# make clean   removes what the others made (not runs/)

PYTHON ?= python3
DEMO ?= out/demo
HIL_OUT ?= out/hil

# An environment is made again when what it installs changes, told by content: a fresh checkout's times say nothing.
WANTED := $(shell cksum < pyproject.toml | tr -d ' ')
DEV := .venv/installed-$(WANTED)
BARE := .venv-demo/installed
BIN := .venv/bin

.PHONY: help demo serve test hil check clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(BARE)
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@.venv-demo/bin/tenohira samples --out $(DEMO)/photographs || { \
	  echo "The sample photographs could not be fetched: showing pictures of the simulated camera instead."; \
	  rm -rf $(DEMO)/photographs; \
	  .venv-demo/bin/tenohira samples --simulated 6 --out $(DEMO)/photographs; }
	@.venv-demo/bin/tenohira screen $(DEMO)/photographs --out $(DEMO)/results --json --page
	@echo "Open $(DEMO)/results/index.html in a browser."

serve: $(BARE)
	@test -d $(DEMO)/photographs || $(MAKE) --no-print-directory demo
	@echo "Open http://127.0.0.1:8080 in a browser; stop with Ctrl-C. The record is in $(DEMO)/record."
	@.venv-demo/bin/tenohira serve --camera 'replay:$(DEMO)/photographs?repeat=3' --store $(DEMO)/record

# The tests run even where the checks complain, so that one look shows everything.
test: $(DEV)
	@status=0; \
	$(MAKE) --no-print-directory check || status=1; \
	$(BIN)/python -m pytest || status=1; \
	exit $$status

hil: $(DEV)
	@sh hil_tests/deploy/build_root.sh
	@status=0; \
	$(BIN)/python -m pytest hil_tests/deploy hil_tests/virtual_camera || status=1; \
	$(BIN)/tenohira hil --rig pi-virtual --out $(HIL_OUT) || status=1; \
	exit $$status

check: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# Not editable: it shows what a user gets. build/lib would smuggle deleted modules into the package.
$(BARE): pyproject.toml $(shell find device -type f -not -name '*.pyc')
	$(call environment,.venv-demo)
	@rm -rf build/lib build/bdist.*
	.venv-demo/bin/python -m pip install --quiet --disable-pip-version-check --upgrade .
	@rm -rf build/lib build/bdist.*
	@touch $@

$(DEV):
	$(call environment,.venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@rm -f .venv/installed-* && touch $@

define environment
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "tenohira needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || { \
	  rm -rf $(1); echo "No virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }
endef

clean:
	rm -rf .venv .venv-demo build dist out samples *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
