"""The codes, held against what the protocol's clients do with them."""

from __future__ import annotations

import pytest

from gateway.wire.codes import Disconnect, Error, Unsubscribed

FOR_GOOD = {
    Disconnect.INVALID_TOKEN,
    Disconnect.BAD_REQUEST,
    Disconnect.STALE,
    Disconnect.FORCE_NO_RECONNECT,
    Disconnect.CONNECTION_LIMIT,
    Disconnect.CHANNEL_LIMIT,
    Disconnect.INAPPROPRIATE_PROTOCOL,
    Disconnect.PERMISSION_DENIED,
    Disconnect.NOT_AVAILABLE,
    Disconnect.TOO_MANY_ERRORS,
}
"""After these a client stays away; after every other it comes back."""


@pytest.mark.parametrize("disconnect", Disconnect)
def test_the_number_says_whether_a_client_comes_back(disconnect: Disconnect) -> None:
    assert (3500 <= disconnect.value.code < 4000) == (disconnect in FOR_GOOD)
    assert (3000 <= disconnect.value.code < 3500) == (disconnect not in FOR_GOOD)


@pytest.mark.parametrize("unsubscribed", Unsubscribed)
def test_the_number_says_whether_a_subscription_is_tried_again(unsubscribed: Unsubscribed) -> None:
    assert (2500 <= unsubscribed.value.code < 3000) == (unsubscribed is not Unsubscribed.SERVER)


@pytest.mark.parametrize("kind", [Error, Disconnect, Unsubscribed])
def test_no_number_means_two_things(kind: type[Error] | type[Disconnect] | type[Unsubscribed]) -> None:
    codes = [member.value.code for member in kind]
    assert len(set(codes)) == len(codes)
    assert len(kind.__members__) == len(codes)


@pytest.mark.parametrize("disconnect", Disconnect)
def test_a_reason_fits_a_close_frame(disconnect: Disconnect) -> None:
    assert 0 < len(disconnect.value.reason.encode()) <= 123


def test_errors_worth_repeating_are_those_that_pass() -> None:
    assert {error for error in Error if error.value.temporary} == {Error.INTERNAL, Error.TOO_MANY_REQUESTS}
    assert all(100 <= error.value.code < 200 for error in Error)
