"""The command line, and the whole system on one machine by one command. It may import every other package; none
imports it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_text() -> str:
    """The installed version, or a word for a tree that was never installed."""
    try:
        return version("tocsin")
    except PackageNotFoundError:
        return "unknown (not installed)"
