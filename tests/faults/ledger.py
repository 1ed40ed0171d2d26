"""The ledger: what was accepted, and whether exactly that arrived, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Numbers accepted per topic, in the order of acceptance."""

    accepted: dict[str, list[int]] = field(default_factory=dict)

    def accept(self, topic: str, number: int) -> None:
        """The bus has it."""
        self.accepted.setdefault(topic, []).append(number)

    @property
    def total(self) -> int:
        """How many were accepted, recipients counted one by one."""
        return sum(map(len, self.accepted.values()))

    def faults(self, arrived: Mapping[str, Sequence[int]]) -> list[str]:
        """Everything that is lost, doubled, out of order, or was never accepted; empty when all is well."""
        found = []
        for topic in self.accepted.keys() | arrived.keys():
            wanted, got = self.accepted.get(topic, []), list(arrived.get(topic, ()))
            if wanted == got:
                continue
            lost, extra = set(wanted) - set(got), set(got) - set(wanted)
            doubled = len(got) - len(set(got))
            found.append(f"{topic}: lost {sorted(lost)}, unknown {sorted(extra)}, doubled {doubled}, got {got}")
        return found
