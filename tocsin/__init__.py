"""The command line, and the whole system on one machine by one command. It may import every other package; none
imports it."""

from __future__ import annotations


def version_text() -> str:
    """The installed version, or a word for a tree that was never installed."""
    # Only when asked: this takes longer to load than the rest of the command line.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tocsin")
    except PackageNotFoundError:
        return "unknown (not installed)"
