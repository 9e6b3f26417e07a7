# Works with GNU make 3.81, which is what macOS has.
.DEFAULT_GOAL := help
SHELL := /bin/sh
unexport PYTHONPATH PYTHONHOME

RUN := .venv/bin/python -m
# The repository's own lock files: every platform and Python at once, hashed, naming no address.
COMPILE := $(RUN) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-strip-extras --no-header \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: help demo test test-fast chaos lint types bench bench-peers models-table lock clean clean-all

help:
	@echo "make demo       install into .venv and segment two real images into demo-out/"
	@echo "make test       install into .venv and run every test"
	@echo "make test-fast  the everyday tests only"
	@echo "make chaos      kill runs 200 times at random instants and resume them; KILLS=20 for fewer"
	@echo "make lint       style of the code (ruff)"
	@echo "make types      types of the code (mypy)"
	@echo "make bench      measure this machine; ROWS=startup,noop SCALE=0.25 REPEATS=1 for less (docs/benchmarks.md)"
	@echo "make bench-peers  the same network through MONAI, the same training through segmentation_models.pytorch,"
	@echo "                 installed into .venv-peers (Python 3.11; needs a C++ compiler)"
	@echo "make models-table  parameters, stride, radius and speed of every architecture, into docs/models.md"
	@echo "make lock       write requirements*.txt again from pyproject.toml; UPGRADE=1 takes the newest"
	@echo "make clean      remove what the tools and the demo left; clean-all removes .venv too"

demo:
	@./.ci/install demo
	@.venv/bin/segflow demo

test: test-fast
	@$(RUN) pytest -m slow || [ $$? -eq 5 ]		# 5: there are no slow tests

test-fast:
	@./.ci/install dev
	@$(RUN) pytest -m "not slow"

chaos:
	@./.ci/install dev
	@.venv/bin/python tests/chaos/chaos.py --kills $(or $(KILLS),200)

lint:
	@./.ci/install dev
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

types:
	@./.ci/install dev
	@$(RUN) mypy

BENCH_OPTIONS = $(if $(ROWS),--rows $(ROWS)) $(if $(SCALE),--scale $(SCALE)) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(NUCLEI),--nuclei $(NUCLEI))

bench:
	@./.ci/install dev
	@$(RUN) benchmarks $(BENCH_OPTIONS)

bench-peers:
	@./.ci/install dev
	@$(RUN) benchmarks.peers $(BENCH_OPTIONS)

models-table:
	@./.ci/install dev
	@$(RUN) benchmarks.architectures $(if $(AGAIN),--again)

# The widest set first; the others are held to its versions, so that no two files disagree.
lock:
	@./.ci/install dev
	$(COMPILE) pyproject.toml --extra demo --extra openvino --extra dev -o requirements-dev.txt
	$(COMPILE) pyproject.toml --extra demo --extra openvino -c requirements-dev.txt -o requirements-demo.txt
	$(COMPILE) pyproject.toml -c requirements-dev.txt -o requirements.txt
	$(COMPILE) pyproject.toml --extra gpu -c requirements-dev.txt -o requirements-gpu.txt
	$(COMPILE) --group installer -c requirements-dev.txt -o requirements-pip.txt

clean:
	rm -rf build dist *.egg-info demo-out .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-all: clean
	rm -rf .venv .venv-peers
