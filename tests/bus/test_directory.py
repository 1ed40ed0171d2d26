"""The directory on a real Redis: what is stored is sealed, found by its address, and survives others and crashes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bus.clock import SystemClock
from bus.event import Problem
from bus.keys import Keys
from bus.people.devices import FORGET_AFTER, Device, Registration, State
from bus.people.directory import MAX_DEVICES, Directory, Known, NoKeys
from bus.people.preferences import Faults, Preferences
from bus.people.profile import BadProfile, Contacts, Profile, Webhook
from bus.people.vault import KEY_BYTES, Unreadable, Vault
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.looking import names
from tests.servers import RedisSite


def key(byte: int) -> str:
    return base64.urlsafe_b64encode(bytes((byte,)) * KEY_BYTES).decode()


VAULT = Vault((f"k1:{key(1)}",), key(9))
HOOK = Webhook("https://hooks.example/a", "whsec_" + key(5))
ALICE = Profile("de", "Europe/Berlin", "Alice", {"n": 1}, Contacts("Alice@Example.com", "+4930123456", HOOK))


class Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def wall(self) -> float:
        return self.now


class Stand:
    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self.pipe, self.keys, self.clock = pipe, keys, Clock()
        self.directory = self.with_vault(VAULT)

    def with_vault(self, vault: Vault | None) -> Directory:
        return Directory(self.pipe, self.keys, vault, self.clock)

    async def dump(self) -> bytes:
        """Every key and value under this test's prefix."""
        found = b""
        for name in await names(self.pipe, self.keys):
            found += name + b"\n" + b"\n".join(await self.pipe.ask("HGETALL", name)) + b"\n"
        return found


@asynccontextmanager
async def standing(server: RedisSite, keys: Keys) -> AsyncIterator[Stand]:
    async with asyncio.timeout(60), open_pipe(server.url) as pipe:
        yield Stand(pipe, keys)


