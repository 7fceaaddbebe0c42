# The two commands a newcomer needs: `make demo` and `make test`. Both do all set-up themselves.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
ORACLE := $(CURDIR)/.oracle
export PATH := $(BIN):$(PATH)
# Bytecode matters: without it aws_cdk is compiled anew on each run.
export PYTHONDONTWRITEBYTECODE :=
# cdk-nag always runs; the CDK's own slow template validation runs in `make synth` only.
export CDK_VALIDATION ?= false
# uv trusts whom the machine trusts, as pip does: a company's proxy may have its own certificate.
export UV_SYSTEM_CERTS ?= true
WHEELS := --require-hashes --only-binary :all:

.PHONY: demo test slow oracle image mutants check format synth lock clean

demo: .venv/ready  ## a shop's events: uploaded, trained on, published, looked at
	python -m local demo

test: .venv/ready  ## all tests but the slow ones
	python -m pytest

slow: .venv/ready  ## the calibration of the local FM engine: minutes
	python -m pytest -m slow

oracle: .oracle/ready  ## our formats, images and FM engine against the SageMaker SDK and MXNet
	TOPX_ORACLE=$(ORACLE)/bin/python python -m pytest -m oracle tests/oracle

image: .venv/ready  ## the container image, built and run (Debian, root)
	python -m tests.image

mutants: .venv/ready  ## each granted right taken away in turn: something must turn red
	python -m tests.mutants

check: .venv/ready  ## format, lint, types
	ruff format --check .
	ruff check .
	mypy

format: .venv/ready
	ruff check --fix .
	ruff format .

synth: .venv/ready  ## both stacks of STAGE, with the CDK's own validation
	CDK_VALIDATION=true python app.py -c stage=$(or $(STAGE),dev)

lock: .venv/ready  ## compile the pins of pyproject.toml; the result holds hashes and no addresses
	@for lock in bootstrap:--group=installer requirements:--all-extras containers/repackage/requirements:--extra=image oracle:--group=oracle; do \
	  uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    $${lock#*:} pyproject.toml -o $${lock%%:*}.lock && \
	  sed -n '/^#/p' $${lock%%:*}.txt | cat - $${lock%%:*}.lock > $${lock%%:*}.new && \
	  mv $${lock%%:*}.new $${lock%%:*}.txt && rm $${lock%%:*}.lock; done

clean:
	rm -rf .venv .oracle .image cdk.out

.venv/ready: bootstrap.txt requirements.txt
	$(PYTHON) -c 'import sys; sys.exit((3, 11) > sys.version_info and "topx needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install -q $(WHEELS) -r bootstrap.txt
	$(BIN)/uv pip install -q --python $(BIN)/python $(WHEELS) -r requirements.txt \
	  || $(BIN)/pip install -q --no-compile --no-deps $(WHEELS) -r requirements.txt
	touch $@

.oracle/ready: .venv/ready oracle.txt
	python tests/oracle/libs.py
	$(PYTHON) -m venv --clear --without-pip .oracle
	uv pip install -q --python $(ORACLE)/bin/python --no-deps $(WHEELS) -r oracle.txt
	python tests/oracle/libs.py $(ORACLE)/lib/python3*/site-packages/mxnet
	touch $@
