"""Which wording is looked for, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanout.locales import DEFAULT, chain, normal


@pytest.mark.parametrize(
    ("locale", "names"),
    [
        ("pt-BR", ("pt-br", "pt", DEFAULT)),
        ("pt_BR", ("pt-br", "pt", DEFAULT)),
        ("zh-Hant-TW", ("zh-hant-tw", "zh-hant", "zh", DEFAULT)),
        ("de-x-office", ("de-x-office", "de", DEFAULT)),
        ("en", ("en", DEFAULT)),
        ("", (DEFAULT,)),
        ("-", (DEFAULT,)),
        ("de _", ("de", DEFAULT)),
        ("default", (DEFAULT,)),
        ("../../etc", ("../../etc", DEFAULT)),  # looked up among names, never opened
    ],
)
def test_ever_more_general(locale: str, names: tuple[str, ...]) -> None:
    assert chain(locale) == names


@given(st.text(max_size=200))
@example("0 _")
def test_it_ends_with_the_default_and_repeats_nothing(locale: str) -> None:
    names = chain(locale)
    assert names[-1] == DEFAULT
    assert len(set(names)) == len(names) <= 66
    assert all(name == normal(name) for name in names)
