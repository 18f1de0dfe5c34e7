"""Settings for all tests. Hypothesis uses the same examples on every run, so a failure can be repeated."""

from __future__ import annotations

import os
import signal
import sys

from hypothesis import settings

LONG = "SIDECAR_FUZZ_EXAMPLES"
"""A variable with the number of examples for each property. With it each run uses new ones: tests/fuzz/__main__.py."""

settings.register_profile("everywhere", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "long", deadline=None, database=None, max_examples=int(os.environ.get(LONG, "100")), print_blob=True
)
settings.load_profile("long" if LONG in os.environ else "everywhere")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell makes programs in the background ignore Ctrl-C; our children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup does the same with SIGHUP
