"""A stand-in for a terminal with a shell: it starts a program, and lives until it is killed.

Its argument is a JSON object: ``argv`` and ``cwd`` of the program, ``seconds`` (longest life of terminal and shell).
It prints the time of the launch (``time.perf_counter``, seconds). Terminal and shell survive the program, as a program
in the background would leave the terminal to the user.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

assert sys.platform != "win32"  # so that mypy reads on only where there are pseudo-terminals

import fcntl
import pty
import struct
import termios

ROWS, COLUMNS = 24, 80


def main() -> None:
    """Start the program, and drain its output for ever."""
    order = json.loads(sys.argv[1])
    outside = os.dup(1)
    os.set_inheritable(outside, False)
    pid, terminal = pty.fork()
    signal.alarm(order["seconds"])
    if pid == 0:  # the shell: it leads the session
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        os.write(outside, f"{time.perf_counter()}\n".encode())
        subprocess.run(order["argv"], cwd=order["cwd"], check=False)
    else:
        _drain(terminal)
    while True:
        signal.pause()


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # EIO: no process has the other end any more
        pass


if __name__ == "__main__":
    main()
