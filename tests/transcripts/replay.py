"""Replays a transcript on the server's session. The format is in the README beside this file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bus.cursor import Cursor
from bus.namespaces import Namespaces
from gateway import effects
from gateway.effects import Answer, Claims, Close, Effect, Leave, Receive, Send
from gateway.pings import SEND_PING
from gateway.session import Session, SessionContext
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from gateway.wire.replies import channel_of, push_publication

FOLDER = Path(__file__).parent
START = 1_800_000_000.0

ERRORS = {error.value.code: error for error in Error}
DISCONNECTS = {disconnect.value.code: disconnect for disconnect in Disconnect}
UNSUBSCRIBED = {why.value.code: why for why in Unsubscribed}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """All cases of all files, each with a name of its own."""
    for path in sorted(FOLDER.glob("*.json")):
        for case in orjson.loads(path.read_bytes())["cases"]:
            yield f"{path.stem}: {case['name']}", case


class Replay:
    """One case; `run` raises `AssertionError` at the first step that is not as written."""

    def __init__(self, case: dict[str, Any]) -> None:
        settings = dict(case.get("settings", {}))
        namespaces = Namespaces(settings.pop("namespaces", {}))
        self.context = SessionContext(namespaces, node="n1", version="test", **settings)
        self.case = case
        self.now = START
        self.waiting: deque[Effect] = deque()
        self.session = self.fresh()

    def fresh(self) -> Session:
        return Session("c1", self.context, self.case.get("secret", ""))

    def run(self) -> None:
        for number, step in enumerate(self.case["steps"]):
            if "at" in step:
                self.now = START + step["at"]
            try:
                self.step(step)
            except AssertionError as error:
                raise AssertionError(f"step {number}: {orjson.dumps(step).decode()}: {error}") from error
        assert not self.waiting, "the session wants more than the transcript has"

    def step(self, step: dict[str, Any]) -> None:
        if "c" in step:
            self.put(self.session.feed(message(step["c"]), self.now))
        elif "asks" in step:
            assert described(self.waiting.popleft()) == step["asks"]
            if "answer" in step:
                self.put(self.session.answer(answer(step["answer"]), self.now))
        elif "does" in step:
            assert described(self.waiting.popleft()) == step["does"]
        elif "node" in step:
            self.put(self.happen(step["node"]))
        elif "s" in step:
            effect = self.waiting.popleft()
            assert isinstance(effect, Send), effect
            assert orjson.loads(effect.payload) == step["s"]
        elif "close" in step:
            effect = self.waiting.popleft()
            assert isinstance(effect, Close), effect
            assert (effect.disconnect.value.code, effect.disconnect.value.reason) == tuple(step["close"].values())
        elif "cut" in step:
            self.put(())
            self.session.closed()
            self.session = self.fresh()

    def put(self, wanted: Sequence[Effect]) -> None:
        assert not self.waiting, f"unexpected: {self.waiting[0]}"
        self.waiting.extend(wanted)

    def happen(self, what: Any) -> Sequence[Effect]:
        match what:
            case "ping":
                return self.session.ping(self.now)
            case "pong overdue":
                return self.session.overdue_pong(self.now)
            case "expire":
                return self.session.expire(self.now)
            case {"unsubscribe": {"topic": topic, "code": code}}:
                return self.session.unsubscribe(topic, UNSUBSCRIBED[code])
            case {"publication": {"topic": topic, "content": content, "offset": offset}}:
                push = Send(push_publication(channel_of(topic), inside(content), offset))
                pinged = topic == self.session.inbox and self.session.wrote(offset)
                return (push, SEND_PING) if pinged else (push,)
        raise ValueError(what)


def message(said: Any) -> bytes:
    if isinstance(said, str):
        return said.encode()
    return b"\n".join(map(orjson.dumps, said if isinstance(said, list) else [said]))


def inside(content: Any) -> bytes:
    return b"" if content is None else orjson.dumps(content)[1:-1]


def described(effect: Effect) -> Any:
    """An effect as the transcripts write it."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(effect).__name__).lower()
    if isinstance(effect, Leave):
        return {name: effect.topic}
    if isinstance(effect, Receive):
        return {name: orjson.loads(effect.data)}
    fields = {field: getattr(effect, field) for field in effect.__slots__}
    return {name: {field: plain(value) for field, value in fields.items()}}


def plain(value: Any) -> Any:
    if isinstance(value, Cursor):
        return {"epoch": value.epoch, "offset": value.offset}
    if isinstance(value, bytes):
        return orjson.loads(value) if value else None
    return value


def answer(written: dict[str, Any]) -> Answer:
    """An answer from how the transcripts write it."""
    match written:
        case {"verified": {"user": user, "expires_at": expires_at, **rest}}:
            info = orjson.dumps(rest["info"]) if "info" in rest else b""
            return effects.Verified(
                Claims(user, START + expires_at, tuple(rest.get("topics", ())), info, rest.get("topic"))
            )
        case {"denied": code}:
            return effects.Denied(ERRORS[code] if code < 3000 else DISCONNECTS[code])
        case {"joined": {"epoch": epoch, "offset": offset, "recovered": recovered, "publications": publications}}:
            return effects.Joined(epoch, offset, recovered, contents(publications))
        case {"page": {"epoch": epoch, "offset": offset, "publications": publications}}:
            return effects.Page(epoch, offset, contents(publications))
        case {"present": clients}:
            return effects.Present(tuple((client, orjson.dumps(info)) for client, info in clients.items()))
        case {"returned": data}:
            return effects.Returned(b"" if data is None else orjson.dumps(data))
        case {"done": _}:
            return effects.Done()
        case {"failed": code}:
            return effects.Failed(ERRORS[code])
    raise ValueError(written)


def contents(publications: list[list[Any]]) -> tuple[tuple[int, bytes], ...]:
    return tuple((offset, inside(content)) for offset, content in publications)
