"""A Redis Cluster of masters alone, as plain `redis-server` processes on this machine."""

from __future__ import annotations

import redis

from loadtest.bench.process import Failed, wait_until

SLOTS = 16_384
AGREED = 30.0


def form(ports: list[int]) -> None:
    """Make a cluster of servers that were started with `cluster-enabled yes`: share out the slots, and introduce them.

    Returns when each of them knows all. Raises `Failed`.
    """
    clients = [redis.Redis("127.0.0.1", port, socket_timeout=10) for port in ports]
    try:
        for number, client in enumerate(clients):
            first, end = (SLOTS * n // len(ports) for n in (number, number + 1))
            client.execute_command("CLUSTER ADDSLOTS", *range(first, end))  # type: ignore[no-untyped-call]
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)  # type: ignore[no-untyped-call]
        for port in ports[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port)  # type: ignore[no-untyped-call]
        wait_until(lambda: all(_agrees(client, len(ports)) for client in clients), AGREED, "the cluster did not form")
    finally:
        for client in clients:
            client.close()


def _agrees(client: redis.Redis, masters: int) -> bool:
    try:
        told = client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        state = client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    except redis.RedisError as error:
        raise Failed(f"a master does not answer: {error}") from None
    text = state if isinstance(state, str) else str(state)
    return len(told) == masters and "ok" in text
