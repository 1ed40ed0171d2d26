"""The Lua scripts, one file per operation, each with its contract in the header.

`load(name)` gives a `Script`: its text and the SHA-1 under which Redis knows it. What several scripts have in common
stands in `parts/`, and goes into the text of each at its line `--#include NAME`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Final

_INCLUDE: Final = re.compile(r"^--#include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; `sha` is what EVALSHA takes."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script of that name."""
    text = _INCLUDE.sub(lambda found: _read("parts", f"{found[1]}.lua"), _read(f"{name}.lua"))
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(*path: str) -> str:
    return files(__name__).joinpath(*path).read_text()


@cache
def all_scripts() -> tuple[Script, ...]:
    """Every script there is, in the order of their names."""
    names = sorted(p.name.removesuffix(".lua") for p in files(__name__).iterdir() if p.name.endswith(".lua"))
    return tuple(load(name) for name in names)
