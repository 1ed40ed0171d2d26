"""Which pages may connect."""

from __future__ import annotations

import pytest

from gateway.origins import Origins

ORIGINS = Origins(["https://app.example", "http://Other.example:8080/"])


def test_who_has_no_origin_is_no_browser() -> None:
    assert ORIGINS.allowed(None, "node.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://app.example", "node.example"),
        ("HTTPS://APP.EXAMPLE", "node.example"),
        ("http://other.example:8080", "node.example"),
        ("http://node.example:8000", "node.example:8000"),
        ("https://node.example", "NODE.example"),
    ],
)
def test_the_listed_and_the_nodes_own_may(origin: str, host: str) -> None:
    assert ORIGINS.allowed(origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://app.example.evil.test",
        "https://evil-app.example",
        "https://app.example:444",
        "http://app.example",
        "https://app.example/",
        "https://user@app.example",
        "file://app.example",
        "app.example",
        "https://xn--pp-eka.example",
        "http://node.example:8001",
    ],
)
def test_everything_else_may_not(origin: str) -> None:
    assert not ORIGINS.allowed(origin, "node.example:8000")
