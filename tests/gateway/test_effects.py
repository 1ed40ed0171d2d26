"""The vocabulary: closed, and made of values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, is_dataclass
from typing import get_args

import pytest

from gateway import effects

WORDS = {
    word
    for word in vars(effects).values()
    if isinstance(word, type) and is_dataclass(word) and word.__module__ == effects.__name__
}


def test_every_word_is_an_effect_or_an_answer() -> None:
    assert get_args(effects.Effect) + get_args(effects.Answer) == tuple(
        dict.fromkeys(get_args(effects.Effect) + get_args(effects.Answer))
    )
    assert {*get_args(effects.Effect), *get_args(effects.Answer), effects.Claims, effects.Stamp} == WORDS
    assert set(get_args(effects.Question)) < set(get_args(effects.Effect))


def test_words_are_values() -> None:
    assert effects.Join("a:b", None) == effects.Join("a:b", None)
    assert all(hasattr(word, "__slots__") and word.__hash__ for word in WORDS)
    with pytest.raises(FrozenInstanceError):
        effects.Leave("a:b").topic = "c:d"  # type: ignore[misc]
