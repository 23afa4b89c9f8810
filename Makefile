# Two commands: `make bench` and `make test`. Both begin with `make env`, which makes .venv from
# requirements/lock.txt and does nothing when nothing changed.
#
#   PYTHON=…       the Python 3.11 that .venv is made from
#   TORCH_INDEX=…  an index asked for torch besides the registry, for example
#                  https://download.pytorch.org/whl/cpu for the small CPU build
#   ARGS=…         more arguments for the benchmark (make bench) or for pytest (make test)
#   OUT=…          the folder of the results of make bench (results)
#   TASKS=… RESULTS=…  the tasks of make results, and the folder of theirs (build/results)

PYTHON ?= python3.11
TORCH_INDEX ?=
ARGS ?=
OUT ?= results

LOCK := requirements/lock.txt
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := wavebyol_hear baselines pretrain benchmark
PACKS ?= ../shared/data
TASKS ?= notes,esc50,speech_commands_folds
RESULTS ?= build/results
ROWS := baselines.content_random,baselines.log_mel,baselines.cola,baselines.byol_a,wavebyol_hear?untrained=true,wavebyol_hear?whiten=false,wavebyol_hear:baselines/weights/slim_333k.safetensors,wavebyol_hear

# A PYTHON that has the locked torch lends it to .venv: gigabytes that need not come twice.
TORCH := $(shell sed -n 's/^torch==//p' $(LOCK))
LEND_TORCH = $(shell $(PYTHON) -c "from importlib.metadata import version; \
	print('--system-site-packages' * (version('torch').split('+')[0] == '$(TORCH)'))" 2>/dev/null)
# The lines of one part of the lock.
part = awk '/^\# == / { keep = ($$3 == "$(1):") } keep' $(LOCK) > .venv/$(1).txt

.PHONY: env env-test bench results test lint types clean

env: .venv/.bench-stamp

env-test: .venv/.test-stamp

.venv/.bench-stamp: $(LOCK) setup.cfg pyproject.toml tools/prune_torchaudio.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "make: $(PYTHON) is not Python 3.11; say where one is: make env PYTHON=/path/to/python3.11"; \
		exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(LEND_TORCH) .venv
	@$(call part,torch)
	@$(call part,bench)
	$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r .venv/torch.txt
	$(PIP) install --no-deps -r .venv/bench.txt
	$(BIN)/python tools/prune_torchaudio.py
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.test-stamp: .venv/.bench-stamp
	@$(call part,test)
	$(PIP) install --no-deps -r .venv/test.txt
	@touch $@

bench: env
	$(BIN)/python -m benchmark.run --models '$(ROWS)' --out $(OUT) $(ARGS)
	$(BIN)/python -m benchmark.report $(OUT)

# The README's table: the embedded task and the small real packs (esc50.tar, speech_commands.tar).
results: env
	$(BIN)/python tools/lay_out_packs.py $(PACKS) build/packs
	$(BIN)/python -m benchmark.run --tasks $(TASKS) --allow-partial \
		--data-dir build/packs --out $(RESULTS) --models '$(ROWS)' --protocol linear,knn $(ARGS)
	$(BIN)/python -m benchmark.report $(RESULTS)

test: lint types
	$(BIN)/python -m pytest $(ARGS)

lint: env-test
	$(BIN)/ruff check .

types: env-test
	$(BIN)/mypy $(PACKAGES)

# What tools left behind; .venv, results/ and runs/ stay.
clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
	find $(PACKAGES) tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
