"""People: the gateway's parts that know them, and the procedures by which they change what is known themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bus.clock import Clock
from bus.event import Problem
from bus.keys import Keys, inbox_of
from bus.namespaces import Namespaces
from bus.naming import topic_fault
from bus.people import devices
from bus.people.categories import Categories
from bus.people.directory import Directory, NoKeys
from bus.people.followers import Followers
from bus.people.preferences import Faults, Preferences
from bus.people.vault import unsubscribe_secret, vault_of
from bus.pipe import Pipe
from gateway.choices import patched, shown
from gateway.procedures import Answer, Caller, Fault, Params, Procedure, Wrong, bad
from gateway.rights import Standing, subscribe_error
from gateway.settings import GatewaySettings

MAX_FOLLOWS: Final = 1_000
"""Topics that one may follow by oneself; the backend may have one follow any number."""


class People:
    """Directory, followers and categories of an installation. Raises `BadSetting`."""

    def __init__(self, pipe: Pipe, keys: Keys, clock: Clock, settings: GatewaySettings, namespaces: Namespaces) -> None:
        vault = vault_of(settings.directory_keys, settings.directory_index_key)
        self.directory = Directory(pipe, keys, vault, clock)
        self.followers = Followers(pipe, keys)
        self.categories = Categories(settings.categories)
        self.unsubscribe_secret = unsubscribe_secret(settings.directory_index_key) if vault else None
        """None: no link can have been made."""
        self._namespaces = namespaces
        self._push_key = settings.webpush_public_key or None

    def procedures(self) -> Mapping[str, Procedure]:
        """By name."""
        return {
            "prefs.get": self._prefs_get,
            "prefs.set": self._prefs_set,
            "devices.list": self._devices_list,
            "devices.add": self._devices_add,
            "devices.remove": self._devices_remove,
            "devices.key": self._devices_key,
            "topics.list": self._topics_list,
            "topics.follow": self._topics_follow,
            "topics.unfollow": self._topics_unfollow,
        }

    # Preferences -------------------------------------------------------------------------------------------------

    async def _prefs_get(self, caller: Caller, params: Params) -> Answer:
        """`{preferences, categories, channels}`: see `gateway.choices`."""
        return shown(await self.directory.preferences(caller.user), self.categories)

    async def _prefs_set(self, caller: Caller, params: Params) -> Answer:
        """A merge patch of the document; answers as `prefs.get`."""

        def make(old: Preferences) -> Preferences | Faults:
            return patched(old, params, self.categories)

        found = await self.directory.change_preferences(caller.user, make)
        return _wrong(found.faults) if isinstance(found, Faults) else shown(found, self.categories)

    # Devices -----------------------------------------------------------------------------------------------------

    async def _devices_list(self, caller: Caller, params: Params) -> Answer:
        """`{devices: […]}`, without their targets."""
        return {"devices": [device.shown() for device in await self.directory.devices(caller.user)]}

    async def _devices_add(self, caller: Caller, params: Params) -> Answer:
        """A registration (see `bus.people.devices.parse`); `{device}`. Who registers a target last has it."""
        registration = devices.parse(params)
        if isinstance(registration, tuple):
            return _wrong(registration)
        device = await self.directory.register(caller.user, registration)
        if isinstance(device, NoKeys):  # whose reason is for operators
            return Fault(Wrong.NOT_CONFIGURED, "devices cannot be stored here")
        return {"device": device.shown()}

    async def _devices_remove(self, caller: Caller, params: Params) -> Answer:
        """`{id}`; answers `{}`."""
        device_id = params.get("id")
        if not isinstance(device_id, str):
            return bad("must be the id of a device", "/id")
        if await self.directory.remove_device(caller.user, device_id):
            return {}
        return Fault(Wrong.NOT_FOUND, "you have no such device")

    async def _devices_key(self, caller: Caller, params: Params) -> Answer:
        """`{webpush}`: the key that a browser subscribes with (RFC 8292 §4); null where there is no Web Push."""
        return {"webpush": self._push_key}

    # Topics ------------------------------------------------------------------------------------------------------

    async def _topics_list(self, caller: Caller, params: Params) -> Answer:
        """`{topics: […]}` that they follow durably."""
        return {"topics": list(await self.followers.topics(caller.user))}

    async def _topics_follow(self, caller: Caller, params: Params) -> Answer:
        """`{topic}`, which must be one that they may subscribe to; answers `{}`."""
        topic = params.get("topic")
        if fault := topic_fault(topic):
            return bad(fault, "/topic")
        assert isinstance(topic, str)
        if not self._may_follow(caller, topic):
            return Fault(Wrong.FORBIDDEN, "you may not subscribe to this topic")
        followed = await self.followers.topics(caller.user)
        if topic not in followed and len(followed) >= MAX_FOLLOWS:
            return Fault(Wrong.LIMIT, f"one may follow {MAX_FOLLOWS} topics")
        await self.followers.follow(topic, [caller.user])
        return {}

    async def _topics_unfollow(self, caller: Caller, params: Params) -> Answer:
        """`{topic}`; answers `{}`, also where it was not followed."""
        topic = params.get("topic")
        if fault := topic_fault(topic):
            return bad(fault, "/topic")
        await self.followers.unfollow(str(topic), [caller.user])
        return {}

    def _may_follow(self, caller: Caller, topic: str) -> bool:
        if caller.connection is not None:
            session = caller.connection.session
            return topic in session.subscriptions or session.may_subscribe(topic) is None
        standing = Standing(inbox_of(caller.user), caller.granted, ())
        return subscribe_error(self._namespaces, standing, topic) is None


def _wrong(faults: tuple[Problem, ...]) -> Fault:
    return Fault(Wrong.BAD_PARAMS, faults=faults)
