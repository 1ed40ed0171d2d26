"""Everything that Redis holds under a test's prefix: names of keys and all that is in them."""

from __future__ import annotations

from typing import Final

from bus.keys import Keys
from bus.pipe import Pipe, Reply
from tests.looking import names

READ: Final = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


async def everything(pipe: Pipe, keys: Keys) -> dict[str, bytes]:
    """By key, its content in one piece."""
    found: dict[str, bytes] = {}
    for name in await names(pipe, keys):
        if (kind := await pipe.ask("TYPE", name)) != b"none":
            command, *arguments = READ[kind]
            found[name.decode()] = _flat(await pipe.ask(command, name, *arguments))
    return found


def _flat(reply: Reply) -> bytes:
    if isinstance(reply, list):
        return b"\n".join(map(_flat, reply))
    return reply if isinstance(reply, bytes) else str(reply).encode()
