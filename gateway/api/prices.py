"""The demo page's real feed: monthly prices of real shares, told as events. Pure.

The data is `stocks.csv` of the `vega_datasets` package: symbol, month, price.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SOURCE: Final = "demo.feed"
TICK: Final = "price.tick"
DROP: Final = "price.drop"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Step:
    """All prices of one day, by symbol; `date` is YYYY-MM-DD."""

    date: str
    prices: Mapping[str, float]


def read_steps(lines: Iterable[str]) -> list[Step]:
    """The file's lines as steps in the order of time. Raises `ValueError` when it is not of its form."""
    days: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(lines):
        days.setdefault(_iso(row["date"]), {})[row["symbol"]] = float(row["price"])
    return [Step(date, days[date]) for date in sorted(days)]


def _iso(text: str) -> str:
    """`Jan 1 2000` as `2000-01-01`, whatever the locale."""
    month, day, year = text.split()
    return f"{int(year):04}-{_MONTHS.index(month) + 1:02}-{int(day):02}"


def topic_of(symbol: str) -> str:
    """The topic of a share."""
    return f"market:{symbol}"


def events_of(step: Step, before: Mapping[str, float], drop: float, users: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The events of one step, as a producer would POST them.

    Every price is a `price.tick`, which is kept nowhere; a fall of more than `drop` per cent against `before` is also
    a `price.drop` for the share's topic and for `users`.
    """
    for symbol, price in step.prices.items():
        was = before.get(symbol, price)
        change = round((price - was) / was * 100, 2)
        data = {"symbol": symbol, "price": price, "change": change, "date": step.date}
        yield {
            "type": TICK,
            "source": SOURCE,
            "to": {"topics": [topic_of(symbol)]},
            "title": f"{symbol} {price:.2f}",
            "data": data,
            "ephemeral": True,
        }
        if change < -drop:
            yield {
                "type": DROP,
                "source": SOURCE,
                "to": {"topics": [topic_of(symbol)]} | ({"users": list(users)} if users else {}),
                "title": f"{symbol} fell {-change:.1f} %",
                "body": f"From {was:.2f} to {price:.2f} in the month to {step.date}.",
                "data": data | {"was": was},
            }
