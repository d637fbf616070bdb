# make demo: train a spiking network on handwritten digits, about a minute.   make test: checks and tests.
# make bench: time, memory and error of every operation beside this machine's roofs, about an hour; runs/bench/ops.md.
# PYTHON chooses the interpreter of the virtual environment. Where it already has a torch of its own, that one is used.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS := hatch_build.py $(wildcard spikeseq/ops/native/*.c spikeseq/ops/native/*.h) spikeseq/ops/native/build.py

.PHONY: demo test lint bench clean

demo: $(VENV)/installed
	$(BIN)/python -m spikeseq demo

test: lint
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright -p pyproject.toml

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks ops

clean:
	rm -rf $(VENV) build dist spikeseq/ops/native/*.so

# A torch that the machine came with (for its GPU, say) is kept, and so is its triton: the environment sees them and
# nothing may replace them.
# (A torch in another virtual environment cannot be seen from here, so that does not count.)
$(VENV)/torch: constraints.txt
	if $(PYTHON) -c 'import sys, torch; sys.exit(sys.prefix != sys.base_prefix)' 2>/dev/null; \
	then $(PYTHON) -m venv --system-site-packages $(VENV); else $(PYTHON) -m venv $(VENV); fi
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install $$(grep '^torch==' constraints.txt)
	for package in torch triton; do \
	  $(BIN)/python -c "from importlib.metadata import version; print('$$package==' + version('$$package'))" 2>/dev/null \
	  || grep "^$$package==" constraints.txt; done > $@
	grep -vE '^(torch|triton)==' constraints.txt >> $@

$(VENV)/installed: $(VENV)/torch pyproject.toml $(KERNELS)
	@echo "installing spikeseq and Lightning, and compiling the kernels: a minute or two"
	$(BIN)/python -m pip install --quiet -c $(VENV)/torch -e '.[train]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c $(VENV)/torch -e '.[train,rl,forecasting]' --group dev
	touch $@
