"""Run the sidecar with a clock that raises if the time of day is read: ``timeless.py … sidecar WORD…``."""

from __future__ import annotations

import sys
import time


def refuse(*_: object) -> float:
    raise AssertionError("the time of day was read")


for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"):
    setattr(time, name, refuse)

from sidecar.cli import main  # noqa: E402  it may import the clock only after the patch

sys.exit(main(sys.argv[sys.argv.index("sidecar") + 1 :]))
