"""`tocsin dead`: what was buried is shown with its reason, dropped, or sent again."""

from __future__ import annotations

import json

import pytest

from bus.keys import Keys
from bus.partition import partition_of
from tests.redis_clients import client as redis_client
from tests.servers import RedisSite
from tocsin.cli import main
from tocsin.trouble import FAILED, USAGE

ALICE = next(f"alice{n}" for n in range(1_000) if partition_of(f"alice{n}", 8) == 3)
"""Somebody of partition 3, where letters are buried here."""
BURIED = {"queue": "events", "entry": "5-0", "reason": "/type is required", "attempts": "1"}


@pytest.fixture
def _installation(redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_REDIS_URL", redis_server.url)
    monkeypatch.setenv("TOCSIN_PREFIX", keys.prefix)
    monkeypatch.setenv("TOCSIN_PARTITIONS", str(keys.partitions))


@pytest.fixture
def letter(redis_server: RedisSite, keys: Keys, _installation: None) -> str:
    """Name of a letter that is buried in partition 3."""
    with redis_client(redis_server.url) as redis:
        fields = {**BURIED, "e": '{"title": "ä"}', "odd": b"\xff"}
        return f"3/{redis.xadd(keys.dead(3), fields).decode()}"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["dead", *argv])
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("_installation")
def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "ls") == (0, "nothing is buried\n", "")
    assert run(capsys, "ls", "--json") == (0, "[]\n", "")


def test_ls_names_each_with_its_reason_and_without_its_content(
    capsys: pytest.CaptureFixture[str], letter: str, redis_server: RedisSite, keys: Keys
) -> None:
    _, out, _ = run(capsys, "ls")
    assert out.startswith(letter)
    assert "/type is required" in out
    assert "title" not in out
    with redis_client(redis_server.url) as redis:
        redis.xadd(keys.dead(4), BURIED)
    _, out, _ = run(capsys, "ls", "--limit", "1")
    assert "… and 1 older: --limit 2" in out


def test_show_has_the_entry_as_it_was(capsys: pytest.CaptureFixture[str], letter: str) -> None:
    _, out, _ = run(capsys, "show", letter)
    assert json.loads(out)["fields"] == {"e": '{"title": "ä"}', "odd": "\\xff"}
    assert json.loads(run(capsys, "show", letter, "--json")[1])[0]["entry"] == "5-0"


def test_drop_deletes(capsys: pytest.CaptureFixture[str], letter: str) -> None:
    assert run(capsys, "drop", letter)[1] == f"{letter} dropped\n"
    code, _, err = run(capsys, "drop", letter)
    assert code == FAILED
    assert "no dead letter" in err


def test_replay_puts_it_back_into_its_partition(
    capsys: pytest.CaptureFixture[str], letter: str, redis_server: RedisSite, keys: Keys
) -> None:
    assert run(capsys, "replay", letter)[1] == f"{letter} sent again\n"
    with redis_client(redis_server.url) as redis:
        assert redis.xlen(keys.dead(3)) == 0
        ((_, fields),) = redis.xrange(keys.events(3))
        assert fields[b"e"] == '{"title": "ä"}'.encode()


@pytest.mark.usefixtures("_installation")
@pytest.mark.parametrize("action", ["show", "drop", "replay"])
def test_a_name_is_needed_and_must_be_there(capsys: pytest.CaptureFixture[str], action: str) -> None:
    code, _, err = run(capsys, action)
    assert code == USAGE
    assert "tocsin dead ls" in err
    for name in ("0/1-0", "nonsense", "999/1-0"):
        code, _, err = run(capsys, action, name)
        assert code == FAILED
        assert name in err


@pytest.fixture
def jobs(redis_server: RedisSite, keys: Keys, _installation: None) -> list[str]:
    """Names of two jobs that were buried in partition 3, oldest first."""
    with redis_client(redis_server.url) as redis:
        buried = {"queue": "jobs:email", "entry": "5-0", "reason": "451 try later", "attempts": "8"}
        made = [redis.xadd(keys.dead(3), {**buried, "id": f"d{n}", "e": "4.shop/e", "u": ALICE}) for n in (1, 2)]
    return [f"3/{name.decode()}" for name in made]


def test_ls_shows_those_that_are_meant(capsys: pytest.CaptureFixture[str], letter: str, jobs: list[str]) -> None:
    _, out, _ = run(capsys, "ls", "--channel", "email")
    assert [line.split()[0] for line in out.splitlines()] == jobs[::-1]
    assert "email: 451 try later" in out
    (shown, _) = json.loads(run(capsys, "ls", "--reason", "TRY LATER", "--since", "1h", "--json")[1])
    assert (shown["delivery"], shown["event"], shown["user"]) == ("d2", "4.shop/e", ALICE)
    assert run(capsys, "ls", "--until", "2020-01-01T00:00:00Z")[1] == "nothing is buried\n"
    assert run(capsys, "ls", "--queue", "events")[1].startswith(letter)
    assert "… and older ones: --limit" in run(capsys, "ls", "--channel", "email", "--limit", "1")[1]


def test_a_selection_is_first_tried_and_then_sent_again(
    capsys: pytest.CaptureFixture[str], letter: str, jobs: list[str], redis_server: RedisSite, keys: Keys
) -> None:
    tried = run(capsys, "replay", "--channel", "email", "--dry-run")[1].splitlines()
    assert tried[-1] == "2 would be sent again"
    said = json.loads(run(capsys, "replay", *jobs, "--dry-run", "--json")[1])
    assert said == {"action": "replay", "dry_run": True, "letters": jobs[::-1], "more": False}
    one = run(capsys, "replay", "--channel", "email", "--limit", "1")[1]
    assert one == "1 sent again\nmore are meant than --limit lets; repeat it for the rest\n"
    assert json.loads(run(capsys, "replay", "--channel", "email", "--json")[1])["letters"] == jobs[:1]
    with redis_client(redis_server.url) as redis:
        assert redis.xlen(keys.jobs(3, "email")) == 2
        assert redis.xlen(keys.dead(3)) == 1


def test_a_selection_is_dropped(capsys: pytest.CaptureFixture[str], letter: str, jobs: list[str]) -> None:
    assert run(capsys, "drop", "--reason", "451")[1] == "2 dropped\n"
    assert run(capsys, "ls")[1].startswith(letter)
    nothing = run(capsys, "drop", "--reason", "451")
    assert nothing == (0, "0 dropped\n", "")


def test_what_nothing_was_kept_of_stays(
    capsys: pytest.CaptureFixture[str], jobs: list[str], redis_server: RedisSite, keys: Keys
) -> None:
    with redis_client(redis_server.url) as redis:
        redis.xadd(keys.dead(4), {**BURIED, "queue": "jobs:email"})
    out = run(capsys, "replay", "--channel", "email")[1]
    assert out == "2 sent again\n1 stayed: nothing was kept of them, or they were gone already\n"


@pytest.mark.usefixtures("_installation")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--channel", "pigeon"], "--channel must be one of push"),
        (["--since", "yesterday"], "--since must be an RFC 3339"),
        ([], "--channel, --queue, --reason, --since or --until"),
    ],
)
def test_a_wrong_selection_does_nothing(capsys: pytest.CaptureFixture[str], options: list[str], says: str) -> None:
    code, _, err = run(capsys, "replay", *options)
    assert code == USAGE
    assert says in err
