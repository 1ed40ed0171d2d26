"""A delivery worker, and the providers it calls: which fail, are slow, or accept and never say so."""

from __future__ import annotations

from typing import Final

from bus.errors import BusError
from bus.outcome import Done, Outcome, Rejected, Retry, Scope, Throttled
from bus.people.categories import Categories
from bus.people.preferences import Preferences
from bus.policy import Bury, Defer, Pause, RetryPolicy
from bus.ranges import text
from fanout.deliver.case import Body, Case
from fanout.deliver.circuit import Circuit
from fanout.job import Job
from tests.simulation.cores import Cores
from tests.simulation.kernel import Kernel
from tests.simulation.ledger import Ledger
from tests.simulation.store import Fenced, Settle, Store, Waiting
from tests.simulation.worker import PATIENCE, Lane, Leaseholder

CHANNELS: Final = ("sms", "email")
POLICY: Final = RetryPolicy((1.0, 4.0, 10.0))
"""Short waits, for a run is short."""
ROOM: Final = 4
MOST_DEATHS: Final = 3


class Provider:
    """One per channel."""

    def __init__(self, kernel: Kernel, ledger: Ledger) -> None:
        self._kernel, self._ledger = kernel, ledger
        self.mode = "fine"

    def call(self, job: Job) -> tuple[float, Outcome]:
        """How long it takes to answer, and what."""
        self._ledger.called(job)
        chance = self._kernel.chance
        seconds, outcome = chance.uniform(0.02, 0.3), self._outcome()
        if self.mode == "slow":
            seconds = chance.uniform(2.0, 8.0)
        if isinstance(outcome, Retry | Throttled):
            self._ledger.retries[job.id] += 1
        return seconds, outcome

    def _outcome(self) -> Outcome:
        match self.mode:
            case "fails":
                return Retry("no answer")
            case "forgets":
                return Retry("accepted, but the answer was lost") if self._kernel.chance.random() < 0.5 else Done()
            case "throttles":
                return Throttled(5.0, Scope.CHANNEL)
            case _:
                return Done()


class Sender(Leaseholder):
    """One delivery worker of both channels."""

    kind = "senders"
    lanes = CHANNELS

    def __init__(
        self, kernel: Kernel, name: str, store: Store, ledger: Ledger, cores: Cores, providers: dict[str, Provider]
    ) -> None:
        self._providers = providers
        self._circuits = {channel: Circuit(False) for channel in CHANNELS}
        for circuit in self._circuits.values():
            circuit.breaker = cores.breaker()
        super().__init__(kernel, name, store, ledger, cores)

    def work(self, name: str, lane: Lane) -> None:
        self.spawn(self._jobs(name, lane))

    async def _jobs(self, channel: str, lane: Lane) -> None:
        p, fence = lane.partition, lane.fence
        while not lane.stopped:
            try:
                taken = await self._run(p, lambda: self.store.take_jobs(p, channel, self.name, fence, ROOM))
                for waiting in taken:
                    await self._one(channel, lane, waiting)
                if not taken:
                    await self.wait((channel, p), PATIENCE)
            except Fenced:
                lane.stopped = True
            except BusError:
                await self.sleep(0.3)
        await self.give_back(channel, lane)

    async def _run(self, p: int, work: object) -> object:
        answer = await self.link.ask(p, work)  # type: ignore[arg-type]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _one(self, channel: str, lane: Lane, waiting: Waiting) -> None:
        p, job = lane.partition, waiting.job
        outcome: Outcome | None = Rejected("workers ended while they had it")
        if waiting.deaths < MOST_DEATHS:
            withdrawn, acked, read, content = await self._run(p, lambda: self.store.look(p, job))  # type: ignore[misc]
            body = Body(content, withdrawn, b"")
            case = Case(
                job,
                channel,
                "",
                "",
                "",
                Preferences(),
                withdrawn,
                text(acked).encode(),
                read,
                b"somewhere",
                b"",
                (body,),
            )
            outcome = self.cores.judge(case, Categories({}).of(None), "UTC", self.wall())
            if outcome is None:
                outcome = await self._send(channel, job)
        settlement = POLICY.settle(outcome, job.attempts + 1, self.kernel.chance.random())
        self.kernel.say(self.name, f"{channel} of {job.ref} to {job.user}: {outcome}, {settlement}")
        match settlement:
            case Defer(delay) | Pause(delay):
                how = Settle(after=delay, attempts=job.attempts + isinstance(outcome, Retry))
            case _:
                how = Settle(buried=isinstance(settlement, Bury))
        await self._settle(channel, lane, waiting.id, how)

    async def _send(self, channel: str, job: Job) -> Outcome:
        circuit = self._circuits[channel]
        if (refused := circuit.admit(self.monotonic(), 0)) is not None:
            return refused
        number = circuit.begin(self.monotonic())
        seconds, outcome = self._providers[channel].call(job)
        await self.sleep(seconds)
        told = circuit.end(number, outcome, self.monotonic())
        assert told is not None
        return told

    async def _settle(self, channel: str, lane: Lane, number: int, how: Settle) -> None:
        """Again and again while Redis is away, as long as the lease is ours."""
        p, fence = lane.partition, lane.fence
        while True:
            try:
                await self._run(p, lambda: self.store.settle_job(p, channel, self.name, fence, number, how))
                return
            except BusError:
                await self.sleep(0.3)
