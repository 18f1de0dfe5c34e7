"""What all POSIX hosts share."""

from __future__ import annotations

import subprocess
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("signals", allow_module_level=True)

BOUND_S = 60

LOOP = """
import queue, signal, threading
from sidecar.host.posix import host as posix

inbox = queue.SimpleQueue()
posix.watch_signals(lambda number: inbox.put(number), lambda: inbox.put(None))
threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), {number})).start()
while (item := inbox.get()) is None and {number} != signal.SIGCHLD:
    pass
print(item)
"""


@pytest.mark.parametrize(("number", "told"), [("signal.SIGTERM", "15"), ("signal.SIGCHLD", "None")])
def test_a_signal_that_comes_to_another_thread_ends_the_wait_of_the_main_one(number: str, told: str) -> None:
    program = LOOP.replace("{number}", number)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=BOUND_S, check=True)
    assert ran.stdout.strip() == told
