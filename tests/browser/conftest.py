"""A whole system for the browser to meet: one for all tests here, which use people and topics of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tocsin_system import dev


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    with dev(tmp_path_factory.mktemp("demo")) as system:
        yield system.page
