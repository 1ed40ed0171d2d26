"""Fixtures of the fan-out worker."""

from __future__ import annotations

from tests.bus.conftest import any_server

__all__ = ["any_server"]
