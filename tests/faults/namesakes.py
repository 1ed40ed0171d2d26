"""Runs `tocsin` where every process has the same host name and number, as containers of one image may have.

`python -m tests.faults.namesakes ROLE`.
"""

from __future__ import annotations

import os
import socket
import sys

from tocsin.cli import main

HOST = "box"
NUMBER = 1


if __name__ == "__main__":
    socket.gethostname = lambda: HOST
    os.getpid = lambda: NUMBER
    sys.exit(main(sys.argv[1:]))
