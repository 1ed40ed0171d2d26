"""The load tests are run from the project's root and are not installed, so their tests must find them there."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
