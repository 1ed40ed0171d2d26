"""`tocsin keys` and `tocsin rekey`: what is printed works, and after a rotation the old key is not needed any more."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.people.devices import Device, Registration
from bus.people.directory import Directory
from bus.people.profile import Contacts, Profile
from bus.people.vault import vault_of
from fanout.channels.vapid import Vapid
from fanout.deliver.settings import load as load_deliver
from tests.conftest import open_pipe
from tests.looking import names
from tests.servers import RedisSite
from tocsin.cli import main
from tocsin.settings import load_gateway, read_checked
from tocsin.trouble import CONFIG, UNAVAILABLE

T = TypeVar("T")
ALICE = Profile(name="Alice", contacts=Contacts("alice@example.com", "+4930123456"))
BROWSER = Registration("webpush", "https://push.example/1", '{"p256dh":"P","auth":"A"}')


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_REDIS_URL", "TOCSIN_CONFIG", "TOCSIN_DIRECTORY_KEYS", "TOCSIN_DIRECTORY_INDEX_KEY"):
        monkeypatch.delenv(name, raising=False)


class Installation:
    """A settings file with keys, and what is stored under them."""

    def __init__(self, server: RedisSite, keys: Keys) -> None:
        self._server, self.keys = server, keys
        self.made = [new_keys() for _ in range(3)]
        self.index = self.made[0]["directory_index_key"]

    def configure(self, *numbers: int, index: str | None = None) -> None:
        """Write the settings: the keys of these numbers, the first of which encrypts."""
        self.index = index or self.index
        listed = [self.made[n]["directory_key"] for n in numbers]
        Path("tocsin.toml").write_text(
            f'redis_url = "{self._server.url}"\nprefix = "{self.keys.prefix}"\npartitions = {self.keys.partitions}\n'
            f'directory_keys = {json.dumps(listed)}\ndirectory_index_key = "{self.index}"\n'
        )
        self._vault = vault_of(listed, self.index)

    def with_directory(self, work: Callable[[Directory], Awaitable[T]]) -> T:
        async def run() -> T:
            async with asyncio.timeout(20), open_pipe(self._server.url) as pipe:
                return await work(Directory(pipe, self.keys, self._vault, SystemClock()))

        return asyncio.run(run())

    def store(self) -> None:
        async def work(directory: Directory) -> None:
            await directory.put("alice", ALICE)
            await directory.put("bob", Profile(name="Bob"))
            await directory.register("alice", BROWSER)
            await directory.register("bob", Registration("fcm", "token-of-bobs-phone"))

        self.with_directory(work)

    def check(self) -> None:
        """Everything is there, and can be found and opened."""

        async def work(directory: Directory) -> None:
            known = await directory.get("alice")
            assert known is not None
            assert (known.profile, known.unreadable) == (ALICE, ())
            assert await directory.lookup("email", "alice@example.com") == ("alice",)
            for user, target in (("alice", BROWSER.target), ("bob", "token-of-bobs-phone")):
                (device,) = await directory.devices(user)
                opened = directory.opened(user, device)
                assert isinstance(opened, Device)
                assert opened.target == target
            # Registering again finds the same device.
            await directory.register("alice", BROWSER)
            assert len(await directory.devices("alice")) == 1

        self.with_directory(work)


def new_keys() -> dict[str, str]:
    from tocsin.newkeys import NewKeys

    return NewKeys.make().as_dict()


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    return code, *capsys.readouterr()


@pytest.fixture
def installation(redis_server: RedisSite, keys: Keys) -> Installation:
    return Installation(redis_server, keys)


def test_new_keys_are_a_settings_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "keys")
    assert code == 0
    Path("tocsin.toml").write_text(out)
    file = read_checked({})
    gateway, deliver = file.pop("gateway"), file.pop("deliver")  # type: ignore[attr-defined]
    assert vault_of(file["directory_keys"], file["directory_index_key"]) is not None
    vapid = Vapid.of(deliver["webpush"]["main"]["vapid_key"], deliver["webpush"]["main"]["subject"])
    assert isinstance(vapid, Vapid)
    assert vapid.public == gateway["webpush_public_key"]
    assert load_gateway({}).webpush_public_key == vapid.public
    assert load_deliver({}).providers("webpush").keys() == {"main"}


def test_new_keys_are_new_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (json.loads(run(capsys, "keys", "--json")[1]) for _ in range(2))
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


def test_after_a_rotation_the_old_key_can_go(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    installation.configure(0)
    installation.store()
    installation.configure(1, 0)
    installation.check()  # which registers alice's browser again, so with the new key
    code, out, _ = run(capsys, "rekey")
    assert code == 0
    assert out == "2 people and 2 devices, 2 of them sealed anew\n"
    installation.configure(1)
    installation.check()
    assert json.loads(run(capsys, "rekey", "--json")[1]) == {
        "people": 2,
        "devices": 2,
        "resealed": 0,
        "unreadable": 0,
    }


def test_a_new_index_key_moves_everybody(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    installation.configure(0)
    installation.store()
    installation.configure(0, index=installation.made[1]["directory_index_key"])
    assert json.loads(run(capsys, "rekey", "--json")[1])["resealed"] == 3
    installation.check()

    async def erase(directory: Directory) -> None:
        await directory.erase("alice")
        await directory.erase("bob")
        assert await names(directory._pipe, installation.keys) == []

    installation.with_directory(erase)


def test_a_contact_that_was_given_up_stays_so(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    installation.configure(0)
    installation.store()
    profile = installation.keys.profile("alice")

    async def give_up(directory: Directory) -> None:
        sealed = await directory._pipe.ask("HGET", profile, "email")
        await directory._pipe.ask("HSET", profile, "gone_email", sealed)

    async def gone(directory: Directory) -> tuple[str, ...]:
        known = await directory.get("alice")
        assert known is not None
        return known.gone

    installation.with_directory(give_up)
    installation.configure(1, 0)
    assert run(capsys, "rekey")[0] == 0
    assert installation.with_directory(gone) == ("email",)
    # A backend that tells of everybody every night does not bring a dead address back; another address does.
    installation.with_directory(lambda directory: directory.put("alice", replace(ALICE, name="Alicia")))
    assert installation.with_directory(gone) == ("email",)
    other = replace(ALICE, contacts=Contacts("new@example.com"))
    installation.with_directory(lambda directory: directory.put("alice", other))
    assert installation.with_directory(gone) == ()


def test_what_cannot_be_opened_stays_and_is_counted(
    capsys: pytest.CaptureFixture[str], installation: Installation
) -> None:
    installation.configure(0)
    installation.store()
    installation.configure(1)
    code, out, _ = run(capsys, "rekey")
    assert code == 0
    assert "3 cannot be opened" in out
    installation.configure(1, 0)
    installation.check()


def test_without_keys_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "rekey")
    assert (code, out) == (CONFIG, "")
    assert "directory_keys is empty" in err


def test_without_redis_it_says_so(capsys: pytest.CaptureFixture[str], installation: Installation) -> None:
    installation.configure(0)
    text = Path("tocsin.toml").read_text()
    Path("tocsin.toml").write_text(text.replace(tomllib.loads(text)["redis_url"], "redis://127.0.0.1:1/0"))
    code, _, err = run(capsys, "rekey")
    assert code == UNAVAILABLE
    assert "Redis" in err
