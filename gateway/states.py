"""Where a session can stand and what may happen there, as a table; the documentation's table is drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a session stands."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REFUSED = "refused"
    """Its `connect` was answered with an error; the connection is of no more use."""
    CLOSED = "closed"


class Input(Enum):
    """What happens to a session, as far as its state is concerned."""

    CONNECT = "connect command"
    COMMAND = "any other command"
    PONG = "pong"
    ADOPTED = "authenticated by its transport"
    ACCEPTED = "inbox joined"
    REFUSED = "connect not granted"
    ENDED = "end"


TRANSITIONS: Final[Mapping[State, Mapping[Input, State]]] = {
    State.NEW: {Input.CONNECT: State.CONNECTING, Input.ADOPTED: State.CONNECTED, Input.ENDED: State.CLOSED},
    State.CONNECTING: {
        Input.ACCEPTED: State.CONNECTED,
        Input.REFUSED: State.REFUSED,
        Input.ENDED: State.CLOSED,
    },
    State.CONNECTED: {Input.COMMAND: State.CONNECTED, Input.PONG: State.CONNECTED, Input.ENDED: State.CLOSED},
    State.REFUSED: {Input.ENDED: State.CLOSED},
    State.CLOSED: {Input.ENDED: State.CLOSED},
}
"""What is not here is a violation, 3501. While CONNECTING, commands wait and are judged when they are reached."""


def as_markdown() -> str:
    """The table for the documentation."""
    rows = [["state", *(happening.value for happening in Input)], ["---"] * (len(Input) + 1)]
    for state, moves in TRANSITIONS.items():
        rows.append([state.value, *(_cell(state, happening, moves.get(happening)) for happening in Input)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _cell(state: State, happening: Input, target: State | None) -> str:
    if target is not None:
        return target.value
    if state is State.CONNECTING and happening in (Input.CONNECT, Input.COMMAND):
        return "waits"
    by_client = happening in (Input.CONNECT, Input.COMMAND, Input.PONG)
    return "3501" if by_client and state is not State.CLOSED else ""
