"""`tocsin explain`: why a person did or did not get an event, in words."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from tocsin.asking import ask


def explain(url: str, api_key: str, event_id: str, user: str, source: str | None) -> dict[str, Any]:
    """What the gateway at `url` says; `source` None: the name of the key. Raises `Trouble`."""
    query = {"user": user} if source is None else {"user": user, "source": source}
    return ask(url, api_key, "GET", f"/v1/events/{quote(event_id, safe='')}/explain?{urlencode(query)}")


def lines(answer: dict[str, Any]) -> list[str]:
    """It as lines for people: the answer first, then what it rests on."""
    steps = [f"  {step.get('at', '-'):<24}  {step['text']}" for step in answer["steps"]]
    return [answer["summary"], *steps]
