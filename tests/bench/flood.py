"""A script that writes numbered lines of 100 bytes to stdout as fast as they are taken: ``flood.py BYTES``."""

from __future__ import annotations

import os
import sys

LINE_BYTES = 100
WRITE_BYTES = 65_536
"""What a pipe holds: more at once would only wait inside the kernel."""


def main() -> None:
    """Make everything in memory first, so that only writing is measured."""
    filler = b"x" * (LINE_BYTES - 10)
    lines = int(sys.argv[1]) // LINE_BYTES
    rest = memoryview(b"".join(b"%08d %b\n" % (number, filler) for number in range(lines)))
    while rest:
        rest = rest[os.write(1, rest[:WRITE_BYTES]) :]


if __name__ == "__main__":
    main()
