"""The sidecar on a machine whose time of day cannot be asked for: ``timeless.py … sidecar WORD…``."""

from __future__ import annotations

import sys
import time


def refuse(*_: object) -> float:
    raise AssertionError("somebody asked for the time of day")


for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"):
    setattr(time, name, refuse)

from sidecar.cli import main  # noqa: E402  it must not get hold of the clock before

sys.exit(main(sys.argv[sys.argv.index("sidecar") + 1 :]))
