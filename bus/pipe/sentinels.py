"""Whom the sentinels name as master: what each says, and whom to believe when they do not agree.

Source: redis.io/docs/reference/sentinel-clients. Beyond it, all sentinels are asked and the highest configuration epoch
counts: one that is cut off together with the old master goes on naming that one, and knows no better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bus.address import Place


@dataclass(frozen=True, slots=True)
class Report:
    """What one sentinel says."""

    master: Place
    epoch: int
    """Grows with every failover of this service."""


def read_report(address: Sequence[bytes] | None, told: Sequence[Any] | None) -> Report | None:
    """From SENTINEL GET-MASTER-ADDR-BY-NAME and SENTINEL MASTER; None when it does not know the service."""
    if not address or not told:
        return None
    fields = dict(zip(told[::2], told[1::2], strict=True))
    host, port = address
    return Report(Place(host.decode(), int(port)), int(fields.get(b"config-epoch", 0)))


def counting(reports: Iterable[Report], newest: int, sentinels: int) -> tuple[Report, ...]:
    """The reports that count: those not older than the `newest` epoch that was ever heard of, for when nobody else
    answers, one that was cut off would lead back to the old master. But when most of all the `sentinels` say less, they
    were set up anew."""
    known = tuple(reports)
    fresh = tuple(report for report in known if report.epoch >= newest)
    return fresh if fresh or 2 * len(known) <= sentinels else known


def named(reports: Iterable[Report], current: Place | None) -> Place | None:
    """The master by the newest of the reports; the current one when that is among the newest, or there are none."""
    known = tuple(reports)
    if not known:
        return current
    newest = max(report.epoch for report in known)
    masters = [report.master for report in known if report.epoch == newest]
    return current if current in masters else masters[0]
