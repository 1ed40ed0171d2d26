"""Which Redis commands a program can send, read out of its source: its modules, those they import, and their scripts.

A command is a call's first argument or a tuple's first part that is a word in capitals which Redis knows as a command;
of those with subcommands the second one too. A script is run when its name stands somewhere as a string.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bus.scripts import all_scripts, load

ROOT = Path(__file__).parents[2]
PACKAGES = ("bus", "gateway", "fanout", "tocsin")
FAMILIES = frozenset(
    ("acl", "client", "cluster", "config", "memory", "object", "script", "sentinel", "xgroup", "xinfo")
)
"""Commands whose subcommands are given one by one."""
TABLES = frozenset(("bus.pipe.routing",))
"""Modules that name commands only to know them."""
PIPE = "bus.pipe.pipe"
METHODS = {"scan": "scan"}
"""Methods of a pipe that send a command by themselves: who calls them sends it, not the pipe's own module."""
IN_LUA = re.compile(r"redis\.p?call\(\s*['\"](\w+)['\"](?:\s*,\s*['\"](\w+)['\"])?")


def sent_by(module: str, known: frozenset[str]) -> set[str]:
    """As ACL rules name them, in small letters: `xadd`, `xgroup|create`. `known`: the commands that Redis knows."""
    names, sent = {script.name for script in all_scripts()}, set[str]()
    for one in _reached(module) - TABLES:
        for node in ast.walk(_tree(one)):
            if isinstance(node, ast.Constant) and node.value in names:
                sent |= _in_script(str(node.value))
            elif (command := _command(node, known)) is not None and not (one == PIPE and command in METHODS.values()):
                sent.add(command)
    return sent


def _command(node: ast.AST, known: frozenset[str]) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        return METHODS[node.func.attr]
    parts = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
    words = [part.value for part in parts[:2] if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if not words or not words[0].isupper() or words[0].lower() not in known:
        return None
    return _named(*words)


def _in_script(name: str) -> set[str]:
    return {_named(*(part for part in found if part)) for found in IN_LUA.findall(load(name).text)}


def _named(command: str, *more: str) -> str:
    name = command.lower()
    return f"{name}|{more[0].lower()}" if name in FAMILIES and more else name


@cache
def _reached(module: str) -> frozenset[str]:
    seen, ahead = {module}, [module]
    while ahead:
        new = set(_imported(ahead.pop())) - seen
        seen |= new
        ahead += new
    return frozenset(seen)


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(_tree(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name}" for name in names)]
        yield from (name for name in names if name.split(".")[0] in PACKAGES and _file(name) is not None)


@cache
def _tree(module: str) -> ast.Module:
    file = _file(module)
    assert file is not None, module
    return ast.parse(file.read_text())


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()), None)
