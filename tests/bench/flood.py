"""A script that writes numbered lines of 100 bytes to stdout as fast as possible: ``flood.py BYTES stay|leave``.

With ``stay`` it lives on until the bench closes the unix socket named in ``BENCH_SOCKET``. With ``leave`` it exits at
once, while the relay may still be busy with its output.
"""

from __future__ import annotations

import os
import socket
import sys

LINE_BYTES = 100
WRITE_BYTES = 65_536
"""A pipe's capacity. A larger write would only block in the kernel."""

assert sys.platform != "win32"  # so that mypy reads on only where there are unix sockets


def main() -> None:
    """Make all lines in memory first, so that only writing is measured."""
    filler = b"x" * (LINE_BYTES - 10)
    lines = int(sys.argv[1]) // LINE_BYTES
    bench = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bench.connect("\0" + os.environ["BENCH_SOCKET"])
    rest = memoryview(b"".join(b"%08d %b\n" % (number, filler) for number in range(lines)))
    while rest:
        rest = rest[os.write(1, rest[:WRITE_BYTES]) :]
    if sys.argv[2] == "stay":
        try:
            bench.recv(1)
        except ConnectionResetError:  # closed before it was accepted, which means the same
            return


if __name__ == "__main__":
    main()
