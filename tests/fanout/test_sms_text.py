"""How long text messages are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.sms_text import CUT, fit, is_gsm, segments


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" * 5, 2),  # the euro does not fit into what is left of the first
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ä" * 160, 1),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" * 134, 2),
        ("ç" * 135, 3),
        ("🔔" * 35, 1),
        ("🔔" * 36, 2),
        ("ç" * 66 + "🔔" * 5, 2),
        ("a\n", 1),
    ],
)
def test_segments(text: str, count: int) -> None:
    assert segments(text) == count


def test_what_phones_can_write_in_seven_bits() -> None:
    assert is_gsm("Grüße für 5 €!\n[a]")
    assert not is_gsm("ça")
    assert not is_gsm("–")
    assert not is_gsm("`")


def test_a_text_is_cut_at_its_cap() -> None:
    assert fit("short", 1) == "short"
    assert fit("a" * 200, 1) == "a" * 157 + CUT
    assert fit("word " * 39, 1) == ("word " * 32).strip()[:157].rstrip() + CUT
    assert fit("ç" * 80, 1) == "ç" * 67 + CUT


@given(st.text(max_size=500), st.integers(1, 4))
def test_what_is_cut_fits_and_is_a_beginning(text: str, most: int) -> None:
    found = fit(text, most)
    assert segments(found) <= most
    assert found == text or (found.endswith(CUT) and text.startswith(found.removesuffix(CUT)))
    assert (found == text) == (segments(text) <= most)
