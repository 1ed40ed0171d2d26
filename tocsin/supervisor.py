"""Keep child processes running: start them in order, restart what crashes after a growing wait, end all in reverse.

Every child is started through `leash.py`, so none outlives this process even when it is killed, and in a session of its
own, so Ctrl-C in the terminal reaches this process alone, which then ends them in good order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.clock import Clock
from tocsin import leash
from tocsin.trouble import CONFIG, FAILED, Trouble

BACKOFF: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Waits before a restart, in seconds; the last one repeats."""
STEADY: Final = 10.0
"""A child that ran this long has not failed to start: its next crash is its first."""
POLL: Final = 0.02
PATIENCE: Final = 15.0
"""After so many seconds of a child that is not ready, people are told what is being waited for."""
GIVE_UP: Final = 6
"""So many crashes in a row without a steady run are not going to cure themselves."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep: its name for people, its command, its whole environment."""

    name: str
    command: Callable[[], Sequence[str]]
    """Asked before every start: what must be made ready for it is made ready again."""
    environ: Mapping[str, str]
    log: Path | None = None
    """File for what it prints; None: where this process prints."""
    grace: float = 10.0
    """Seconds it has to end after SIGTERM."""


Ready = Callable[[], bool]
"""Whether a child does its work now; asked again and again while it starts."""


class ChildFailed(Trouble):
    """A child that it is no use to start again."""


def ending(code: int) -> str:
    """How a process ended, in words, from its return code."""
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


class Keeper:
    """Keeps one child running until told to stop."""

    def __init__(
        self, child: Child, *, clock: Clock, say: Callable[[str], None], backoff: Sequence[float] = BACKOFF
    ) -> None:
        self.child = child
        self._backoff = backoff
        self._clock = clock
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id of the running child."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """Start it, and start it again when it ends, until `stop`. Raises `ChildFailed`."""
        crashes = 0
        try:
            while not self._stopping.is_set():
                began = self._clock.monotonic()
                code = await self._once()
                if self._stopping.is_set():
                    return
                crashes = 1 if self._clock.monotonic() - began >= STEADY else crashes + 1
                await self._after_crash(code, crashes)
        finally:
            await self._end()

    async def stop(self) -> None:
        """End it: SIGTERM, then, when its grace is over, SIGKILL."""
        self._stopping.set()
        await self._end()

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    async def _once(self) -> int:
        command = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *self.child.command()]
        log = None if self.child.log is None else self.child.log.open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(self.child.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            if log is not None:
                log.close()
        return await self._process.wait()

    async def _after_crash(self, code: int, crashes: int) -> None:
        name = self.child.name
        if code == CONFIG:
            raise ChildFailed(f"{name} cannot run as it is configured; see its message above", CONFIG)
        if crashes >= GIVE_UP:
            where = f"its log is {self.child.log}" if self.child.log else "see its messages above"
            raise ChildFailed(f"{name} {ending(code)}, for the {crashes}th time in a row; giving up; {where}", FAILED)
        wait = self._backoff[min(crashes, len(self._backoff)) - 1]
        self._say(f"{name} {ending(code)}; starting it again in {wait:g} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stopping.wait()

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.child.grace):
                await self._process.wait()
        except TimeoutError:
            self._say(f"{self.child.name} did not end within {self.child.grace:g} s; killing it")
            self.kill()
            await self._process.wait()

    def _signal(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(how)


class Supervisor:
    """Keeps several children; the first started is the last ended."""

    def __init__(self, *, clock: Clock, say: Callable[[str], None], backoff: Sequence[float] = BACKOFF) -> None:
        self._clock = clock
        self._backoff = backoff
        self._say = say
        self._keepers: list[Keeper] = []
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin to end everything; a second call ends it at once."""
        if self._stop.is_set():
            for keeper in self._keepers:
                keeper.kill()
        self._stop.set()

    async def run(self, children: Sequence[tuple[Child, Ready]], on_ready: Callable[[], None]) -> None:
        """Start each child once the one before is ready, call `on_ready`, and keep them until `stop`.

        Raises `ChildFailed` when one of them cannot be kept.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        async with asyncio.TaskGroup() as group:
            for child, ready in children:
                keeper = Keeper(child, clock=self._clock, say=self._say, backoff=self._backoff)
                self._keepers.append(keeper)
                group.create_task(keeper.run())
                await self._until(child.name, ready)
            if not self._stop.is_set():
                on_ready()
            await self._stop.wait()
            for keeper in reversed(self._keepers):
                await keeper.stop()

    async def _until(self, name: str, ready: Ready) -> None:
        # A process of its own is asked: there is nothing to wait on but its answer.
        told = self._clock.monotonic()
        while not self._stop.is_set() and not ready():
            if self._clock.monotonic() - told >= PATIENCE:
                told = self._clock.monotonic()
                self._say(f"{name} is not ready yet; waiting")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._stop.wait()
