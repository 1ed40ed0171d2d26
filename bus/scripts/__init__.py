"""The Lua scripts, one file per operation, each with its contract in the header.

`load(name)` gives a `Script`: its text and the SHA-1 under which Redis knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; `sha` is what EVALSHA takes."""

    name: str
    text: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script of that name."""
    text = files(__name__).joinpath(f"{name}.lua").read_text()
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def all_scripts() -> tuple[Script, ...]:
    """Every script there is, in the order of their names."""
    names = sorted(p.name.removesuffix(".lua") for p in files(__name__).iterdir() if p.name.endswith(".lua"))
    return tuple(load(name) for name in names)
