# Every target sets up .venv by itself, the first time and whenever requirements.txt has changed.
PYTHON ?= python3
BASE ?= main

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC runs the stages with the `python` that it finds on PATH: the one of .venv.
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo repro whole test lock lint params params-check promote sweep tune review

# What `make sweep` tries, and under what name: its experiments are NAME-1, NAME-2, ..., its report reports/sweep/NAME/.
TEMPERATURES ?= 2.0,4.0,8.0
ALPHAS ?= 0.1,0.5
NAME ?= distill

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## set up .venv from requirements.txt

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.txt
	@touch $@

demo: setup ## the pipeline on the embedded sample, a technique of each kind, offline, in .demo/
	python -m stages.demo

repro: setup ## the whole pipeline on CLINC150; only what a change touches is run again
	@python -m stages.clean
	dvc repro
	@python -m stages.readme

whole: setup ## every technique side by side on CLINC150, in .whole/; its reports go to reports/whole/
	python -m stages.whole

test: setup ## all tests
	pytest --numprocesses auto --dist loadfile

lock: setup ## fail if dvc.lock, and so the reports, are not those of the code and parameters
	python -m stages.lock

lint: setup ## formatting, lint and types
	ruff format --check .
	ruff check .
	mypy

params: setup ## compose conf/ into params.yaml
	python -m stages.params

params-check: setup ## fail if params.yaml is not what conf/ says
	python -m stages.params --check

promote: setup ## write what params.yaml says into conf/, after `dvc exp apply` or an edit
	python -m stages.params --promote

sweep: setup ## distill with each of TEMPERATURES and ALPHAS, as experiments NAME-1, NAME-2, ...
	python -m stages.sweep --name $(NAME) distill.temperature=$(TEMPERATURES) distill.alpha=$(ALPHAS)

tune: setup ## search distill's epochs, alpha and temperature as conf/tune.yaml says; goes on where it was stopped
	python -m stages.tune

review: setup ## what this working tree changed against BASE, as Markdown
	@python -m stages.review --base $(BASE)
