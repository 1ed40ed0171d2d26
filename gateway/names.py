"""Names that never come twice: the node's own id, which is random, and a number behind it.

A random name for each would cost a system call for each, several times per connection. Where a name must not be
guessed (a ticket, the secret of an emulated session), it is drawn at random all the same, elsewhere.
"""

from __future__ import annotations

from itertools import count


class Names:
    """Names of one node, for clients and for epochs."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._numbers = count(1)

    def next(self) -> str:
        """Another name, unlike any that this or another node has given or will give."""
        return f"{self.node}.{next(self._numbers):x}"
