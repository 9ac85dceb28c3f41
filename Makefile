# Targets set up .venv by themselves, the first time and whenever requirements.txt has changed; predict and serve without
# a .venv set up smaller ones.
PYTHON ?= python3

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC runs the stages with the `python` that it finds on PATH: the one of .venv.
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo repro predict serve load test lint lock accept readme-check params params-check keep sweep levers tune review

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## set up .venv from requirements.txt

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.txt
	@touch $@

demo: setup ## the pipeline on the embedded sample, with few techniques, offline, in .demo/
	python -m tools.demo

repro: params-check ## the whole pipeline on CLINC150; only what a change touches is run again; JOBS=1: one stage at a time
	@python -m tools.repro $(if $(JOBS),--jobs $(JOBS))
	@python -m tools.readme

# Answering needs three packages. Where .venv is set up already, it has them; else they alone are installed.
SERVING := $(if $(wildcard .venv/installed),.venv,.venv-serving)

predict: $(SERVING)/installed ## answer QUERY with the model in release/; without QUERY, each line of standard input
	@$(SERVING)/bin/python -m intents.serving $(if $(QUERY),-- "$$QUERY")

.venv-serving/installed: requirements-serving.txt
	$(PYTHON) -m venv .venv-serving
	.venv-serving/bin/pip install --quiet --requirement requirements-serving.txt
	@touch $@

# So does serving, with four more.
SERVICE := $(if $(wildcard .venv/installed),.venv,.venv-service)

serve: $(SERVICE)/installed ## the model in release/ as a service at http://127.0.0.1:8000, or at PORT
	$(SERVICE)/bin/python -m intents.service --port $(or $(PORT),8000)

.venv-service/installed: requirements-service.txt requirements-serving.txt
	$(PYTHON) -m venv .venv-service
	.venv-service/bin/pip install --quiet --requirement requirements-service.txt
	@touch $@

load: setup ## the rate that the service can hold on this machine, and what it does at half and at twice that
	python -m tools.load

test: setup ## all tests
	pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: setup ## formatting, lint and types
	ruff format --check .
	ruff check .
	mypy

lock: setup ## fail if dvc.lock, and so the reports, are not those of the code and parameters
	python -m tools.lock

accept: setup ## record as unchanged the stages whose code differs in comments, docstrings or layout alone
	python -m tools.accept

readme-check: setup ## fail if the results in README.md are not those of the reports
	python -m tools.readme --check

params: setup ## compose conf/ into params.yaml
	python -m tools.params

params-check: setup ## fail if params.yaml is not what conf/ says
	python -m tools.params --check

keep: setup ## write what params.yaml says as conf/experiment/NAME.yaml, after `dvc exp apply` or an edit
	python -m tools.params --keep $(NAME)

# The experiments are NAME-1, NAME-2, ..., their report is reports/sweep/NAME/.
sweep: TEMPERATURES ?= 2.0,4.0,8.0
sweep: ALPHAS ?= 0.1,0.5
sweep: setup ## distill with each of TEMPERATURES and ALPHAS, as experiments NAME-1, NAME-2, ... (default distill)
	python -m tools.sweep --name $(or $(NAME),distill) distill.temperature=$(TEMPERATURES) distill.alpha=$(ALPHAS)

levers: setup ## what each thing that made a narrow student better is worth; or the teacher (CONFIG=teacher_levers)
	python -m tools.levers $(if $(CONFIG),--config $(CONFIG))

tune: setup ## search distill's settings (conf/tune.yaml), or shapes (CONFIG=shapes); goes on where it was stopped
	python -m tools.tune $(if $(CONFIG),--config $(CONFIG))

review: setup ## what this working tree changed against BASE (default main), as Markdown
	@python -m tools.review --base $(or $(BASE),main)
