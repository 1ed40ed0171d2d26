"""Run a program that ends when its parent does, even if the parent is killed: `python leash.py PARENT_PID PROGRAM …`.

Only the standard library is imported, so that it starts in a few milliseconds; it is run as a file, never imported by
the rest. Where the system is not Linux the program is run as it is, and ends when the parent ends it.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's death (prctl(2), kept across execve), then become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            return  # it died before the kernel was asked
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
