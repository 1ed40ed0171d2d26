"""The table of states: complete, and drawn as it is."""

from __future__ import annotations

from gateway.states import TRANSITIONS, Input, State, as_markdown


def test_every_state_can_end_and_nothing_follows_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(moves[Input.ENDED] is State.CLOSED for moves in TRANSITIONS.values())
    assert set(TRANSITIONS[State.CLOSED]) == {Input.ENDED}


def test_only_a_connected_session_is_served() -> None:
    assert [state for state, moves in TRANSITIONS.items() if Input.COMMAND in moves] == [State.CONNECTED]


def test_drawing() -> None:
    assert as_markdown().splitlines() == [
        "| state | connect command | any other command | pong | authenticated by its transport | inbox joined "
        "| connect not granted | end |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| new | connecting | 3501 | 3501 | connected |  |  | closed |",
        "| connecting | waits | waits | 3501 |  | connected | refused | closed |",
        "| connected | 3501 | connected | connected |  |  |  | closed |",
        "| refused | 3501 | 3501 | 3501 |  |  |  | closed |",
        "| closed |  |  |  |  |  |  | closed |",
    ]
