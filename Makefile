# Everything sets itself up: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo lab test check notebooks pictures docs bench bench-small bench-faults audit soak clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

demo: $(VENV)/.core  ## three months of a made-up market into demo_cache, offline
	$(BIN)/ares-notebook demo

lab: $(VENV)/.lab  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

test: $(VENV)/.test  ## lint, types, tests, and the notebooks' outputs compared with those of now
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
	rm -rf notebooks/demo_cache*
	@# One after the other: of kernels that start together one may take the port that another found free.
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with=notebooks/sanitize.cfg notebooks

check: test

notebooks: $(VENV)/.test  ## run the notebooks in place: how new outputs get into them
	rm -rf notebooks/demo_cache*
	$(BIN)/python tests/execute_notebooks.py notebooks/*.ipynb

pictures: $(VENV)/.test  ## the pictures of README and notebooks, by Chromium, into notebooks/pictures
	$(BIN)/python -m tests.browser.screenshots --readme notebooks/pictures

docs: $(VENV)/.test  ## the API reference from the docstrings, into docs/reference
	rm -rf docs/reference
	$(BIN)/python docs/build_reference.py docs/reference

bench: $(VENV)/.lab  ## ours, the peers and the floor, measured in turn, into benchmarks/RESULTS.md; an hour
	$(BIN)/python -m benchmarks.bench

bench-small: $(VENV)/.lab  ## the same without peers, in about a minute: that it runs, and that every row is right
	$(BIN)/python -m benchmarks.bench --small

bench-faults: $(VENV)/.core  ## ours and the peers on the same faults, counted, into benchmarks/FAULTS.md; half an hour
	$(BIN)/python -m benchmarks.faults

SOAK_MINUTES ?= 60
SOAK_SEED ?= 1

soak: $(VENV)/.test  ## random walks over verbs, faults, damage and time, into benchmarks/SOAK.md; SOAK_MINUTES=60
	$(BIN)/python tests/walk/soak.py --minutes $(SOAK_MINUTES) --seed $(SOAK_SEED) --page benchmarks/SOAK.md

audit: $(VENV)/.test  ## known holes in what is installed here; asks PyPI's advisories, so it wants the network
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install -q pip-audit
	$(BIN)/python -c 'from importlib.metadata import distributions; print(*sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != "ares-notebook"}), sep="\n")' > $(VENV)/installed.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip -r $(VENV)/installed.txt

clean:  ## forget the environment and the demo's files
	rm -rf $(VENV) .bench demo_cache notebooks/demo_cache* docs/reference .mypy_cache .pytest_cache .ruff_cache .hypothesis

# uv is faster where it is there; pip does the same, also where uv fails: hence --seed, which brings pip.
define install
	command -v uv >/dev/null && uv venv -q --seed --allow-existing --python $(PYTHON) $(VENV) || $(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null && uv pip install -q --python $(BIN)/python -e "$(1)" || $(BIN)/python -m pip install -q -e "$(1)"
	touch $@
endef

$(VENV)/.core: pyproject.toml
	$(call install,.)

$(VENV)/.lab: pyproject.toml
	$(call install,.[lab$(comma)scale])
	touch $(VENV)/.core

$(VENV)/.test: pyproject.toml
	$(call install,.[lab$(comma)test])
	touch $(VENV)/.core $(VENV)/.lab

comma := ,
