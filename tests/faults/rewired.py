"""Runs `tocsin` with other ways to Redis: `python -m tests.faults.rewired FILE ROLE`; FILE maps ports, as JSON.

The addresses of a cluster's masters, and of the one that sentinels name, come from Redis itself: whoever is to reach
them by a proxy of its own has to be told so behind their back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bus.address import Place, Socket
from bus.pipe.dial import Dialer
from bus.pipe.line import Line
from tocsin.cli import main


def rewire(ports: Mapping[int, int]) -> None:
    """From now on connections to these ports go to those."""
    connect = Dialer._connect

    async def elsewhere(self: Dialer, line: Line, place: Place | Socket) -> None:
        if isinstance(place, Place):
            place = replace(place, port=ports.get(place.port, place.port))
        await connect(self, line, place)

    Dialer._connect = elsewhere  # type: ignore[method-assign]


if __name__ == "__main__":
    rewire({int(port): link for port, link in json.loads(Path(sys.argv[1]).read_text()).items()})
    sys.exit(main(sys.argv[2:]))
