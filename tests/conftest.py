"""For all tests: properties are tried on the same examples everywhere, so that a red run is red again."""

from __future__ import annotations

import signal
import sys

from hypothesis import settings

settings.register_profile("everywhere", derandomize=True, deadline=None, database=None)
settings.load_profile("everywhere")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that starts the tests in the background has them ignore Ctrl-C, which whatever they start would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # so does nohup with the end of the terminal
