"""Whom the sentinels name: reading what one says, and whom to believe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.address import Place
from bus.pipe.sentinels import Report, counting, named, read_report

OLD, NEW = Place("old", 1), Place("new", 2)
REPORTS = st.builds(Report, st.sampled_from([OLD, NEW, Place("third", 3)]), st.integers(0, 3))


def test_what_a_sentinel_says_is_read() -> None:
    told = [b"name", b"main", b"ip", b"old", b"port", b"1", b"config-epoch", b"7"]
    assert read_report([b"old", b"1"], told) == Report(OLD, 7)
    assert read_report([b"old", b"1"], [b"name", b"main"]) == Report(OLD, 0)
    assert read_report(None, told) is None
    assert read_report([b"old", b"1"], None) is None


def test_one_that_was_cut_off_with_the_old_master_is_not_believed() -> None:
    assert named([Report(OLD, 1), Report(NEW, 2), Report(NEW, 2)], OLD) == NEW
    assert named([Report(NEW, 2), Report(OLD, 1)], None) == NEW


def test_what_is_older_than_what_was_heard_before_counts_only_from_most() -> None:
    old, new = Report(OLD, 1), Report(NEW, 2)
    assert counting([old, new], 2, 3) == (new,)
    assert counting([old, new, Report(OLD, 3)], 2, 3) == (new, Report(OLD, 3))
    assert counting([old], 2, 3) == (), "the others may only be slow"
    assert counting([old, old], 2, 4) == ()
    assert counting([old, old], 2, 3) == (old, old), "set up anew"
    assert counting([old], 2, 1) == (old,)
    assert counting([], 2, 3) == ()


def test_with_nobody_to_ask_the_master_stays_who_it_was() -> None:
    assert named([], OLD) == OLD
    assert named([], None) is None


@given(st.lists(REPORTS), st.sampled_from([None, OLD, NEW]))
def test_the_newest_report_decides_and_nothing_changes_without_need(
    reports: list[Report], current: Place | None
) -> None:
    found = named(reports, current)
    newest = {report.master for report in reports if report.epoch == max(r.epoch for r in reports)}
    assert found in newest or (not reports and found == current)
    assert found == current or current not in newest
    assert named(reports, found) == found
