# Two commands: `make bench` and `make test`. Both begin with `make env`, which makes .venv from
# requirements/lock.txt and does nothing when nothing changed; `make test` also makes .venv-hear, the
# environment of HEAR's own tools.
#
#   PYTHON=…       the Python 3.11, 3.12 or 3.13 that .venv is made from (the first that runs)
#   TORCH_INDEX=…  an index asked for torch besides the registry, for example
#                  https://download.pytorch.org/whl/cpu for the small CPU build
#   ARGS=…         more arguments for the benchmark (make bench) or for pytest (make test)
#   OUT=…          the folder of the results of make bench (results)
#   DATA=…         the folder of the data sets of make results (~/.cache/wavebyol_hear)
#   TASKS=… RESULTS=…  the tasks of make results, and the folder of theirs (build/results)
#   STORE=…         the corpus of make whitenings: python -m pretrain.corpus debian makes one

runs = $(shell $(1) -c 'import sys; print("$(1)" * (sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))))' 2>/dev/null)
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(call runs,$(name))))
TORCH_INDEX ?=
ARGS ?=
OUT ?= results
DATA ?= $(HOME)/.cache/wavebyol_hear
TASKS ?= notes,esc50,speech_commands
RESULTS ?= build/results

LOCK := requirements/lock.txt
BIN := .venv/bin
HEAR := .venv-hear/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := wavebyol_hear baselines pretrain benchmark
ROWS := baselines.content_random,baselines.log_mel,baselines.cola,baselines.byol_a,baselines.ssast,baselines.delores,baselines.delores?variant=m,wavebyol_hear?untrained=true,wavebyol_hear?whiten=false,wavebyol_hear:baselines/weights/slim_333k.safetensors,wavebyol_hear
empty :=
comma := ,
# Every encoder with one read-out: each stage pooled alike, whitened on the same clips.
SAME := log_mel cola byol_a ssast delores_s delores_m untrained slim_333k wavebyol
SAME_ROWS := $(subst $(empty) $(empty),$(comma),$(addprefix baselines.whitened?encoder=,$(SAME)))
COVERAGE := 90

# A PYTHON that has the locked torch lends it to .venv: gigabytes that need not come twice.
TORCH := $(shell sed -n 's/^torch==//p' $(LOCK))
LEND_TORCH = $(shell $(PYTHON) -c "from importlib.metadata import version; \
	print('--system-site-packages' * (version('torch').split('+')[0] == '$(TORCH)'))" 2>/dev/null)
# The lines of one part of the lock.
part = awk '/^\# == / { keep = ($$3 == "$(1):") } keep' $(LOCK) > .venv/$(1).txt

.PHONY: env env-test env-hear env-docs bench results whitenings test lint types unit hear docs check-lock clean

env: .venv/.bench-stamp

env-test: .venv/.test-stamp

env-docs: .venv/.docs-stamp

env-hear: .venv-hear/.stamp

.venv/.bench-stamp: $(LOCK) setup.cfg pyproject.toml tools/prune_torchaudio.py
	@test -n "$(PYTHON)" || { \
		echo "make: no Python 3.11, 3.12 or 3.13 runs; say where one is: make env PYTHON=/path/to/python"; \
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

.venv/.docs-stamp: .venv/.test-stamp
	@$(call part,docs)
	$(PIP) install --no-deps -r .venv/docs.txt
	@touch $@

# HEAR's tools see the packages of .venv (torch among them) behind their own.
.venv-hear/.stamp: .venv/.test-stamp
	@$(call part,hear)
	test -x $(HEAR)/python || $(BIN)/python -m venv .venv-hear
	$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
		> $$($(HEAR)/python -c "import site; print(site.getsitepackages()[0])")/venv.pth
	$(HEAR)/python -m pip --disable-pip-version-check install --no-deps -r .venv/hear.txt
	@touch $@

bench: env
	$(BIN)/python -m benchmark.run --models '$(ROWS)' --out $(OUT) $(ARGS)
	$(BIN)/python -m benchmark.report $(OUT)

# The two tables of docs/results.md, models as they ship and with one read-out, from public downloads:
# python -m benchmark.download esc50 speech_commands. Part of a data set is measured and marked.
results: env
	$(BIN)/python -m benchmark.run --tasks $(TASKS) --allow-partial \
		--data-dir $(DATA) --out $(RESULTS) --models '$(ROWS),wavebyol_hear?preset=slim' --protocol linear,knn $(ARGS)
	$(BIN)/python -m benchmark.report $(RESULTS)
	$(BIN)/python -m benchmark.run --tasks $(TASKS) --allow-partial --data-dir $(DATA) \
		--out $(RESULTS)/same_readout --models '$(SAME_ROWS)' --protocol linear,knn $(ARGS)
	$(BIN)/python -m benchmark.report $(RESULTS)/same_readout
	$(BIN)/python -m benchmark.compare $(RESULTS)/same_readout $(RESULTS)/same_readout \
		--model-a 'baselines.whitened?encoder=wavebyol' --model-b 'baselines.whitened?encoder=byol_a'

# The read-outs of the second table of make results, fitted on the clips of a store.
fit = $(BIN)/python -m pretrain.whiten $(STORE) baselines/whitenings/$(1).safetensors \
	--share everyday=.5 --share speech=.25 --share music=.25 --module
whitenings: env-test
	@test -n "$(STORE)" || { echo "make: say where a store is: make whitenings STORE=~/corpus/store"; exit 1; }
	$(call fit,log_mel) baselines.log_mel
	$(call fit,cola) baselines.cola --option pooling=contrast
	$(call fit,byol_a) baselines.byol_a --option pooling=contrast
	$(call fit,ssast) baselines.ssast --option pooling=contrast
	$(call fit,delores_s) baselines.delores --option pooling=contrast
	$(call fit,delores_m) baselines.delores --option variant=m --option pooling=contrast
	$(call fit,untrained) wavebyol_hear --option untrained=true
	$(call fit,slim_333k) wavebyol_hear --module-weights baselines/weights/slim_333k.safetensors \
		--option whiten=false
	$(call fit,wavebyol) wavebyol_hear --option whiten=false

test: lint types unit docs hear

lint: env-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: env-test
	$(BIN)/mypy $(PACKAGES) tests tools

# With the doctests of the packages, in one process per core, each file's tests in one; the floor of
# coverage is in setup.cfg.
unit: env-test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --doctest-modules --cov --cov-report=term:skip-covered $(or $(ARGS),tests $(PACKAGES))

# heareval and hearvalidator themselves, on our module.
hear: env-hear
	$(HEAR)/python -m pytest tests/hear

docs: env-docs
	$(BIN)/python -m sphinx -W -q -b html docs build/docs
	$(BIN)/python -m sphinx -W -q -b doctest docs build/doctest

# Asks the registry, for each Python, whether every locked version is there.
check-lock: env
	$(BIN)/python tools/check_lock.py $(LOCK)

# What tools left behind; .venv, .venv-hear, results/ and runs/ stay.
clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
	find $(PACKAGES) tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
