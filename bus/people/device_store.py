"""Devices in Redis. Targets and keys are sealed before they go there; who registers a target last has it.

The index of a target names all who may have it, and in the field without a name who has it now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bus.errors import Overloaded
from bus.people.devices import Device, Registration
from bus.people.store import ATTEMPTS, NoKeys, Store
from bus.people.vault import Unreadable

MAX_DEVICES: Final = 50
"""Of one person; one more, and the one that registered longest ago is forgotten."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What of a device is sealed, in the clear."""

    target: str = field(repr=False)
    keys: str = field(repr=False)
    """Web Push: JSON with `p256dh` and `auth`; else empty."""


class DeviceStore(Store):
    """Reads and writes people's devices. All methods raise `BusError`."""

    async def devices(self, user: str) -> tuple[Device, ...]:
        """A person's devices, oldest first; those gone for long are forgotten on this occasion."""
        now = self._clock.wall()
        found = read_devices(await self._pipe.ask("HGETALL", self._keys.devices(user)))
        for device in found:
            if device.forgotten(now):
                await self.remove_device(user, device.id)
        return tuple(device for device in found if not device.forgotten(now))

    def opened(self, user: str, device: Device) -> Device | Unreadable:
        """The device with its target and keys in the clear."""
        found = self.opened_target(user, device)
        return found if isinstance(found, Unreadable) else replace(device, target=found.target, keys=found.keys)

    def opened_target(self, user: str, device: Device) -> Opened | Unreadable:
        """Target and keys of a device in the clear."""
        target = self._open(device.target, user, "target")
        if isinstance(target, Unreadable):
            return target
        keys = self._open(device.keys, user, "keys") if device.keys else ""
        return keys if isinstance(keys, Unreadable) else Opened(target, keys)

    async def register(self, user: str, registration: Registration) -> Device | NoKeys:
        """A device that is this person's from now on, and nobody else's any more."""
        if self._vault is None:
            return NoKeys()
        device_id = self._vault.index(registration.provider, registration.target)
        index, owner = self._keys.index(device_id), user.encode()
        for other in await self._pipe.script("claim", [index], [user]):
            # First the device, then the note that it may be there.
            await self._pipe.ask("HDEL", self._keys.devices(other.decode()), device_id)
            await self._pipe.script("disclaim", [index], [other, 1])
        now = self._clock.wall()
        sealed = replace(
            registration,
            target=self._seal(registration.target, user, "target"),
            keys=self._seal(registration.keys, user, "keys") if registration.keys else "",
        )
        device = await self.change_device(user, device_id, lambda old: sealed.onto(old, device_id, now))
        assert device is not None
        if await self._pipe.ask("HGET", index, "") != owner:  # somebody registered it at the same moment, and after us
            await self._pipe.ask("HDEL", self._keys.devices(user), device_id)
        await self._keep_few(user)
        return device

    async def _keep_few(self, user: str) -> None:
        found = sorted(await self.devices(user), key=lambda device: (device.reachable, device.last_registered_at))
        for device in found[: max(0, len(found) - MAX_DEVICES)]:
            await self.remove_device(user, device.id)

    async def change_device(
        self, user: str, device_id: str, make: Callable[[Device | None], Device | None]
    ) -> Device | None:
        """Store what `make` makes of a device, and give it back; None is one that is not there, or is to be no more.

        `make` may be asked several times. Senders say so what became of a push: `lambda d: d and d.succeeded(now)`.
        """
        key = self._keys.devices(user)
        for _ in range(ATTEMPTS):
            old = await self._pipe.ask("HGET", key, device_id) or b""
            device = make(Device.from_json(device_id, old) if old else None)
            new = device.to_json() if device else b""
            if new == old or await self._pipe.script("change_field", [key], [device_id, old, new]):
                return device
        raise Overloaded("others change this device all the time")

    async def renew_device(self, user: str, device: Device) -> bool | None:
        """Seal a device with the first key, and move it to its place by the index key of now; whether there was need.
        None: it cannot be opened, and stays as it is."""
        if self._vault is None:
            return False
        opened = self.opened(user, device)
        if isinstance(opened, Unreadable):
            return None
        device_id = self._vault.index(opened.provider, opened.target)
        if device_id == device.id and not self._stale(device.target) and not self._stale(device.keys or device.target):
            return False
        keys = self._seal(opened.keys, user, "keys") if opened.keys else ""
        sealed = replace(device, id=device_id, target=self._seal(opened.target, user, "target"), keys=keys)
        if device_id == device.id:
            await self.change_device(user, device_id, lambda now: now and _resealed(now, device, sealed))
            return True
        await self._pipe.script("claim", [self._keys.index(device_id)], [user])
        await self.change_device(user, device_id, lambda there: there or sealed)
        await self.remove_device(user, device.id)
        return True

    async def remove_device(self, user: str, device_id: str) -> bool:
        """Forget a device; whether it was there. Whoever else has it by now keeps it."""
        await self._pipe.script("disclaim", [self._keys.index(device_id)], [user, 0])
        return bool(await self._pipe.ask("HDEL", self._keys.devices(user), device_id))


def _resealed(now: Device, device: Device, sealed: Device) -> Device:
    """What became of a device in the meantime stays, and all of one that registered anew."""
    same = (now.target, now.keys) == (device.target, device.keys)
    return replace(now, target=sealed.target, keys=sealed.keys) if same else now


def read_devices(flat: Sequence[bytes]) -> tuple[Device, ...]:
    """Devices as Redis gives them, oldest first."""
    found = [Device.from_json(name.decode(), data) for name, data in zip(flat[::2], flat[1::2], strict=True)]
    return tuple(sorted(found, key=lambda device: (device.created_at, device.id)))
