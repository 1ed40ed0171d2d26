PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.PHONY: install demo test quick lint types contracts load bench clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@
