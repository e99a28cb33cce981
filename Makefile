# make demo   two commands from a clone to generated avatars: this is the first
# make test   the second
LATER := slow or browser or docs
PYTHON ?= python3.11
VENV ?= .venv
OUT ?= runs/demo
PRESET ?= demo
ARGS ?=
PROCESSES ?= 2
BIN := $(VENV)/bin

.PHONY: demo test test-fast test-slow check docs install render fit train submit help

help:
	@echo "make demo     install into $(VENV) and run the whole pipeline small: $(OUT)"
	@echo "make test     install into $(VENV) and run the tests"
	@echo "make test-fast, make test-slow    those without Blender and Ray; those that make test leaves out"
	@echo "make check    format, lint, types, import rules"
	@echo "make docs     the pages of docs/ as a site: site/index.html"
	@echo "make render | fit | train   one stage of OUT=$(OUT) with PRESET=$(PRESET) ARGS='--set fit.steps=500'"
	@echo "make submit ADDRESS=http://head:8265   the whole run on a Ray cluster"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[render,train,view,evaluate,portrait,studio,bucket,docs,dev]'
	touch $@

demo: install
	$(BIN)/rodin-pipe run --preset demo --out $(OUT) $(ARGS)

test: install
	$(BIN)/python -m pytest -m "not ($(LATER))" --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

test-fast: install
	$(BIN)/python -m pytest -m "not (blender or ray or seconds or $(LATER))" --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

test-slow: install
	$(BIN)/python -m pytest -m "$(LATER)" $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/mkdocs build --strict

render fit train: install
	$(BIN)/rodin-pipe $@ --out $(OUT) $(if $(wildcard $(OUT)/run.toml),,--preset $(PRESET)) $(ARGS)

submit: install
	$(BIN)/rodin-pipe submit --address $(ADDRESS) -- run --preset $(PRESET) --out $(OUT) $(ARGS)
