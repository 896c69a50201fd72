# the first of these that starts
PYTHON ?= $(shell for v in 3.11 3.12 3.13 3.10; do python$$v -c '' 2>/dev/null && echo python$$v && break; done)
BIN := .venv/bin
# each alone on the machine; make bench BENCH_OPTIONS=--quick tries whether they run
BENCHMARKS := train_step head_scaling loader render_faces
# a pretrained trunk; a .rec, a folder of identity folders, or a folder with train.txt and val_pairs.txt
EVIDENCE_TRUNK ?= ../shared/weights/mobilefacenet_s1_128.pt
EVIDENCE_FACES ?= ../shared/faces
EVIDENCE = $(BIN)/btnet-lab evidence --trunk $(EVIDENCE_TRUNK) --faces $(EVIDENCE_FACES) $(EVIDENCE_OPTIONS)
SOURCES := recognition lab tests eval tools benchmarks configs docs/pictures.py train.py

.PHONY: demo evidence evidence-full evidence-page test nightly test-nightly fuzz audit lint types docs bench faults soak wheel-test test-arcface test-mxnet

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

# Trains four small models on rendered faces, compares them and exports the one with a branch for 14 px.
demo: .venv/ready
	$(BIN)/btnet-lab demo

# phi_hr and its branches for 28, 14 and 7 px on real faces, compared; interrupted, it goes on where it was.
evidence: .venv/ready
	$(EVIDENCE)

# Every table and curve, in hours. How far it is: make evidence-full EVIDENCE_OPTIONS=--status
evidence-full: .venv/ready
	$(EVIDENCE) --full

# docs/RESULTS.md from the result files in docs/results.
evidence-page: .venv/ready
	$(BIN)/btnet-lab evidence --page docs/results docs/RESULTS.md

# Two files at a time, each on one thread: half the time of one after the other on two cores. Without the tests that
# are marked `nightly`.
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not nightly" --ignore tests/mxnet

# Damages what is read from outside, 10 000 times each kind, and writes docs/RELIABILITY.md: half an hour on two cores.
# One kind: make fuzz FUZZ_OPTIONS="--target gallery". `make test` runs a slice of it.
fuzz: .venv/ready
	OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=1 PYTHONPATH=tests/fuzz $(BIN)/python -m fuzzing --cases 10000 \
		--json docs/reliability/fuzz.json --page docs/RELIABILITY.md --keep runs/fuzz $(FUZZ_OPTIONS)

# What takes too long for every change: the tests marked `nightly`, all mutations, all kills, thirty minutes of requests.
nightly: test-nightly fuzz faults soak

test-nightly: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m nightly --ignore tests/mxnet

# Known vulnerabilities of the locked packages. Needs the database of pypi.org; says so (and exits 3) where it cannot
# reach it.
audit: .venv-audit/ready
	.venv-audit/bin/python tools/audit.py .venv-audit/bin/pip-audit requirements.txt

.venv-audit/ready:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet pip-audit
	touch $@

lint: .venv/ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: .venv/ready
	$(BIN)/mypy

# The site, in site/index.html; a warning is an error. Its environment knows no torch: the source is read, not run.
docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/ready: requirements-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet -r requirements-docs.txt
	touch $@

bench: .venv/ready
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py $(BENCH_OPTIONS) || exit 1; done

# Fifty kills of a training and of an evaluation, full disks, broken files, signals: what each costs. Linux, half an hour.
faults: .venv/ready
	PYTHONPATH=tests/evaluation $(BIN)/python tests/faults --output docs/reliability $(FAULTS_OPTIONS)

# Thirty minutes of mixed requests from eight threads: answers, memory, and the queue's bound.
soak: .venv/ready
	$(BIN)/python benchmarks/soak.py --output docs/reliability/soak.json --picture docs/images/soak.png $(SOAK_OPTIONS)

# The wheel in fresh environments of every Python here, used outside the repository: docs/install.md.
wheel-test: .venv/ready
	$(BIN)/python tools/smoke_wheel.py $(WHEEL_OPTIONS)

# Our names, branch training and exports inside a checkout of InsightFace: make test-arcface ARCFACE_TORCH=PATH, the
# folder recognition/arcface_torch. Its code is copied before anything is changed. Beside MXNet: BIN=.venv-mxnet/bin.
test-arcface: $(dir $(BIN))ready
	$(if $(ARCFACE_TORCH),,$(error ARCFACE_TORCH is not set: name the folder recognition/arcface_torch of a checkout))
	ARCFACE_TORCH="$(abspath $(ARCFACE_TORCH))" $(BIN)/pytest -rs tests/interop/test_arcface_checkout.py

# An environment of its own, because MXNet imports on numpy 1.23.5 only: all tests, and RecordIO against MXNet's.
test-mxnet: .venv-mxnet/ready
	OMP_NUM_THREADS=1 .venv-mxnet/bin/pytest -n 2 --dist loadfile

.venv-mxnet/ready: requirements-mxnet.txt pyproject.toml
	python3.11 -m venv .venv-mxnet
	.venv-mxnet/bin/pip install --quiet -r requirements-mxnet.txt
	.venv-mxnet/bin/pip install --quiet -e . -e lab --no-deps
	touch $@
