"""The command line: what it understands, and what it says when it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from bus.event import Event, Step, parse
from bus.keys import Keys
from tocsin import version_text
from tocsin.cli import main
from tocsin.publishing import Draft, to_event
from tocsin.trouble import CONFIG, UNAVAILABLE, USAGE


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_REDIS_URL", "TOCSIN_CONFIG", "TOCSIN_TOKEN_SECRET", "TOCSIN_URL"):
        monkeypatch.delenv(name, raising=False)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    out, err = capsys.readouterr()
    return code, out, err


def claims(token: str) -> dict[str, Any]:
    secret = Path(".tocsin/secret").read_text().strip()
    return jwt.decode(token, secret, algorithms=["HS256"], audience="tocsin", issuer="tocsin")


def test_token_is_signed_with_the_folders_secret(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "token", "alice")
    found = claims(out.strip())
    assert code == 0
    assert found["sub"] == "alice"
    assert found["exp"] - found["iat"] == 3600
    assert "topics" not in found


def test_token_takes_a_lifetime_and_topics_and_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "token", "alice", "--ttl", "90s", "--topics", "private:a,private:b", "--json")
    answer = json.loads(out)
    assert answer["expires_in"] == 90
    assert claims(answer["token"])["topics"] == ["private:a", "private:b"]


def test_token_uses_the_secret_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN_SECRET", "k" * 32)
    _, out, _ = run(capsys, "token", "alice")
    assert jwt.decode(out.strip(), "k" * 32, algorithms=["HS256"], audience="tocsin")["sub"] == "alice"
    assert not Path(".tocsin").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["token", ""], "must not be empty"),
        (["token", "a", "--ttl", "soon"], "90s, 15m, 1h or 7d"),
        (["token", "a", "--ttl", "0"], "--ttl 0"),
        (["token", "a", "--ttl", "400d"], "366 d"),
        (["token", "a", "--topics", "sport"], "namespace:name"),
        (["publish"], "--user NAME"),
        (["publish", "--user", "a", "--data", "{"], "--data is not JSON"),
        (["publish", "--user", "a", "--ladder", "live,email"], "--ladder is not JSON"),
        (["publish", "--user", "a", "--url", "localhost"], "--url localhost"),
    ],
)
def test_a_wrong_argument_is_named(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (USAGE, "")
    assert message in err
    assert err.startswith("tocsin: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["sing"], ["dev", "--port", "70000"], ["dev", "--workers", "0"], ["dead", "dig"]])
def test_an_unknown_command_or_option_shows_the_usage(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == USAGE
    assert "usage: tocsin" in capsys.readouterr().err


def test_a_short_secret_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN_SECRET", "short")
    code, _, err = run(capsys, "token", "alice")
    assert code == CONFIG
    assert "at least 32 bytes" in err
    assert "short" not in err


def test_an_unknown_setting_is_named_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tocsin.toml").write_text("[gateway]\nprot = 80\n")
    code, _, err = run(capsys, "settings")
    assert code == CONFIG
    assert "prot" in err
    assert "port" in err
    Path("tocsin.toml").write_text("gatway = 1\n")
    code, _, err = run(capsys, "version")
    assert code == CONFIG
    assert "gatway" in err


def test_settings_are_those_of_every_role_with_secrets_masked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_REDIS_URL", "redis://:hidden@10.0.0.1:6379/0")
    Path("tocsin.toml").write_text('[gateway]\nport = 9000\nallowed_origins = ["https://a.example"]\n')
    _, out, _ = run(capsys, "settings", "--json")
    shown = json.loads(out)
    assert set(shown) == {"gateway", "fanout", "deliver", "cli"}
    assert shown["gateway"]["port"] == 9000
    _, text, _ = run(capsys, "settings")
    assert '\nallowed_origins = ["https://a.example"]\n' in text
    assert "hidden" not in out + text


def test_partitions_are_where_the_keys_say(capsys: pytest.CaptureFixture[str]) -> None:
    keys = Keys("tocsin", 64)
    _, out, _ = run(capsys, "partitions", "alice", "news:sport", "--json")
    assert [row["events"] for row in json.loads(out)] == [
        keys.events(keys.partition(name)) for name in ("alice", "news:sport")
    ]
    _, out, _ = run(capsys, "partitions")
    assert len(out.splitlines()) == 64
    _, out, _ = run(capsys, "partitions", "alice")
    assert out.split() == ["alice", str(keys.partition("alice")), keys.events(keys.partition("alice"))]


def test_publish_without_a_gateway_says_what_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "publish", "--user", "a", "--url", "http://127.0.0.1:9")
    assert code == UNAVAILABLE
    assert "is `tocsin dev` running?" in err


def test_dead_without_redis_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_REDIS_URL", "redis://127.0.0.1:9/0")
    code, _, err = run(capsys, "dead", "ls")
    assert code == UNAVAILABLE
    assert "TOCSIN_REDIS_URL" in err


def test_who_has_read_enough_is_not_told_of_a_fault(tmp_path: Path) -> None:
    """As in `tocsin token alice | head -c 1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tocsin", "token", "alice", "--data-folder", str(tmp_path)]
    try:
        ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "version")[1].strip() == version_text()
    assert json.loads(run(capsys, "version", "--json")[1]) == {"version": version_text()}


def test_a_draft_says_all_that_an_event_may_say() -> None:
    draft = Draft(
        users=("alice",),
        title="Hello",
        category="orders",
        template="order-shipped",
        ladder='[{"via":"live"},{"via":"email","after":60,"unless":"read"}]',
        ttl=600,
        at="2030-01-01T08:00:00Z",
        collapse_key="order-7",
    )
    event = parse(to_event(draft), default_id="e", default_source="shop", now=1.0)
    assert isinstance(event, Event)
    assert (event.category, event.template, event.ttl, event.collapse_key) == (
        "orders",
        "order-shipped",
        600,
        "order-7",
    )
    assert event.ladder == (Step("live"), Step("email", 60, "read"))
    assert event.at == 1893484800.0
