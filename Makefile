PYTHON ?= python3.11
BIN := .venv/bin
SOURCES := recognition tests eval tools benchmarks configs train.py

.PHONY: demo test lint types bench test-mxnet

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

# Trains a small trunk, then a 14 px branch for it, on rendered faces.
demo: .venv/ready
	$(BIN)/python train.py configs/demo_hr --set output=runs/demo_hr
	$(BIN)/python train.py configs/demo_btnet_r14 --set output=runs/demo_btnet_r14
	$(BIN)/btnet export-onnx runs/demo_btnet_r14

test: .venv/ready
	$(BIN)/pytest --ignore tests/mxnet

lint: .venv/ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: .venv/ready
	$(BIN)/mypy

bench: .venv/ready
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# An environment of its own: MXNet imports on numpy 1.23.5 only.
test-mxnet: .venv-mxnet/ready
	.venv-mxnet/bin/pytest tests/data tests/mxnet

.venv-mxnet/ready: requirements-mxnet.txt pyproject.toml
	python3.11 -m venv .venv-mxnet
	.venv-mxnet/bin/pip install --quiet -r requirements-mxnet.txt
	.venv-mxnet/bin/pip install --quiet -e . --no-deps
	touch $@
