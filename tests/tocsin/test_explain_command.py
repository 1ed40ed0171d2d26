"""`tocsin explain`: asked of a running system, answered in words."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.system import KEY, system
from tocsin.cli import main
from tocsin.trouble import FAILED, UNAVAILABLE, USAGE


def test_an_event_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with system(tmp_path, partitions=8) as made:
        where = ("--url", made.gateways[0].origin, "--key", KEY)
        made.tocsin("publish", "--user", "alice", "--id", "order/7", "--title", "Sent", *where)
        explain = ("explain", "order/7", "--user", "alice", *where, "--json")
        elsewhere = ("explain", "order/7", "--user", "bob", "--source", "shop", *where)
        deadline = time.monotonic() + 60
        # A worker gives it to alice, and notes only then that it was given to all.
        while "It was given to" not in made.tocsin(*elsewhere):
            assert time.monotonic() < deadline, made.tocsin(*elsewhere)
        answer = json.loads(made.tocsin(*explain))
        assert (answer["id"], answer["source"], answer["user"]) == ("order/7", "shop", "alice")
        assert answer["steps"][0]["text"] == "It was put into their inbox at offset 1."
        told = made.tocsin(*elsewhere).splitlines()
        assert told[0].startswith("It never reached bob, who is not in its audience")
        assert told[1].split(maxsplit=1) == ["-", "It was given to 1 recipient(s)."]
        assert main(["explain", "order/8", "--user", "alice", *where]) == FAILED
        assert "nothing is known of an event" in capsys.readouterr().err
        assert main(["explain", "order/7", "--user", "alice", *where[:2], "--key", "wrong"]) == FAILED
        assert "TOCSIN_API_KEY" in capsys.readouterr().err


def test_a_gateway_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "1", "--user", "a", "--url", "http://127.0.0.1:1"]) == UNAVAILABLE
    assert main(["explain", "1", "--user", "a", "--url", "gateway"]) == USAGE
    assert capsys.readouterr().err.count("tocsin: ") == 2
    with pytest.raises(SystemExit):
        main(["explain", "1"])
