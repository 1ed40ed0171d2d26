"""The garbage collector of a worker: it looks rarely, and not at what was there before work began."""

from __future__ import annotations

import gc
from typing import Final

RARELY: Final = (50_000, 20, 100)
"""When it looks, as `gc.set_threshold` takes it."""


def look_rarely() -> None:
    """Call it when all is made and work begins.

    An event or delivery in the making has hundreds of objects, none of them in a cycle; to look for some all the time,
    and among all that belongs to the partitions, cost a tenth of what else is done.
    """
    gc.freeze()
    gc.set_threshold(*RARELY)
