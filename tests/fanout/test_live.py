"""The words of an event that names a template, as they are shown live."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from bus.event import Event
from bus.keys import Keys
from bus.settings import BadSetting
from fanout.live import LiveWords
from fanout.main import run
from fanout.render import Templates
from tests.conftest import open_pipe
from tests.fanout.stand import Node, running_worker, send, settings_for
from tests.servers import RedisSite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "order/default/live.title.j2": "Order {{ data.number }}",
        "order/default/live.body.j2": "is on its way",
        "order/de/live.title.j2": "Bestellung {{ data.number }}",
        "mail/default/email.subject.j2": "Hello",
    }.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "templates"


def event(**more: Any) -> Event:
    return Event(**{"id": "1", "source": "shop", "type": "x", "created_at": 0.0, "data": {"number": 7}} | more)


def test_a_template_gives_title_and_body(folder: Path) -> None:
    shown = LiveWords(Templates(folder), "en")(event(template="order"))
    assert (shown.title, shown.body) == ("Order 7", "is on its way")
    german = LiveWords(Templates(folder), "de")(event(template="order"))
    assert (german.title, german.body) == ("Bestellung 7", None)


@pytest.mark.parametrize(
    "more", [{}, {"template": "order", "title": "My own"}, {"template": "order", "body": "my own"}]
)
def test_words_of_its_own_stay(folder: Path, more: dict[str, str]) -> None:
    assert LiveWords(Templates(folder), "en")(event(**more)) == event(**more)


def test_what_cannot_be_worded_is_shown_without_words(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, words = event(template="unheard of"), LiveWords(Templates(folder), "en")
    with caplog.at_level(logging.WARNING):
        assert [words(one), words(one)] == [one, one]
    assert len(caplog.records) == 1
    assert "unheard" not in caplog.text


async def test_a_worker_words_what_it_publishes(redis_server: RedisSite, keys: Keys, folder: Path) -> None:
    settings = settings_for(redis_server.url, keys, templates=str(folder))
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("@alice")
        async with running_worker(settings):
            one = {"id": "1", "type": "x", "template": "order", "data": {"number": 7}, "to": {"users": ["alice"]}}
            await send(pipe, keys, one)
            (entry,) = await node.entries()
        shown = orjson.loads(b"{" + entry["b"] + b"}")["data"]
        assert (shown["title"], shown["body"]) == ("Order 7", "is on its way")
        p = keys.partition("@alice")
        kept = orjson.loads(await pipe.ask("HGET", keys.body(p, "4.xadd/1"), "e"))
        assert kept["template"] == "order"
        assert "title" not in kept


async def test_a_folder_that_is_none_is_said_at_once(redis_server: RedisSite, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="is not a folder"):
        await run(settings_for(redis_server.url, keys, templates=str(tmp_path / "none")), asyncio.Event())