async def test_a_profile_is_stored_sealed(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        directory = stand.directory
        assert await directory.get("alice") is None
        await directory.put("alice", ALICE)
        known = await directory.get("alice")
        assert known is not None
        assert (known.profile, known.unreadable) == (ALICE, ())
        dump = (await stand.dump()).lower()
        for private in (b"example", b"4930123456", b"hooks", key(5).lower().encode()):
            assert private not in dump


async def test_a_person_is_found_by_address(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        directory = stand.directory
        await directory.put("alice", ALICE)
        await directory.put("al", Profile(contacts=Contacts("alice@example.COM")))
        assert await directory.lookup("email", "ALICE@example.com") == ("al", "alice")
        assert await directory.lookup("phone", "+4930123456") == ("alice",)
        assert await directory.lookup("phone", "+4930123457") == ()

        await directory.put("alice", Profile(contacts=Contacts("new@example.com")))
        assert await directory.lookup("email", "alice@example.com") == ("al",)
        assert await directory.lookup("phone", "+4930123456") == ()
        assert await directory.lookup("email", "new@example.com") == ("alice",)
        await directory.put("alice", Profile())
        await directory.put("al", Profile())
        assert b":index:" not in await stand.dump()


async def test_an_index_that_is_ahead_of_its_profile_finds_nobody(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        await stand.directory.put("alice", Profile(name="A"))
        await stand.pipe.ask("HSET", keys.index(VAULT.index("email", "a@b.example")), "alice", "1", "ghost", "1")
        assert await stand.directory.lookup("email", "a@b.example") == ()


async def test_two_who_change_a_profile_at_once_both_do(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:

        def adding(number: int) -> Callable[[Known | None], Profile]:
            def make(known: Known | None) -> Profile:
                profile = known.profile if known else Profile()
                contacts = Contacts(f"a{number}@b.example")
                return replace(profile, data={**profile.data, str(number): 1}, contacts=contacts)

            return make

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(stand.directory.change("alice", adding(number)))
        known = await stand.directory.get("alice")
        assert known is not None
        assert sorted(known.profile.data) == [str(n) for n in range(6)]
        # Of all the addresses that came and went only the last one leads here.
        found = [await stand.directory.lookup("email", f"a{n}@b.example") for n in range(6)]
        assert sorted(found) == [(), (), (), (), (), ("alice",)]
        dump = await stand.dump()
        assert dump.count(b":index:") == 1


async def test_what_is_refused_is_not_stored(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        assert await stand.directory.change("alice", lambda _: BadProfile(())) == BadProfile(())
        assert await stand.dump() == b""


async def test_without_keys_nothing_private_is_stored(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        bare = stand.with_vault(None)
        assert not bare.has_keys
        assert isinstance(await bare.put("alice", ALICE), NoKeys)
        assert isinstance(await bare.lookup("email", "a@b.example"), NoKeys)
        assert isinstance(await bare.register("alice", Registration("fcm", "t" * 20)), NoKeys)
        assert await stand.dump() == b""
        await bare.put("alice", Profile(name="A"))
        known = await bare.get("alice")
        assert known is not None
        assert known.profile == Profile(name="A")


async def test_a_contact_that_cannot_be_opened_is_told(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        await stand.directory.put("alice", ALICE)
        for other in (stand.with_vault(Vault((f"k2:{key(2)}",), key(9))), stand.with_vault(None)):
            known = await other.get("alice")
            assert known is not None
            assert known.profile.contacts == Contacts()
            assert known.unreadable == ("email", "phone", "webhook")
            assert (await other.person("alice")).unreadable == known.unreadable


async def test_one_persons_address_cannot_be_passed_off_as_anothers(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        await stand.directory.put("alice", ALICE)
        await stand.directory.put("bob", Profile())
        sealed = await stand.pipe.ask("HGET", keys.profile("alice"), "email")
        await stand.pipe.ask("HSET", keys.profile("bob"), "email", sealed)
        bob = await stand.directory.get("bob")
        assert bob is not None
        assert (bob.profile.contacts.email, bob.unreadable) == (None, ("email",))


@pytest.mark.parametrize("crash_after", range(1, 7))
async def test_after_a_crash_anywhere_every_index_can_be_found(
    any_server: RedisSite, keys: Keys, crash_after: int
) -> None:
    async with standing(any_server, keys) as stand:
        await stand.directory.put("alice", ALICE)
        crashing = Directory(CrashingPipe(stand.pipe, crash_after), keys, VAULT, stand.clock)  # type: ignore[arg-type]
        try:
            await crashing.put("alice", Profile(contacts=Contacts("new@example.com", "+4930999999")))
        except Crash:
            known = await stand.directory.get("alice")
            assert known is not None
            addresses = [("email", "alice@example.com"), ("email", "new@example.com")]
            addresses += [("phone", "+4930123456"), ("phone", "+4930999999")]
            for kind, address in addresses:
                digest = VAULT.index(kind, address)
                if await stand.pipe.ask("EXISTS", keys.index(digest)):
                    assert digest in known.indexes
        else:
            assert crash_after == 6
        await stand.directory.put("alice", ALICE)
        assert await stand.directory.lookup("email", "alice@example.com") == ("alice",)
        assert (await stand.dump()).count(b":index:") == 2


class Crash(Exception):
    """The process ends here."""


class CrashingPipe:
    """A pipe that carries out so many commands, and then crashes the caller."""

    def __init__(self, pipe: Pipe, commands: int) -> None:
        self._pipe, self._left = pipe, commands

    def _spend(self) -> None:
        if not self._left:
            raise Crash
        self._left -= 1

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        self._spend()
        async for found in self._pipe.scan(pattern, count):
            yield found

    def __getattr__(self, name: str) -> object:
        async def call(*args: object) -> object:
            self._spend()
            return await getattr(self._pipe, name)(*args)

        return call


# Preferences -----------------------------------------------------------------------------------------------------


async def test_preferences_and_what_stands_beside_them(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        directory = stand.directory
        assert await directory.preferences("alice") == Preferences()
        quiet = Preferences(locale="de", channels={"live": False}, categories={"news": False})
        assert await directory.change_preferences("alice", lambda _: quiet) == quiet
        assert await directory.preferences("alice") == quiet
        key = keys.preferences("alice")
        assert await stand.pipe.ask("HMGET", key, "live:*", "live:news") == [b"0", b"0"]
        loud = Preferences(locale="de")
        await directory.change_preferences("alice", lambda _: loud)
        assert await stand.pipe.ask("HKEYS", key) == [b"doc"]
        await directory.change_preferences("alice", lambda _: Preferences())
        assert await stand.pipe.ask("EXISTS", key) == 0


async def test_two_who_change_preferences_at_once_both_do(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:

        def turning_off(name: str) -> Callable[[Preferences], Preferences]:
            return lambda old: replace(old, categories={**old.categories, name: False})

        async with asyncio.TaskGroup() as group:
            for name in "abcdef":
                group.create_task(stand.directory.change_preferences("alice", turning_off(name)))
        assert sorted((await stand.directory.preferences("alice")).categories) == list("abcdef")


async def test_refused_preferences_are_not_stored(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        faults = Faults((Problem("", "no"),))
        assert await stand.directory.change_preferences("alice", lambda _: faults) == faults
        assert await stand.dump() == b""


# Devices ---------------------------------------------------------------------------------------------------------

PHONE = Registration("fcm", "token-of-the-phone-1")
BROWSER = Registration("webpush", "https://push.example/1", '{"p256dh":"P","auth":"A"}')


async def test_a_device_is_stored_sealed_and_opened(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        device = await stand.directory.register("alice", BROWSER)
        assert isinstance(device, Device)
        assert await stand.directory.devices("alice") == (device,)
        opened = stand.directory.opened("alice", device)
        assert isinstance(opened, Device)
        assert (opened.target, opened.keys) == (BROWSER.target, BROWSER.keys)
        assert b"push.example" not in await stand.dump()
        assert isinstance(stand.directory.opened("bob", device), Unreadable)
        spoiled = replace(device, keys=device.target)
        assert isinstance(stand.directory.opened("alice", spoiled), Unreadable)
        assert isinstance(stand.with_vault(None).opened("alice", device), Unreadable)


async def test_registering_again_renews_a_device(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        first = await stand.directory.register("alice", PHONE)
        assert isinstance(first, Device)
        stand.clock.now += 10
        await stand.directory.change_device("alice", first.id, lambda d: d and d.gone("UNREGISTERED", 5.0))
        again = await stand.directory.register("alice", replace(PHONE, locale="de"))
        assert isinstance(again, Device)
        assert (again.id, again.state, again.locale) == (first.id, State.ACTIVE, "de")
        assert again.last_registered_at == again.created_at + 10
        assert len(await stand.directory.devices("alice")) == 1


async def test_who_registers_a_target_last_has_it(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        mine = await stand.directory.register("alice", PHONE)
        yours = await stand.directory.register("bob", PHONE)
        assert isinstance(mine, Device)
        assert isinstance(yours, Device)
        assert yours.id == mine.id
        assert await stand.directory.devices("alice") == ()
        assert not await stand.directory.remove_device("alice", mine.id)  # cannot take it from bob
        assert await stand.directory.devices("bob") == (yours,)
        assert await stand.directory.remove_device("bob", yours.id)
        assert await stand.dump() == b""


async def test_of_many_who_register_a_target_at_once_one_has_it(any_server: RedisSite, keys: Keys) -> None:
    users = [f"user{n}" for n in range(8)]
    async with standing(any_server, keys) as stand:
        async with asyncio.TaskGroup() as group:
            for user in users:
                group.create_task(stand.directory.register(user, PHONE))
        owners = [user for user in users if await stand.directory.devices(user)]
        assert len(owners) == 1
        dump = await stand.dump()
        assert [user for user in users if user.encode() in dump] == owners


async def test_senders_note_what_became_of_a_push(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        directory = stand.directory
        device = await directory.register("alice", PHONE)
        assert isinstance(device, Device)

        async def failing() -> None:
            await directory.change_device("alice", device.id, lambda d: d and d.failed(1.0))

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(failing())
        (found,) = await directory.devices("alice")
        assert (found.failures, found.state) == (5, State.SUSPECT)
        assert await directory.change_device("alice", "other", lambda d: d and d.failed(1.0)) is None


async def test_who_is_gone_for_long_is_forgotten(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        device = await stand.directory.register("alice", PHONE)
        assert isinstance(device, Device)
        now = stand.clock.now
        await stand.directory.change_device("alice", device.id, lambda d: d and d.gone("410", now))
        stand.clock.now += FORGET_AFTER - 1
        assert len(await stand.directory.devices("alice")) == 1
        stand.clock.now += 1
        assert await stand.directory.devices("alice") == ()
        assert await stand.dump() == b""


async def test_one_person_has_so_many_devices(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        for number in range(MAX_DEVICES + 2):
            stand.clock.now += 1
            await stand.directory.register("alice", Registration("fcm", f"token-{number:012}"))
        found = await stand.directory.devices("alice")
        targets = [d.target for d in map(lambda d: stand.directory.opened("alice", d), found) if isinstance(d, Device)]
        assert targets == [f"token-{number:012}" for number in range(2, MAX_DEVICES + 2)]


async def test_all_that_a_sender_needs_in_one_trip(any_server: RedisSite, keys: Keys) -> None:
    async with standing(any_server, keys) as stand:
        nobody = await stand.directory.person("nobody", devices=True)
        assert (nobody.profile, nobody.preferences, nobody.devices) == (Profile(), Preferences(), ())
        assert (nobody.locale("en"), nobody.timezone("UTC")) == ("en", "UTC")
        await stand.directory.put("alice", ALICE)
        device = await stand.directory.register("alice", PHONE)
        alice = await stand.directory.person("alice", devices=True)
        assert (alice.profile, alice.devices) == (ALICE, (device,))
        assert (alice.locale("en"), alice.timezone("UTC")) == ("de", "Europe/Berlin")
        await stand.directory.change_preferences("alice", lambda _: Preferences(locale="fr", timezone="Asia/Tokyo"))
        alice = await stand.directory.person("alice")
        assert (alice.locale("en"), alice.timezone("UTC"), alice.devices) == ("fr", "Asia/Tokyo", ())
