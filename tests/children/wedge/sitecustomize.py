"""On PYTHONPATH it puts a way to be deadlocked into a sidecar that runs from source: on SIGUSR1, as WEDGE says.

``lock``: the main thread waits for a lock that nobody gives back; the other threads run on. ``interpreter``: it waits
with the interpreter's own lock in its hand, so that no thread runs any more. It makes the file WEDGED just before.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

if sys.platform == "win32":
    raise ImportError("SIGUSR1 is POSIX's")


def wedge(*_: object) -> None:
    os.close(os.open(os.environ["WEDGED"], os.O_CREAT, 0o600))
    if os.environ["WEDGE"] == "interpreter":
        while True:
            ctypes.PyDLL(None).pause()
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


signal.signal(signal.SIGUSR1, wedge)
