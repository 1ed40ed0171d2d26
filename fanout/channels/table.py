"""A provider's table in the settings, read key by key: whatever is wrong with it is named. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bus.settings import BadSetting


class Table:
    """`where` names it in errors, as in `deliver.fcm.main`. Readers raise `BadSetting`, which quotes no value."""

    def __init__(self, where: str, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
        if unknown := sorted(set(values) - set(known)):
            raise BadSetting(f"{where} has no {unknown[0]}; it has: {', '.join(known)}")
        self.where = where
        self._values = values

    def fault(self, key: str, text: str) -> BadSetting:
        """What to raise when a value is of its type and still wrong."""
        return BadSetting(f"{self.where}.{key} {text}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string; without a default it is required and may not be empty."""
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self.fault(key, "is required" if value is None else "must be a string")
        if not value and default is None:
            raise self.fault(key, "must not be empty")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
            raise self.fault(key, "must be a list of strings, none of them empty")
        return tuple(value)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self._values.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise self.fault(key, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._values.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.fault(key, f"must be a whole number from {low} to {high}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        if type(value) is not bool:
            raise self.fault(key, "must be true or false")
        return value
