# make demo: the whole workflow on the miniature.   make test: every check.   make help: the rest.
SHELL := bash
PYTHON ?= $(shell command -v python3.11 || echo python3)
CORES ?= all
SEEDS ?= 0 1 2
UV := uv==0.13.8
LOCKS := envs/requirements.lock envs/weights.lock
READY := .env/installed
PARSER := .env/fmriprep/installed
COMPILE := --quiet --python .env/bin/python --generate-hashes --no-emit-index-url --no-annotate \
	--no-header

export PATH := $(CURDIR)/.env/bin:$(PATH)
export PYTHONPATH := $(CURDIR)

# What would install elsewhere, or other packages, than said here; a package index stays as it is set.
export PIP_USER := 0
export PYTHONNOUSERSITE := 1
unexport PYTHONHOME PYTHONUSERBASE PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN \
	PIP_REQUIRE_HASHES PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT PIP_NO_DEPS PIP_NO_BINARY \
	UV_SYSTEM_PYTHON UV_PYTHON UV_TARGET UV_PREFIX UV_REQUIRE_HASHES UV_CONSTRAINT UV_OVERRIDE \
	UV_NO_DEPS UV_NO_BINARY UV_EXCLUDE_NEWER UV_RESOLUTION UV_PRERELEASE

.PHONY: help demo test seeds bench rehearsal docs lock clean

help:
	@echo "make demo [CORES=n]  run the workflow on the miniature"
	@echo "make test            lint, types, unit, cluster, workflow and end-to-end tests"
	@echo "make seeds [SEEDS=…]  check the known answer of three simulated datasets"
	@echo "make bench           measure speed and memory (benchmarks/*.json)"
	@echo "make rehearsal       run the real configuration at true shapes on simulated data: 20 GB, an hour"
	@echo "make docs            rewrite what is generated of the documentation, and the schema"
	@echo "make lock            resolve envs/*.in anew"
	@echo "make clean           remove .env and what demo and rehearsal made"

demo: $(READY)
	.env/bin/snakemake --cores $(CORES)
	@echo "Tables, figures and scorecard: results/miniature/demo (results/README.md explains them)"

test: $(READY) $(PARSER)
	.env/bin/ruff check boldvision workflow tests benchmarks
	.env/bin/ruff format --check boldvision workflow tests benchmarks
	.env/bin/snakefmt --check Snakefile workflow boldvision/decoders
	.env/bin/snakemake --lint
	.env/bin/mypy
	.env/bin/pytest tests/unit tests/cluster tests/workflow
	PATH=$(CURDIR)/.env/fmriprep/bin:$$PATH .env/fmriprep/bin/python -m pytest --noconftest tests/unit/test_fmriprep.py
	.env/bin/pytest tests/end_to_end

# A dataset per seed, in folders of its own; each takes about as long as the demo.
seeds: $(READY)
	set -e; for seed in $(SEEDS); do \
	    .env/bin/snakemake --cores $(CORES) known_answer --config dataset=miniature_seed$$seed \
	        seed=$$seed data_seed=$$seed "miniature={seed: $$seed}" \
	        "s3={serve: resources/miniature_seed$$seed/bucket}"; \
	done

bench: $(READY)
	set -e; for script in benchmarks/bench_*.py; do .env/bin/python $$script; done

# In under 20 GB of memory; what is there already is not made again.
rehearsal: $(READY)
	.env/bin/python -m tests.rehearsal.run

docs: $(READY)
	.env/bin/python -m boldvision config --docs
	.env/bin/python -m boldvision plan --docs
	.env/bin/python -m boldvision memory --docs
	.env/bin/python tests/reliability.py
	.env/bin/python tests/reruns.py

lock: $(READY)
	.env/bin/uv pip compile $(COMPILE) envs/requirements.in -o envs/requirements.lock
	.env/bin/uv pip compile $(COMPILE) --no-deps envs/weights.in -o envs/weights.lock

# fMRIPrep's own parser wants other versions than the project; it reads the command that is made.
$(PARSER): envs/fmriprep.in $(READY)
	.env/bin/uv venv --quiet --allow-existing --python .env/bin/python .env/fmriprep
	.env/bin/uv pip install --quiet --python .env/fmriprep/bin/python -r envs/fmriprep.in
	touch $@

$(READY): $(LOCKS)
	$(PYTHON) -m venv .env
	.env/bin/python -m pip install --quiet $(UV)
	.env/bin/uv pip sync --quiet --python .env/bin/python --require-hashes --compile-bytecode $(LOCKS)
	touch $@

clean:
	rm -rf .env .pytest_cache .ruff_cache .mypy_cache
	rm -rf {results,resources,logs,benchmarks}/miniature{,_seed*}
	rm -rf {results,resources,logs,benchmarks}/rehearsal resources/{rehearsal_copy,generators/rehearsal}
