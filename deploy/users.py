"""Makes the files that deploy/compose.cluster.yaml wants of what `tocsin acl --json` prints: `users.acl` for the Redis
nodes, which holds no password, only hashes, and `cluster.env` with the passwords, for compose alone.

    tocsin acl --json | python3 deploy/users.py
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from hashlib import sha256
from pathlib import Path

NODES = "resetkeys resetchannels -@all +cluster +info +ping +psync +replconf"
"""What a node may do at another, and who makes the cluster at all of them."""

NOBODY = "user default off resetpass ~* &* +@all"
"""Nobody can log in as the default user; but without its rights Redis 7.0 starts without what scripts wrote."""


def files(users: list[dict[str, str]], nodes_password: str) -> tuple[str, str]:
    """The texts of users.acl and cluster.env."""
    everyone = [*users, {"name": "nodes", "role": "nodes", "rules": NODES, "password": nodes_password}]
    lines = [f"user {u['name']} on #{sha256(u['password'].encode()).hexdigest()} {u['rules']}" for u in everyone]
    passwords = [f"TOCSIN_REDIS_{user['role'].upper()}_PASSWORD={user['password']}" for user in everyone]
    return "\n".join([NOBODY, *lines, ""]), "\n".join([*passwords, ""])


def main() -> None:
    """Write both beside this file."""
    here = Path(__file__).parent
    acl, env = files(json.load(sys.stdin), secrets.token_urlsafe(32))
    (here / "users.acl").write_text(acl)
    with os.fdopen(os.open(here / "cluster.env", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(env)


if __name__ == "__main__":
    main()
